"""benchmarks/gpu_check.py, dry: whatever a GPU does to it, the check itself works."""

import importlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from server.runs.spawn import probe_guards

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "benchmarks" / "gpu_check.py"
TORCHS = ("torch", "filelock", "typing-extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec")
PACKED = ("numpy", "psutil", "nvidia-ml-py")
SECONDS = 900  # of a machine that is busy with other things; alone it is two minutes at most

pytestmark = pytest.mark.timeout(SECONDS)


def module(name: str) -> Any:
    """One of the check's own, which are no package of ours."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def checked(tmp_path: Path, *words: str, python: str = sys.executable, **environment: str) -> dict[str, Any]:
    """The parts of a dry check, as it writes them."""
    command = [python, str(CHECK), "--dry", "--deadline", str(SECONDS), "--json", str(tmp_path / "gpu.json"), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts: dict[str, Any] = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["parts"]
    return parts


# A run that is recorded, two that are ended, a probe and the table; the other parts do the same with other texts.
SHORT = [word for part in ("upstream", "kill", "doctor") for word in ("--only", part)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        pytest.param([*SHORT, "--seconds", "0.3"], id="in short"),
        pytest.param([], id="whole", marks=pytest.mark.thorough),
    ],
)
def test_a_dry_check_runs_all_parts_through_the_real_supervisor(tmp_path: Path, data: Path, words: list[str]) -> None:
    parts = checked(tmp_path, *words, *(["--data", str(data)] if words else []))
    assert parts.pop("upstream")["state"] == "skipped"
    assert {told["state"] for told in parts.values()} == {"ok"}, parts
    cheats: dict[str, Any] = parts["cheats"]["data"] if "cheats" in parts else {}
    assert all(one["held"] for name, one in cheats.items() if name != "honest")
    assert cheats or words
    for way in ("cancelled", "killed"):
        assert parts["kill"]["data"][way]["processes"] >= 2
        assert parts["kill"]["data"][way]["dead_seconds"] is not None
    assert parts["kill"]["data"]["cancelled"]["outcome"] == "cancelled"


@pytest.mark.thorough
def test_memory_that_outlives_its_process_would_be_seen(tmp_path: Path) -> None:
    """The stand-in gets a channel that works, a file without guards around it: the check must call it better."""
    text, judged = module("gpu.cheats").text, module("gpu.cheats").judged
    bench = module("gpu.bench").Bench(tmp_path, ROOT, True, 0.5, float("inf"))
    file, fresh = tmp_path / "channel", "flat = torch.empty(words, dtype=torch.int64, device=session.device)"
    cheat = text("leftover_device")
    assert fresh in cheat
    cheat = cheat.replace(fresh, f"flat = torch.from_file({str(file)!r}, shared=True, size=words, dtype=torch.int64)")
    runs = {name: bench.run(name, train, confine=False) for name, train in (("honest", text("honest")), ("it", cheat))}
    part = judged(runs)
    assert part.fault == "it: a better score." and not part.data["it"]["held"], part.lines


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="the libraries of another system's wheels lie elsewhere")
def test_wheels_stand_in_for_packages_that_the_interpreter_lacks(tmp_path: Path) -> None:
    """A Python that has nothing but torch, and numpy, psutil and NVML's bindings in a folder."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    bare = tmp_path / "bare" / "bin" / "python"
    (tmp_path / "torch").mkdir()
    for name in TORCHS:
        found = distribution(name)
        for top in {Path(file).parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            (tmp_path / "torch" / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    home = next((tmp_path / "bare" / "lib").glob("python*")) / "site-packages"
    (home / "torch.pth").write_text(str(tmp_path / "torch"), encoding="utf-8")
    for name in PACKED:
        wheel(name, tmp_path / "wheels")
    # train.py's process may read what libraries are loaded from: there the links lead to.
    real = str((tmp_path / "torch" / "torch").resolve().parent)
    parts = checked(
        tmp_path,
        "--only",
        "smoke",
        "--seconds",
        "0.3",
        "--packed",
        str(tmp_path / "wheels"),
        python=str(bare),
        LD_LIBRARY_PATH=real,
    )
    assert parts["smoke"]["state"] == "ok"
    run = parts["smoke"]["data"]["smoke"]
    assert run["score"] > 1 and run["figures"]["audits"] == run["measured"]["audit"]["positions"] == 32
    assert run["guards"].pop("meter")
    assert run["guards"] == probe_guards()  # all held, or what this machine cannot put on


def wheel(name: str, folder: Path) -> None:
    """One made of an installed package, without its tests."""
    folder.mkdir(exist_ok=True)
    found = distribution(name)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{found.version}-any.whl", "w") as archive:
        for file in found.files or []:
            if ".." not in file.parts and "tests" not in file.parts and file.suffix != ".pyc":
                archive.write(Path(str(file.locate())), str(file))


def test_without_time_a_part_keeps_what_ended_and_names_the_rest(tmp_path: Path) -> None:
    bench = module("gpu.bench").Bench(tmp_path, ROOT, True, 0.5, float("-inf"))
    part = module("gpu.parts").audit(bench)
    assert {name: part.data[name]["outcome"] for name in ("compiled", "eager")} == dict.fromkeys(
        ("compiled", "eager"), "out_of_time"
    )
    assert part.fault == "compiled: out_of_time: not begun"
    ended = module("gpu.bench").Run(tmp_path, 1.0, "finished", "", 2.0)
    late = module("gpu.bench").Run(tmp_path, 1.0, "out_of_time", "cancelled", None)
    part = module("gpu.cheats").judged({"honest": ended, "queued": ended, "graph": late})
    assert part.data["queued"]["held"] and part.fault == "graph: not tried."


def test_all_goals_are_measured_before_the_deadline() -> None:
    check = module("gpu.check")
    chosen = check.options([])
    needed = 0.0
    for name in ("doctor", "gpu", "upstream", "audit", "kill"):  # in this order: the goals first
        fixed, whole = check.PARTS[name]
        needed += fixed + whole * check.SECONDS
    assert list(check.PARTS)[:5] == ["doctor", "gpu", "upstream", "audit", "kill"] and needed <= chosen.deadline


def test_the_page_has_the_rows_that_the_check_prints() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    section = page.partition("## On one GPU")[2].partition("\n## ")[0]
    for row in module("gpu.report").markdown({}).splitlines()[2:]:
        assert "|".join(row.split("|")[:3]) in section, row
