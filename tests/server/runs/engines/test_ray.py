"""Runs on a Ray cluster, as far as no cluster is needed: what travels, what is mirrored, what is refused."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from server.errors import RunnerUnavailable
from server.records import Outcome
from server.runs.engines.ray import cargo, mirror, settings, tenant
from server.runs.engines.ray.checks import about
from server.runs.engines.ray.door import Node
from server.runs.engines.ray.executor import offered, on_node, study_name
from server.runs.engines.ray.link import Link
from server.runs.engines.ray.where import Where
from server.runs.engines.remote import Job
from server.runs.run_folder import RunFolder
from tests.support.runs import site
from trainer.contract import RunFile, Spec

ROOT = Path(__file__).parents[4]


def _version(folder: Path, version: str) -> None:
    made = folder / f"ray-{version}.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\n", encoding="utf-8")


@pytest.fixture
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (settings.MODE, settings.TOKEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(settings.TOKEN_PATH, str(tmp_path / "token"))


@pytest.mark.usefixtures("no_token")
def test_the_wrong_version_no_version_and_no_token_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, told in ((None, "not installed"), ("2.9.0", "Ray 2.9.0 is installed here, but"), ("", "no token")):
        folder = tmp_path / f"v{version}"
        folder.mkdir()
        if version is not None:
            _version(folder, version or settings.VERSION)
        monkeypatch.setattr(sys, "path", [str(folder), *(path for path in sys.path if not _has_ray(path))])
        with pytest.raises(RunnerUnavailable, match=told):
            settings.require()
    (tmp_path / "token").write_text("secret\n", encoding="ascii")
    settings.require()
    (tmp_path / "token").chmod(0o640)
    assert settings.loose_token() and "secret" not in settings.loose_token()


def _has_ray(path: str) -> bool:
    return any(Path(path).glob("ray-*.dist-info"))


def test_the_extra_is_pinned_to_the_version_that_the_code_asks_for() -> None:
    assert f'"ray=={settings.VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_server_that_is_not_asked_for_ray_imports_nothing_of_it() -> None:
    code = "import sys, server.cli.serve, server.chosen_engine, server.study.study\n"
    code += "print([name for name in sys.modules if name.split('.')[0] == 'ray' or '.engines.ray' in name])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "[]"


def test_a_child_that_cannot_connect_says_why_and_is_started_again(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "ray").mkdir()
    stands_in = "class _E(Exception): pass\ndef init(**told): raise ConnectionError('nobody')\n"
    (tmp_path / "ray" / "__init__.py").write_text(stands_in, encoding="utf-8")
    (tmp_path / "ray" / "cloudpickle.py").write_text("def register_pickle_by_value(module): pass\n", encoding="utf-8")
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    link = Link(environment, tmp_path / "log", list)
    with pytest.raises(RunnerUnavailable, match="no cluster answers at its address"):
        link.require()
    with pytest.raises(RunnerUnavailable, match="no cluster answers"):
        link.ask("nodes")
    link.close()


def test_a_cluster_that_is_silent_is_waited_for_once(tmp_path: Path) -> None:
    """A call that starts a run, again and again, holds the study's lock meanwhile."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", settings.ADDRESS: "10.0.0.9:6379"}
    (tmp_path / "ray").mkdir()
    silent = "import time\ndef init(**told): time.sleep(1000)\n"
    (tmp_path / "ray" / "__init__.py").write_text(silent, encoding="utf-8")
    (tmp_path / "ray" / "cloudpickle.py").write_text("def register_pickle_by_value(module): pass\n", encoding="utf-8")
    link, took = Link(environment, tmp_path / "log", list, patience=5.0), list[float]()
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(RunnerUnavailable, match=r"no cluster answers at 10\.0\.0\.9:6379"):
            link.require()
        took.append(time.monotonic() - begun)
    link.close()
    assert took[0] >= 5.0 > took[1]


def test_the_names_of_a_runs_files_are_those_of_the_contract() -> None:
    assert {*tenant.WHOLE, *tenant.GROWING, *tenant.LAST} <= set(RunFile)


