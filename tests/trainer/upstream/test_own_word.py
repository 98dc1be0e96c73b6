"""train.py's own word: confined, ended in time, with its data where it looks for it, and its last number."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import log, run_folder, task_spec
from trainer.contract import RunResult
from trainer.processes.parentage import become_subreaper
from trainer.run.run_folder import RunFolder
from trainer.upstream.own_word import OwnWord

LINKS = ((".venv", sys.prefix),)
PYTHON = f".venv/bin/{Path(sys.executable).name}"
PRINTS = "print('val_bpb:          1.25')\n"


def run(top: Path, train: str, prepare: str = "", kill: float = 20.0, **told: Any) -> RunResult:
    """One run of this train.py, ended after `kill` seconds; `told` are terms of the task."""
    become_subreaper()
    folder = run_folder(top, {"train.py": train, "prepare.py": prepare})
    terms: dict[str, Any] = {"metric": "val_bpb", "unit": "bits per byte", "links": LINKS, "python": PYTHON, **told}
    spec = replace(task_spec(folder, kill, **terms), setup_seconds=0.0, evaluation_seconds=0.0)
    return OwnWord(RunFolder(folder), spec).run()


def test_the_last_number_is_the_score_and_its_figures_come_along(tmp_path: Path) -> None:
    text = "print('step 1\\rval_bpb: 9')\nprint('---\\nval_bpb:          0.997900\\npeak_vram_mb:     45060.2')\n"
    ended = run(tmp_path, text)
    assert ended.score is not None, ended.reason
    assert (ended.score.value, ended.score.trust, ended.score.unit) == (0.9979, "printed", "bits per byte")
    assert ended.figures["peak_vram_mb"] == 45060.2
    assert (ended.score.details["samples"], ended.score.details["spread"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("train", "outcome", "told"),
    [
        ("print('FAIL')\nexit(1)\n", "crashed", "train.py ended with exit code 1. Its last line: FAIL"),
        ("print('done')\n", "invalid", "train.py ended without a line `val_bpb: 0.9979`"),
        ("print('val_bpb: nan')\n", "invalid", "val_bpb=nan, which is not finite"),
        ("print('val_bpb: -1')\n", "invalid", "val_bpb -1, which no text has"),
        (f"open('prepare.py', 'w').write('#')\n{PRINTS}", "invalid", "prepare.py has another content"),
        ("raise MemoryError\n", "oom", "MemoryError"),
    ],
)
def test_what_is_no_score_says_why(tmp_path: Path, train: str, outcome: str, told: str) -> None:
    ended = run(tmp_path, train)
    assert (ended.outcome, ended.score) == (outcome, None)
    assert told in ended.reason


def test_one_that_does_not_end_is_ended(tmp_path: Path) -> None:
    ended = run(tmp_path, "import time\ntime.sleep(600)\n", kill=1.0)
    assert ended.outcome == "timeout"
    assert ended.reason.startswith("train.py did not end within 1 s: 1 s of training (TIME_BUDGET in prepare.py)")


def test_it_finds_its_data_below_home_and_nothing_else_and_no_network(tmp_path: Path) -> None:
    cache = tmp_path / "home" / ".cache" / "autoresearch"
    cache.mkdir(parents=True)
    (cache / "data").write_text("words", encoding="utf-8")
    (tmp_path / "home" / "secret").write_text("secret", encoding="utf-8")
    text = f"""
import os, socket
from prepare import DATA
print(open(DATA).read(), os.listdir(os.path.expanduser("~/.cache")), os.environ["HF_HUB_OFFLINE"])
for path in ("{tmp_path}/home/secret", "{cache}/new"):
    try:
        open(path, "w" if path.endswith("new") else "r")
        print("reached", path)
    except OSError:
        pass
{PRINTS}"""
    prepare = 'import os\nDATA = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch", "data")\n'
    ended = run(tmp_path, text, prepare, home_links=((".cache/autoresearch", str(cache)),))
    assert ended.score is not None, ended.reason
    assert "words ['autoresearch'] 1" in log(tmp_path)
    if ended.guards["files"] == "held":
        assert "reached" not in log(tmp_path)


def test_an_environment_that_is_gone_is_the_operators(tmp_path: Path) -> None:
    ended = run(tmp_path, PRINTS, links=(), python=".venv/bin/python")
    assert (ended.outcome, ended.cause) == ("env_fail", "no_command")
    assert "There is no .venv/bin/python in reach of the run" in ended.reason and "uv sync" in ended.reason


def test_what_one_run_leaves_the_next_does_not_find(tmp_path: Path) -> None:
    """Files in every place that it may try, and what the environment names; both runs have the same home and links."""
    cache, mark = tmp_path / "home" / ".cache" / "autoresearch", f"left-by-{tmp_path.parent.name}-{tmp_path.name}"
    (cache / "data").mkdir(parents=True)
    text = f"""
import glob, os, site, sys, sysconfig, tempfile
home = os.path.expanduser("~")
places = [".", home, os.path.dirname(home), tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", "/run/lock"]
places += [*sys.path, *site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()]
places += [value for value in os.environ.values() if value.startswith("/")]
places += [os.path.join(top, name) for top, names, _ in os.walk(home, followlinks=True) for name in names]
made = set()
for place in filter(None, places):
    path = os.path.join(os.path.realpath(place), {mark!r})
    if os.path.lexists(path) and path not in made:
        print("FOUND", path)
    try:
        open(path, "w").close()
        made.add(path)
    except OSError:
        pass
print("left", len(made))
{PRINTS}"""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "home").symlink_to(tmp_path / "home")
        ended = run(tmp_path / name, text, home_links=((".cache/autoresearch", str(cache)),))
        told = log(tmp_path / name)
        assert ended.score is not None, ended.reason
        assert "FOUND" not in told and "left 0" not in told, told
