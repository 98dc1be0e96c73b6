"""What is wrong before a run: no cluster, no token, a node that is unfit. Each is told in one sentence."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

from server.errors import RunnerUnavailable
from server.records import Outcome
from server.runs.engines.ray import checks
from server.runs.engines.remote import RemoteRun
from server.runs.executor import RunRequest
from server.runs.run_spec import RunLimits
from tests.faults.night import Refused
from tests.ray.bench import Bench, bench, ended
from tests.ray.cluster import Cluster
from tests.slurm.seeded import SeededNight
from tests.support.repositories import QUICK
from trainer.contract import Referee

Check = Callable[[Path, Cluster], None]
CHECKS: dict[str, Check] = {}
ALONE: dict[str, Check] = {}  # with a cluster that is not up


def check(name: str, alone: bool = False) -> Callable[[Check], Check]:
    def added(does: Check) -> Check:
        (ALONE if alone else CHECKS)[name] = does
        return does

    return added


@check("a language model trains on a node")
def _trains(place: Path, nodes: Cluster) -> None:
    with bench(place, nodes) as made:
        result = ended(_train(made))
        assert result.outcome is Outcome.FINISHED and result.score and result.figures.node_name, result


@check("doctor finds nothing wrong with a good cluster")
def _doctor(place: Path, nodes: Cluster) -> None:
    found = list(checks.examine(nodes.address))
    assert {one.state for one in found} == {"ok"}, found
    assert sum(one.name == "node" for one in found) == 3
    assert nodes.token.read_text(encoding="ascii") not in str(found), "the token is told"


@check("no cluster runs here: doctor and the server say so", alone=True)
def _none(place: Path, nodes: Cluster) -> None:
    nodes.home(0).mkdir()
    environment = nodes.environment(0)
    words = ["-m", "server.cli", "doctor", "--executor", "ray", "--json", "--workspace", str(place)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environment)
    (told,) = [one["detail"] for one in json.loads(done.stdout)["checks"] if one["name"] == "ray"]
    assert done.returncode == 1 and "no cluster runs on this machine" in told, told
    (place / "night").mkdir(parents=True)
    night = SeededNight(place / "night", place / "data", "--executor", "ray")
    told = anyio.run(_refused_start, night, environment)
    assert "no cluster runs on this machine" in told and not night.rows(), told


async def _refused_start(night: SeededNight, environment: dict[str, str]) -> str:
    async with night.agent(**environment) as agent:
        try:
            await agent.start()
        except Refused as refused:
            return str(refused)
    raise AssertionError("it was taken")


@check("no cluster answers")
def _no_cluster(place: Path, nodes: Cluster) -> None:
    made = Bench(place, nodes)
    made.executor.close()
    made.executor = made.open("127.0.0.1:1")
    told = _refused(lambda: made.executor.require_free("cpu", {}))
    assert "no cluster answers" in told and not list(place.rglob("job")), told
    made.executor.close()
    (line,) = [one for one in checks.examine("127.0.0.1:1") if one.state == "fix"]
    assert "no cluster answers" in line.detail, line


@check("no token, and a wrong one")
def _tokens(place: Path, nodes: Cluster) -> None:
    kept = os.environ["RAY_AUTH_TOKEN_PATH"]
    try:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(place / "none")
        told = _refused(lambda: Bench(place, nodes))
        assert "There is no token" in told, told
        place.mkdir(parents=True)
        (place / "wrong").write_text("0" * 64, encoding="ascii")
        (place / "wrong").chmod(0o644)
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(place / "wrong")
        found = list(checks.examine(nodes.address))
        assert any("others can read" in one.detail for one in found), found
        assert any("refuses this server's token" in one.detail for one in found), found
    finally:
        os.environ["RAY_AUTH_TOKEN_PATH"] = kept


@check("another version of Ray here")
def _version(place: Path, nodes: Cluster) -> None:
    told = subprocess.run(
        [
            _odd_python(place, "ray", "2.9.9"),
            "-m",
            "server.cli",
            "doctor",
            "--executor",
            "ray",
            "--workspace",
            str(place),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**nodes.environment(0), "PYTHONPATH": str(Path(__file__).parents[2])},
    ).stdout
    assert "Ray 2.9.9 is installed here, but 2.60.0 is needed" in " ".join(told.split()), told


@check("a node with another torch")
def _other_torch(place: Path, nodes: Cluster) -> None:
    with _odd_node(nodes, _odd_python(place, "torch", "9.9.9")):
        found = [one.detail for one in checks.examine(nodes.address) if one.state == "fix"]
        assert len(found) == 1 and "has torch 9.9.9" in found[0], found
        _unfit(place, nodes, "it has torch 9.9.9")


@check("a node whose clock differs")
def _clock(place: Path, nodes: Cluster) -> None:
    python, packages = _like_ours(place)
    (packages / "clock.pth").write_text("import time; time.time = lambda real=time.time: real() + 3600\n", "utf-8")
    with _odd_node(nodes, python):
        (line,) = [one for one in checks.examine(nodes.address) if one.state == "fix"]
        assert "has a clock that differs from this machine's by " in line.detail, line


@check("a node without torch and all the rest")
def _no_torch(place: Path, nodes: Cluster) -> None:
    with _odd_node(nodes, _bare_python(place)):
        found = " ".join(one.detail for one in checks.examine(nodes.address) if one.state == "fix")
        assert "has no torch" in found and "has no psutil" in found, found
        _unfit(place, nodes, "psutil")


@check("a node whose disk is full")
def _full(place: Path, nodes: Cluster) -> None:
    home = nodes.home(1)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "full", str(home)], check=True)
    try:
        with _odd_node(nodes, nodes.python):
            found = " ".join(one.detail for one in checks.examine(nodes.address) if one.state == "fix")
            assert "MB free" in found or "no place for runs" in found, found
            _unfit(place, nodes, "full")
    finally:
        nodes.kill(1)
        subprocess.run(["umount", "--lazy", str(home)], check=True)
        nodes.start(1)


def _unfit(place: Path, nodes: Cluster, word: str) -> None:
    """A run there is refused with a sentence, and the other node's goes through."""
    nodes.kill(2)
    with bench(place / "runs", nodes) as made:
        result = ended(_train(made))
        assert result.outcome is Outcome.ENV_FAIL and word in result.reason, result
    nodes.start(2)