def test_what_is_mirrored_is_whole_and_the_ending_comes_last(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    log = os.urandom(3 << 20)
    (there / RunFile.LOG).write_bytes(log)
    (there / RunFile.RESULT).write_bytes(b"{}")
    (there / RunFile.SIGNATURE).write_bytes(b"sig")
    (there / "secret").write_bytes(b"of the node's")
    looks = 0
    while not mirror.receive(here, tenant.read_files(there, mirror.seen(here))):
        assert not (here / RunFile.RESULT).exists(), "before the rest of the log is here"
        looks += 1
        assert looks < 10
    assert (here / RunFile.LOG).read_bytes() == log and (here / RunFile.SIGNATURE).read_bytes() == b"sig"
    mirror.receive(here, {"../escaped": (0, b"x"), "secret": (0, b"x")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"] and not (here / "secret").exists()


def test_a_part_that_comes_twice_or_too_early_changes_nothing(tmp_path: Path) -> None:
    for offset, part in ((0, b"first "), (0, b"first "), (20, b"too early"), (6, b"second")):
        mirror.receive(tmp_path, {RunFile.LOG: (offset, part)})
    assert (tmp_path / RunFile.LOG).read_bytes() == b"first second"


def test_a_run_with_a_result_is_not_given_up(tmp_path: Path) -> None:
    mirror.give_up(tmp_path, Outcome.LOST, "Its node is gone.", "n1")
    gone = RunFolder(tmp_path).gone()
    assert gone and gone.outcome is Outcome.LOST and gone.figures.node_name == "n1"
    (tmp_path / RunFile.GONE).unlink()
    (tmp_path / RunFile.RESULT).write_text("{}", encoding="ascii")
    mirror.give_up(tmp_path, Outcome.LOST, "Its node is gone.")
    assert not (tmp_path / RunFile.GONE).exists()


def test_the_code_that_travels_is_the_same_for_the_same_files_and_is_unpacked_once(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "trainer" / "__pycache__").mkdir(parents=True)
    (packages / "trainer" / "one.py").write_text("ONE = 1\n", encoding="utf-8")
    (packages / "trainer" / "__pycache__" / "one.pyc").write_bytes(b"x")
    first = cargo.code(packages)
    os.utime(packages / "trainer" / "one.py", (1, 1))
    assert cargo.code(packages) == first
    assert zipfile.ZipFile(io.BytesIO(first.data)).namelist() == ["trainer/one.py"]
    for _ in range(2):
        tenant.install(tmp_path / "home", first.data, first.digest)
    assert (tmp_path / "home" / "code" / first.digest / "trainer" / "one.py").read_text("utf-8") == "ONE = 1\n"
    with pytest.raises(OSError, match="differs from what was sent"):
        tenant.install(tmp_path / "home", first.data + b"x", "0" * 64)
    assert len(list((tmp_path / "home" / "code").iterdir())) == 1


def test_a_folder_travels_with_its_job_and_without_what_is_this_machines(tmp_path: Path) -> None:
    for name in (RunFile.TRAIN, RunFile.LEASE, RunFile.PROGRESS, RunFile.JOB):
        (tmp_path / name).write_text("here", encoding="ascii")
    packed = cargo.folder(tmp_path, '{"nonce": "n"}')
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert sorted(tar.getnames()) == sorted([RunFile.TRAIN, RunFile.JOB])
        job = tar.extractfile(RunFile.JOB)
        assert job and json.loads(job.read()) == {"nonce": "n"}


def test_a_data_set_is_brought_to_a_node_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tenant.HOME_VARIABLE, str(tmp_path / "home"))
    place = tmp_path / "data"
    place.mkdir()
    (place / "train.bin").write_bytes(os.urandom(100))
    sums = {"train.bin": tenant._sum(place / "train.bin")}  # pyright: ignore[reportPrivateUsage]
    (place / "manifest.json").write_text(json.dumps(sums), encoding="utf-8")
    data, one, other = (
        cargo.DataSet(place),
        tenant.Tenant("study/00001", leaves=False),
        tenant.Tenant("study/00002", leaves=False),
    )
    assert one.claim_data(data.digest) == "bring" and other.claim_data(data.digest) == "wait"
    for name, part in data.parts():
        one.receive(data.digest, name, part[:-1])
    assert "arrived damaged" in one.seal_data(data.digest, data.sums)
    assert other.claim_data(data.digest) == "bring"
    for name, part in data.parts():
        other.receive(data.digest, name, part)
    assert other.seal_data(data.digest, data.sums) == "" and one.claim_data(data.digest) == "have"
    there = tmp_path / "home" / "data" / data.digest
    assert (there / "train.bin").read_bytes() == (place / "train.bin").read_bytes()


def test_paths_of_a_spec_are_the_nodes(tmp_path: Path) -> None:
    spec = Spec(1, "cpu", 1, 1.0, 1.0, 1.0, 1.0, data=str(tmp_path), imports=str(tmp_path), cookie=str(tmp_path))
    sent = json.dumps({"order": json.dumps({"spec": json.loads(on_node(spec, "study").to_json()), "key": "k"})})
    told = tenant._here(json.loads(sent), Path("/node"), Path("/node/runs/1"))  # pyright: ignore[reportPrivateUsage]
    there = json.loads(told["order"])["spec"]
    assert str(tmp_path) not in told["order"] and there["data"] == "/node/data/embedded"
    assert there["cookie"] == "/node/runs/1" and there["kernels"] == "/node/kernels/study"


def test_a_job_remembers_where_its_run_is() -> None:
    node, job = Node("n1", "10.0.0.1", "box", True, {}), Job(engine="ray", name="s/00001", nonce="n")
    there = Where("c1").at("n1", node)
    again = Where.of(job.model_copy(update={"id": str(there)}))
    assert again == there and Where.of(job) == Where() and again.told == "node box (10.0.0.1)"
    assert again.is_at(node, same=True) and not again.is_at(node._replace(id="n2"), same=True)
    assert again.is_at(node._replace(id="n2"), same=False), "of a cluster that was started anew"
    assert not again.is_at(node._replace(alive=False), same=True)


def test_two_studies_never_share_a_name_and_slots_are_those_of_the_profile(tmp_path: Path) -> None:
    one, other = site(tmp_path / "a" / "t1", tmp_path, tmp_path), site(tmp_path / "b" / "t1", tmp_path, tmp_path)
    assert study_name(one) == study_name(one) != study_name(other)
    nodes: list[dict[str, dict[str, float]]] = [
        {"resources": {"slot": 2.0, "GPU": 1.0}},
        {"resources": {"GPU": 4.0}},
        {"resources": {}},
    ]
    assert (offered(nodes, "cpu"), offered(nodes, "gpu-24gb")) == (2, 5)


_NODE = {"host": "box", "address": "10.0.0.1", "python": sys.version.split()[0], "trouble_home": "", "free_mb": 9000}
_TIMES = {"sent": 10.0, "time": 11.0, "came": 12.0}
_WORD = {**_NODE, **_TIMES, "root": True, "nice": 0, "oom": "0", "token": "token"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"time": 60.0}, "clock that differs from this machine's by 48 s"),
        ({"free_mb": 10}, "10 MB free"),
        ({"trouble_home": "/x cannot be written"}, "no place for runs"),
        ({"nice": 15, "root": False}, "slowed"),
        ({"token": ""}, "asks for no token"),
        ({"python": "3.99.1"}, "has Python 3.99.1"),
        ({"packages": {"torch": ""}}, "has no torch"),
        ({"packages": {"torch": "0.1"}}, "has torch 0.1"),
        ({"packages": {"psutil": ""}}, "has no psutil"),
        ({"packages": {"ray": "2.9.0"}}, "has Ray 2.9.0"),
        ({"trouble": "it does not answer"}, "does not answer"),
    ],
)
def test_what_makes_a_node_unfit_is_one_clear_sentence(change: dict[str, object], told: str) -> None:
    torch = __import__("importlib.metadata").metadata.version("torch")
    packages = {"ray": settings.VERSION, "torch": torch, "numpy": "2", "psutil": "7"}
    other = change.get("packages")
    word: dict[str, object] = {**_WORD, **change, "packages": packages | other if isinstance(other, dict) else packages}
    (line,) = about(word, torch=True)
    assert told in line.detail and (line.state == "ok") == (not told), line
    assert "box" in line.detail and (line.state == "ok" or line.remedy)
