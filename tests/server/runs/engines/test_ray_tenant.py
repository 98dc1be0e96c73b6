"""A tenant and its tether with real processes: a run on a node, without a cluster around it."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from server.records import Attempt, Result
from server.runs.engines.ray import cargo, mirror, tenant
from server.runs.engines.ray.executor import on_node
from server.runs.executor import RunRequest, make_order, make_spec
from server.runs.run_spec import RunLimits
from server.runs.spawn import trainer_hash
from tests.support.builders import attempt
from tests.support.polling import is_gone, until
from tests.support.runs import site
from trainer.contract import COOKIE_VARIABLE, Referee, RunFile, SeatOrder, TaskSpec

ROOT = Path(__file__).parents[4]


def _begin(place: Path, command: str) -> tenant.Tenant:
    """A run of a command on a node whose home is below `place`; its code is the repository's."""
    made = tenant.Tenant("study/00001", leaves=False)
    (made.home / "code").mkdir(parents=True)
    (made.home / "code" / "digest").symlink_to(ROOT)
    _run(made, place, command)
    return made


def _run(made: tenant.Tenant, place: Path, command: str) -> None:
    """Have the tenant begin a run of a command."""
    about: Attempt = attempt(1)
    task = TaskSpec("cost", command=f"{command}; echo METRIC cost=1", editable=("value",))
    limits = RunLimits(setup_seconds=60, evaluation_seconds=60, grace_seconds=5, preflight=False)
    request = RunRequest(attempt=about, limits=limits, referee=Referee.COMMAND, task=task)
    here = place / made.folder.name
    (here / RunFile.TREE).mkdir(parents=True)
    (here / RunFile.TREE / "value").write_text("1\n", encoding="ascii")
    spec = on_node(make_spec(site(place, place, place), request, here), "study")
    seat = SeatOrder(make_order(spec, request).decode(), "nonce", trainer_hash())
    for _ in range(2):  # a call whose answer was lost is made again
        files = cargo.folder(here, json.dumps({"nonce": "nonce"}))
        assert made.begin(files, seat.to_json(), "digest") == ""


def _followed(made: tenant.Tenant, here: Path) -> Result:
    """The result of the run, mirrored."""
    here.mkdir()
    until(lambda: mirror.receive(here, made.look(mirror.seen(here), 0.2)[0]))
    return Result.model_validate_json((here / RunFile.RESULT).read_bytes())


def _pids(folder: Path) -> list[int]:
    """The processes of a run."""
    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if str(folder) in process.cmdline() or process.environ().get(COOKIE_VARIABLE) == str(folder):
                found.append(process.pid)
    return found


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tenant.HOME_VARIABLE, str(tmp_path / "home"))


@pytest.mark.usefixtures("_home")
def test_a_run_ends_with_its_tenant_and_leaves_a_result_and_no_process(tmp_path: Path) -> None:
    made = _begin(tmp_path, "sleep 300")
    until(lambda: b"measuring" in made.look({})[0].get(RunFile.PROGRESS, (0, b""))[1])
    pids = _pids(made.folder)
    assert len(pids) >= 3, "tether, seat, supervisor"
    os.close(made._tether)  # pyright: ignore[reportPrivateUsage]  # as the kernel does it, however the tenant dies
    found = tenant.collect("study/00001", {}, 60.0)
    assert found and RunFile.RESULT in found, found
    assert json.loads(found[RunFile.RESULT][1])["outcome"] == "cancelled"
    until(lambda: all(map(is_gone, pids)))
    tenant.remove("study/00001")
    assert tenant.collect("study/00001", {}, 0.0) is None


@pytest.mark.usefixtures("_home")
def test_a_run_goes_through_and_a_second_start_of_it_is_the_same(tmp_path: Path) -> None:
    made = _begin(tmp_path, "true")
    result = _followed(made, tmp_path / "mirror")
    assert result.outcome == "finished" and result.figures.node_name, result
    until(lambda: not made.look({})[1])
    made.leave()
    assert not made.folder.exists()


@pytest.mark.usefixtures("_home")
def test_a_tenant_takes_another_run_once_the_first_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(get_node_id=lambda: "n1")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    made = _begin(tmp_path, "true")
    assert _followed(made, tmp_path / "mirror").outcome == "finished"
    assert made.take("study/00001")["begun"], "asked again, it is still the same run"
    made.leave()
    assert made.take("study/00002") == {"node": "n1", "host": os.uname().nodename, "begun": False}
    assert made.look({}) == ({}, False), "nothing of the first run is the second's"
    _run(made, tmp_path, "true")
    assert _followed(made, tmp_path / "mirror2").outcome == "finished"
    assert made.folder.name == "00002" and made.look({})[0]


def test_a_tenant_without_a_run_is_asked_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert tenant.read_files(tmp_path / "none", {}) == {} and time.monotonic() - begun < 60