def _train(made: Bench) -> RemoteRun:
    limits = RunLimits(setup_seconds=120, evaluation_seconds=120, grace_seconds=5, preflight=False)
    asked = made.request(1, "true")
    attempt = asked.attempt.model_copy(update={"profile": "smoke", "budget_seconds": 0.5, "dataset": "embedded"})
    text = RunRequest(attempt=attempt, text=QUICK, limits=limits, referee=Referee.SEALED, modules={}, key="0" * 64)
    return made.executor.submit(text)


def _refused(does: Callable[[], object]) -> str:
    try:
        does()
    except RunnerUnavailable as error:
        return error.problem
    raise AssertionError("it was taken")


@contextmanager
def _odd_node(nodes: Cluster, python: str) -> Generator[None]:
    """Node 1 with another Python, for a while."""
    nodes.kill(1)
    nodes.start(1, python)
    try:
        yield
    finally:
        nodes.kill(1)
        nodes.start(1)


def _venv(place: Path) -> tuple[str, Path]:
    folder = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python"), next((folder / "lib").glob("python*/site-packages"))


def _like_ours(place: Path) -> tuple[str, Path]:
    """A Python that has what this one has, and where it looks first."""
    python, packages = _venv(place)
    found = "\n".join(path for path in sys.path if "site-packages" in path)
    (packages / "base.pth").write_text(found, encoding="utf-8")
    return python, packages


def _odd_python(place: Path, name: str, version: str) -> str:
    """A Python that has what this one has, and takes a package for another version."""
    python, packages = _like_ours(place)
    (packages / f"{name}-{version}.dist-info").mkdir()
    (packages / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    return python


def _bare_python(place: Path) -> str:
    """A Python that has Ray, and what that needs, alone."""
    python, packages = _venv(place)
    own = Path(sysconfig.get_path("purelib"))
    needed = ("click", "filelock", "jsonschema", "packaging", "yaml", "attr", "referencing", "rpds")
    found = [own, *(Path(path) for path in sys.path if "site-packages" in path)]
    for folder in found:
        for name in (
            *needed,
            "ray",
            "msgpack",
            "google",
            "requests",
            "urllib3",
            "idna",
            "certifi",
            "charset_normalizer",
        ):
            for entry in (folder / name, folder / f"{name}.py", *folder.glob(f"{name}-*.dist-info")):
                if entry.exists() and not (packages / entry.name).exists():
                    (packages / entry.name).symlink_to(entry)
        for entry in (
            *folder.glob("jsonschema_*"),
            *folder.glob("attrs*"),
            *folder.glob("_yaml"),
            *folder.glob("typing_ext*"),
        ):
            if not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return python
