"""train.py's processes are alike, forked or started, and hold nothing that they were not given."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from trainer.contract import Spec
from trainer.launch import _may_come_first  # pyright: ignore[reportPrivateUsage]

_SUPERVISOR = """
import json, os, sys
from pathlib import Path
from trainer.contract import ScratchRole
from trainer.processes.fork_server import ForkFailed
from trainer.processes.parentage import become_subreaper
from trainer.processes.process_tree import kill_descendants
from trainer.processes.scratch import make
from trainer.run.child import ChildProcess
from trainer.run.child_launch import Launcher
from trainer.run.clock import StageClock
from trainer.run.run_folder import RunFolder

folder, COOKIE = RunFolder(Path(sys.argv[1])), sys.argv[1]
stage, made = StageClock(folder), []
become_subreaper()

def run(launcher, **settings):
    scratch = make(folder.folder, ScratchRole.CANDIDATE)
    launched = launcher.launch(scratch, settings, stage.watch)
    made.append(launched)
    child = ChildProcess(launched, stage)
    child.ready()
    child.tell("go")
    told = launched.output.read().decode()
    return {"pid": launched.pid, "code": launched.exit_code(10), "told": told, "scratch": str(scratch)}
"""
_TELLS = """
import json, os, sys, tempfile
import numpy
print(json.dumps({
    "descriptors": sorted(name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")),
    "session": os.getsid(0), "pid": os.getpid(), "parent": os.getppid(), "cwd": os.getcwd(),
    "temporary": tempfile.gettempdir(), "environment": dict(os.environ), "argv": sys.argv,
    "drawn": numpy.random.random(),
}))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux alone")


def supervised(folder: Path, train: str, script: str, *words: str | Path) -> Any:
    """What a supervisor with a run of this train.py, and these words behind its folder, prints at last, as JSON."""
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 60.0, 60.0, str(folder), "", str(folder), confine=False)
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    (folder / "train.py").write_text(train, encoding="utf-8")
    command = [sys.executable, "-c", _SUPERVISOR + script, folder, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_process_has_what_it_was_given_and_nothing_else_however_it_was_made(tmp_path: Path) -> None:
    script = """
launcher = Launcher(folder.folder, COOKIE, {"PYTHONHASHSEED": "1"})
forked = [run(launcher, OWN="1"), run(launcher, OWN="1")]
launcher.close()
started = run(Launcher(folder.folder, COOKIE, {"PYTHONHASHSEED": "1"}, forks=False), OWN="1")
print(json.dumps([os.getpid(), *forked, started]))
"""
    supervisor, *made = supervised(tmp_path, f"{_TELLS}\nsys.exit()\nimport torch", script)
    told = [json.loads(one["told"]) for one in made]
    for one, own in zip(made, told, strict=True):
        assert one["code"] == 0 and own["parent"] == supervisor
        assert own["pid"] == own["session"] == one["pid"]
        assert own["cwd"] == own["temporary"] == own["environment"]["HOME"] == one["scratch"]
        assert len(own["descriptors"]) == 4  # the standard ones and the channel
        assert own["argv"] == [str(tmp_path / "train.py")]
        assert (own["environment"].pop("OWN"), own["environment"].pop("AUTORESEARCH_RUN")) == ("1", str(tmp_path))
        for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "AUTORESEARCH_CHANNEL"):
            del own["environment"][name]
    assert told[0]["environment"] == told[1]["environment"] == told[2]["environment"]
    assert len({own["drawn"] for own in told}) == 3


def test_how_a_forked_process_ended_is_told(tmp_path: Path) -> None:
    script = """
launcher = Launcher(folder.folder, COOKIE, {})
print(json.dumps(run(launcher)["code"]))
"""
    assert supervised(tmp_path, "import os\nos._exit(7)", script) == 7
    assert supervised(tmp_path, "import os\nos.kill(os.getpid(), 15)", script) == -15


