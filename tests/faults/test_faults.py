"""The short form of `make faults`: a trial of each kind of fault, on real servers, runs, disks and repositories."""

from pathlib import Path

import anyio
import pytest

from tests.faults.__main__ import Trials, faults, run
from tests.faults.catalogue import Fault

SHORT = [fault for fault in faults() if fault.short]
pytestmark = pytest.mark.timeout(400)  # the first test waits for all trials


@pytest.fixture(scope="module")
def trials(data: Path) -> Trials:
    return anyio.run(run, SHORT, data, True)


@pytest.mark.parametrize("fault", SHORT, ids=[fault.name for fault in SHORT])
def test_a_night_survives(trials: Trials, fault: Fault) -> None:
    if fault.name in trials.not_here:
        pytest.skip(trials.not_here[fault.name])
    assert trials.survived[fault.name] == 1, trials.failed.get(fault.name)


def test_the_list_is_long_and_names_no_fault_twice() -> None:
    assert len({fault.name for fault in faults()}) == len(faults()) >= 40
