"""A run's figures mean something beside others: the incumbent's, and those of the same train.py."""

import pytest

from server.history.comparisons import compare_figures
from server.records import Figures
from trainer.run.throughput import throughput, utilisation


def test_each_figure_comes_with_its_change_against_the_incumbent() -> None:
    found = compare_figures(Figures(steps=110, tokens=90), Figures(steps=100, tokens=100, parameters=7), [])
    assert found.changes == {"steps": "+10.0 %", "tokens": "-10.0 %"} and not found.warnings
    assert not compare_figures(Figures(steps=110), None, []).changes


def test_what_makes_figures_doubtful_is_said() -> None:
    (repeated,) = compare_figures(Figures(epochs=1.26), None, []).warnings
    assert "1.3 times" in repeated
    (slow,) = compare_figures(
        Figures(tokens_per_second=750), None, [Figures(tokens_per_second=rate) for rate in (900, 1000, 1100)]
    ).warnings
    assert "750 tokens/s, 1,000 in other runs" in slow
    assert not compare_figures(Figures(tokens_per_second=850), None, [Figures(tokens_per_second=1000)]).warnings
    (busy,) = compare_figures(Figures(device="cpu", training_seconds=10, training_wall_seconds=25), None, []).warnings
    assert "2.5 s passed for each CPU second" in busy
    (shared,) = compare_figures(Figures(gpu_strangers="python (7)"), None, []).warnings
    assert "shared with python (7)" in shared


def test_the_pace_follows_from_steps_tokens_and_the_referees_seconds() -> None:
    assert throughput({"steps": 100, "tokens": 5000}, 10.0, 4000) == {
        "ms_per_step": 100.0,
        "tokens_per_second": 500.0,
        "epochs": 1.25,
    }
    assert throughput({"steps": 1, "tokens": 1}, 0.0, 1) == {}


def test_utilisation_is_against_the_device_that_is_there() -> None:
    half = 0.5 * 989.4e12 / (6 * 1e8)  # tokens a second at half of the peak
    assert utilisation("NVIDIA H200", half, 10**8) == pytest.approx(0.5)
    assert utilisation("NVIDIA H100 PCIe", half, 10**8) == pytest.approx(0.5 * 989.4 / 756)
    assert utilisation("cpu", half, 10**8) is None
