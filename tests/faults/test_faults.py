"""The short form of `make faults`: a killed server, and a disk that fails.

Other tests show the rest one by one, as tests/server/vcs does of users who interfere. The train.py here is the cheapest
there is, and does what the fault says. What is done again and again is done a third as often.
"""

from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.faults.__main__ import Trials, faults
from tests.faults.catalogue import Fault

SHORT = [fault for fault in faults() if fault.short]
pytestmark = pytest.mark.timeout(1000)  # more than a trial is given


def cases() -> list[ParameterSet]:
    """A server that is killed comes by default; the others are slow."""
    return [
        pytest.param(fault, id=fault.name.partition(", x")[0], marks=[] if "kill" in fault.name else pytest.mark.slow)
        for fault in SHORT
    ]


@pytest.mark.parametrize("fault", cases())
async def test_a_night_survives(data: Path, fault: Fault) -> None:
    trials = Trials(data, short=True)
    await trials.one(fault, seed=1)
    if fault.name in trials.not_here:
        pytest.skip(trials.not_here[fault.name])
    assert trials.survived[fault.name] == 1, trials.failed.get(fault.name)


def test_the_list_is_long_and_names_no_fault_twice() -> None:
    assert len({fault.name for fault in faults()}) == len(faults()) >= 40
    assert len(SHORT) == 2