def test_whoever_was_forked_lives_on_when_the_server_dies_and_the_next_one_comes_from_another(tmp_path: Path) -> None:
    script = """
launcher = Launcher(folder.folder, COOKIE, {})
waiting = ChildProcess(launcher.launch(make(folder.folder, ScratchRole.CANDIDATE), {}, stage.watch), stage)
(server,) = launcher.pids
os.kill(server, 9)
waiting.ready()
after = run(launcher)
assert launcher.pids != {server} and kill_descendants(COOKIE, spared=launcher.pids) == []
launcher.close()
print(json.dumps(after))
"""
    assert supervised(tmp_path, "print('here')", script)["told"] == "here\n"


def test_after_a_request_without_an_answer_the_next_process_comes_from_another_server(tmp_path: Path) -> None:
    script = """
import signal
from trainer.processes import fork_server
fork_server._ANSWER_SECONDS = 0.2
launcher, told = Launcher(folder.folder, COOKIE, {}), []
def interrupted():
    raise OSError("while it waits")
for watch in (stage.watch, interrupted):
    run(launcher)
    (server,) = launcher.pids
    os.kill(server, signal.SIGSTOP)
    try:
        launcher.launch(make(folder.folder, ScratchRole.CANDIDATE), {}, watch)
        fork_server._ANSWER_SECONDS = 20
    except OSError as failed:
        told.append(str(failed))
    told.append(run(launcher)["told"])
    assert launcher.pids != {server}
print(json.dumps(told))
"""
    assert supervised(tmp_path, "print('here')", script) == ["here\n", "while it waits", "here\n"]


def test_while_processes_rest_nobody_runs_out_of_time_for_an_answer(tmp_path: Path) -> None:
    script = """
import signal, time
from trainer.processes import fork_server
launcher = Launcher(folder.folder, COOKIE, {})
run(launcher)
(server,) = launcher.pids
fork_server._ANSWER_SECONDS = 0.5
def rests():
    time.sleep(0.6)
    os.kill(server, signal.SIGCONT)
os.kill(server, signal.SIGSTOP)
launcher.launch(make(folder.folder, ScratchRole.CANDIDATE), {}, rests)
print(json.dumps(launcher.pids == {server}))
"""
    assert supervised(tmp_path, "print('here')", script)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    script = """
launcher = Launcher(folder.folder, COOKIE, {"PYTHONHOME": "/nonexistent"})
try:
    run(launcher)
except ForkFailed as failed:
    assert launcher.pids == frozenset()
    try:
        run(launcher)
    except ForkFailed as again:
        print(json.dumps([str(failed), str(again)]))
"""
    for told in supervised(tmp_path, "", script):
        assert "has ended: " in told and "Python" in told


LEAVES = """
import fcntl, os, struct, sys
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 7, 1, 0)
fcntl.fcntl(0, 37, lock)  # F_OFD_SETLK
fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
"""
FINDS = """
other = os.open(os.devnull, os.O_RDWR)
found = fcntl.fcntl(other, 36, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))  # F_OFD_GETLK
print(struct.unpack("hhqqi4x", found)[0] != fcntl.F_UNLCK, fcntl.fcntl(0, fcntl.F_GETFL) & os.O_APPEND)
"""


def test_a_run_whose_processes_cannot_be_started_is_the_machines_failure(tmp_path: Path, data: Path) -> None:
    script = """
from dataclasses import replace
from trainer.evaluators.sealed import SealedLM
spec, results = replace(folder.spec(), data=sys.argv[2], preflight=False), []
results.append(SealedLM(folder, replace(spec, setup_seconds=0.001)).run())
sys.executable = "/bin/false"
results.append(SealedLM(folder, spec).run())
folder.cancel("enough")
results.append(SealedLM(folder, spec).run())
print(json.dumps([[one.outcome, one.cause, one.reason] for one in results]))
"""
    slow, broken, cancelled = supervised(tmp_path, "", script, data)
    assert slow[:2] == ["env_fail", "timeout"] and "no line of it has run: Set-up" in slow[2]
    assert broken[:2] == ["env_fail", "no_process"] and "has ended" in broken[2]
    assert cancelled[0] == "cancelled"


