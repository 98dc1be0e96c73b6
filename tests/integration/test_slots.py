"""Two runs at once on the CPU: neither is in the other's way, and neither dies with the other."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server.errors import DeviceBusy
from server.records import Experiment, Outcome
from server.runs.cleanup import supervisors
from server.runs.executor import RunRequest, RunSite, Slot, SlotRequest
from server.runs.hardware import cores
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.polling import ended, processes_of, until
from tests.support.repositories import STAND_INS
from tests.support.runs import local_executor

_TERMS = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=5, preflight=False, confine=False)


@pytest.fixture
def executor(tmp_path: Path, data: Path) -> LocalExecutor:
    if cores() < 2:
        pytest.skip("two runs at once need two cores")
    return two_slots(tmp_path, data, "a tag")


def two_slots(home: Path, data: Path, tag: str) -> LocalExecutor:
    state = (home / tag).resolve()
    return LocalExecutor(RunSite(state / "runs", state / "kernels", data, home, home, SlotRequest(2, "smoke")))


def start(executor: LocalExecutor, number: int, stand_in: str, lasts: dict[str, Experiment]) -> Slot:
    """Start a run in the slot that is free, and note it among the last of each slot.

    Slots of a CPU have no GPU: for the first run one is made up.
    """
    slot = executor.require_free("smoke", lasts)
    slot = replace(slot, device="GPU-of-the-slot") if slot.id == "0" else slot
    about = {"profile": "smoke", "budget_seconds": 0.5, "slot": slot.id, "concurrency": 2}
    made = attempt(number).model_copy(update=about)
    text = (STAND_INS / f"{stand_in}.py").read_text(encoding="utf-8")
    executor.submit(RunRequest(attempt=made, text=text, limits=_TERMS, slot=slot))
    lasts[slot.id] = Experiment(attempt=made)
    return slot


def test_two_runs_go_side_by_side_and_one_that_is_killed_harms_no_other(
    executor: LocalExecutor, tmp_path: Path, data: Path
) -> None:
    lasts: dict[str, Experiment] = {}
    assert [start(executor, 1, "hang", lasts).id, start(executor, 2, "honest", lasts).id] == ["0", "1"]
    with pytest.raises(DeviceBusy, match=r"^None of the 2 slots is free. Slot 0 is busy: .* Slot 1 is"):
        executor.require_free("smoke", lasts)
    other = two_slots(tmp_path, data, "of another server")
    with pytest.raises(
        DeviceBusy, match=r"^None of the 2 slots is free. Device busy: .*00001 is .* Device busy: .*00002 is"
    ):
        other.require_free("smoke", {})
    alone = local_executor(tmp_path / "another tag", data, tmp_path, tmp_path)
    with pytest.raises(DeviceBusy, match=r"a tag/runs/0000[12] is still active"):
        alone.require_free("smoke", {})
    places, shown = set[Path](), {1: set[str | None](), 2: set[str | None]()}

    def look() -> bool:
        """The second may be over before the first has a process."""
        for number, seen in shown.items():
            for one in processes_of(executor, number):
                with suppress(psutil.Error):
                    seen.add(one.environ().get("CUDA_VISIBLE_DEVICES"))
                    places.add((executor.runs.path(number) / "place").resolve())
        return all(shown.values())

    until(look)
    assert len(places) == 2
    gpus = {"GPU-of-the-slot"}, {os.environ.get("CUDA_VISIBLE_DEVICES")}
    assert tuple(shown.values()) == gpus, "each sees its own GPU alone"
    (pid,) = supervisors(str(executor.runs.path(1)))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not executor.handle(1).alive())
    assert executor.require_free("smoke", lasts).id == "0", "the slot of the dead run is free again"
    assert not processes_of(executor, 1), "what it left was ended before"
    assert other.require_free("smoke", {}).id == "0"
    assert ended(executor, 1).outcome is Outcome.LOST
    assert ended(executor, 2).outcome is Outcome.FINISHED
    alone.require_free("smoke", {})
