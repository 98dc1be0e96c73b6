"""A run on a machine that was not itself is marked and run again; where that is the rule, it is how the machine is."""

import os
from pathlib import Path

import pytest

from server.records import Figures, Purpose, Verdict
from server.study.phase import Phase
from server.study.study import Study
from tests.server.study.test_confirmation import OTHERS, opened, patch, root
from tests.support.lifecycle import measured, ran
from trainer.processes.gpu_monitor import GpuMonitor, Sample, summary

SLOWED = 0.4


@pytest.fixture
def study(tmp_path: Path):
    study = opened(tmp_path / "work")
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    study.apply_patch(patch(OTHERS[0]))
    yield study
    study.close()


def test_a_disturbed_run_is_run_again_and_does_not_count(study: Study) -> None:
    assert ran(study, measured(2.2, slowed_share=SLOWED)).verdict == Verdict.PROMISING
    judgement = root(study).judgement
    assert judgement and "slowed the GPU down for 40 % of the time" in judgement.why and "runs again" in judgement.why
    again = ran(study, 1.96)
    assert again.attempt.purpose is Purpose.CONFIRM and study.phase() is Phase.PROMISING  # better, once
    ran(study, 1.96)
    assert root(study).verdict == Verdict.IMPROVED and root(study).value == 1.96


def test_a_disturbed_confirmation_or_reference_does_not_count(study: Study) -> None:
    ran(study, 1.96)
    ran(study, measured(2.2, gpu_strangers="python (7)"))
    assert study.phase() is Phase.PROMISING
    ran(study, 1.96)
    assert root(study).verdict == Verdict.IMPROVED
    study.keep("confirmed")
    assert study.verdicts.plan(study.phase(), study.program().task).purpose is Purpose.REFERENCE


def test_a_machine_that_is_always_disturbed_is_compared_with_itself(study: Study) -> None:
    for _ in range(12):
        if study.phase() is not Phase.PROMISING and root(study).number > 1:
            break
        again = study.verdicts.plan(study.phase(), study.program().task).of == 1
        ran(study, measured(2.2 if again else 2.1, slowed_share=SLOWED))
    assert root(study).verdict == Verdict.IMPROVED  # 2.1 beside the incumbent's 2.2, and not beside its 2.0


def test_heat_and_strangers_are_a_disturbance_and_the_power_limit_is_none() -> None:
    at_work, hot = Sample(0x4, 1700, 60, frozenset({7})), Sample(0x40, 900, 90, frozenset({7}))
    told = summary([at_work] * 9 + [hot] * 3, frozenset(), frozenset({7}))
    assert told == {"slowed_share": 0.25, "gpu_clock_mhz": 1500, "gpu_celsius": 90, "gpu_strangers": None}
    assert Figures.model_validate(told).disturbance and not Figures(slowed_share=0.05).disturbance
    assert not Figures().disturbance and summary([], frozenset(), frozenset()) == {}


def test_a_stranger_is_named_also_where_our_own_pids_are_told_by_other_numbers() -> None:
    stranger = os.getpid()
    shared = [Sample(0, 1700, 60, frozenset({7, stranger}))]
    for before, ours in ((frozenset[int](), frozenset({7})), (frozenset({stranger}), frozenset({5}))):
        assert str(summary(shared, before, ours)["gpu_strangers"]).endswith(f" ({stranger})")


def test_without_a_driver_nothing_is_seen_and_nothing_waits() -> None:
    gauge = GpuMonitor()
    gauge.begin()
    assert set(gauge.end()) <= {"driver", "slowed_share", "gpu_clock_mhz", "gpu_celsius", "gpu_strangers"}


def test_a_gpus_memory_is_what_the_driver_counts_for_the_runs_processes() -> None:
    def sample(**memory: int) -> Sample:
        pids = {int(name[1:]): size << 20 for name, size in memory.items()}
        return Sample(0, 1700, 60, frozenset(pids), pids)

    samples = [sample(p5=900, p7=100), sample(p5=900, p7=300, p8=200), sample(p5=900, p7=100)]
    before = frozenset({5})
    assert summary(samples, before, frozenset({7, 8}))["peak_memory_mb"] == 500.0
    assert summary(samples, before, frozenset({7}))["peak_memory_mb"] == 300.0
    assert summary(samples, before, frozenset({4242}))["peak_memory_mb"] == 500.0  # a container has other numbers
    assert "peak_memory_mb" not in summary([sample(p7=0)], frozenset(), frozenset({7}))  # a driver that does not tell