def test_no_open_file_is_shared_by_two_processes(tmp_path: Path) -> None:
    script = """
launcher = Launcher(folder.folder, COOKIE, {})
waiting = launcher.launch(make(folder.folder, ScratchRole.CANDIDATE), {}, stage.watch)  # as the replica does
first = run(launcher)["code"]
print(json.dumps([first, run(launcher, FINDS="1")["told"]]))
"""
    head, _, leaves = LEAVES.partition("lock =")
    train = f"{head}\nif 'FINDS' in os.environ:\n{indent(FINDS, '    ')}\nelse:\n{indent('lock =' + leaves, '    ')}"
    assert supervised(tmp_path, train, script) == [0, "False 0\n"]


def test_what_cannot_be_imported_ahead_is_imported_by_train_py_itself(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('broken')", encoding="utf-8")
    script = """
paths = os.pathsep.join([sys.argv[2], *sys.path])
print(json.dumps(run(Launcher(folder.folder, COOKIE, {"PYTHONPATH": paths}))["told"]))
"""
    train = "import sys\ntry:\n    import torch\nexcept ImportError as error:\n    print(error, len(sys.orig_argv))"
    assert supervised(tmp_path, train, script, broken) == "broken 6\n"  # a program of its own, with no descriptor


LOOKS = "seen = os.environ['HOME'] == os.environ.get('TMPDIR') == ''  # the environment"


SETTING = [
    (LOOKS, True),
    ("os.environ['TORCHINDUCTOR_MAX_AUTOTUNE'] = '1'", False),
    ("os.environ['TORCHINDUCTOR_MAX_AUTOTUNE'] \\\n    = '1'", False),
    ("os.environ['PATH'] += ':x'", False),
    ("os.environ['PATH']: str = ''", False),
    ("del os.environ['PATH']", False),
    ("os.environb[b'PATH'] = b''", False),
    ("for os.environ['PATH'] in 'ab': pass", False),
    ("os.environ.update(OMP_NUM_THREADS='1')", False),
    ("from os import environ as known", False),
    ("os.putenv('OMP_NUM_THREADS', '1')", False),
    ("if not sys: import settings, os", False),
    ("if not sys: __import__('settings')", False),
    ("getattr(os, 'environ')['PATH'] = ''", False),
    ("if not sys: os.patch(caching_precompile=True)", False),
    ("kind = os.environ.get('CXX') or os.environ['PATH']", True),
]


def training(line: str) -> str:
    return f"import os, sys\n{line}\nprint('torch' in sys.modules)\nsys.exit()\nimport torch"


@pytest.mark.parametrize(("line", "ahead"), SETTING)
def test_what_may_set_the_environment_is_found_in_the_text(line: str, ahead: bool) -> None:
    assert _may_come_first(training(line)) is ahead


@pytest.mark.parametrize(("line", "ahead"), [SETTING[0], SETTING[3], SETTING[11], SETTING[-1]])
def test_torch_is_not_imported_ahead_of_what_train_py_sets_for_it(tmp_path: Path, line: str, ahead: bool) -> None:
    script = """
print(json.dumps(run(Launcher(folder.folder, COOKIE, {}))["told"]))
"""
    assert supervised(tmp_path, training(line), script) == f"{ahead}\n"


@pytest.mark.parametrize("forks", [True, False])
def test_a_file_that_is_changed_after_it_was_read_changes_nothing(tmp_path: Path, forks: bool) -> None:
    script = f"""
launcher = Launcher(folder.folder, COOKIE, {{}}, forks={forks})
folder.train.write_text("print('another text')")
(folder.folder / "spec.json").write_text("")
print(json.dumps([run(launcher)["told"] for _ in range(2)]))
"""
    train = "import inspect\n\ndef mine(): pass\n\nprint(inspect.getsource(mine), __name__, open(0).read() == '')"
    assert supervised(tmp_path, train, script) == ["def mine(): pass\n __main__ True\n"] * 2
