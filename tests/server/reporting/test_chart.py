"""The chart shows what is better where the metric says."""

import warnings
from contextlib import closing
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Verdict
from server.reporting.chart import draw, picture
from server.reporting.position import position
from server.reporting.table import history_table
from tests.server.reporting.test_view_summary import NIGHT
from tests.support.builders import experiment, of_task
from tests.support.made_studies import decided, made, measured, study_paths, write

LOWER = Metric("val_bpb", "lower")
HIGHER = Metric("accuracy", "higher")


@pytest.mark.parametrize(
    ("metric", "scores", "frame"),
    [(LOWER, [2.0, 1.9, 9.0], (1.885, 2.045)), (HIGHER, [2.0, 2.1, 0.1], (1.985, 2.145))],
    ids=["lower", "higher"],
)
def test_a_run_that_diverged_flattens_nothing(metric: Metric, scores: list[float], frame: tuple[float, float]) -> None:
    baseline, kept, diverged = scores
    rows = [
        experiment(1, Verdict.BASELINE, baseline, kept=True),
        experiment(2, Verdict.IMPROVED, kept, kept=True),
        experiment(3, Verdict.WORSE, diverged, kept=False),
        experiment(4, Verdict.CRASHED, kept=False),
    ]
    (axes,) = picture(rows, metric).axes
    assert axes.get_ylim() == pytest.approx(frame)
    assert axes.get_ylabel() == f"{metric.name} ({metric.direction} is better)"
    crosses = next(drawn for drawn in axes.collections if drawn.get_label() == "no score")
    (place,) = np.asarray(crosses.get_offsets()).tolist()
    assert tuple(place) == pytest.approx((4, frame[metric is LOWER]))  # at the edge that is worse
    change = "-5.0 %" if metric is LOWER else "+5.0 %"
    assert axes.get_title(loc="left") == f"4 experiments, 2 kept: {metric.name} 2.0000 → {kept:.4f} ({change})"


@pytest.mark.parametrize("metric", [LOWER, HIGHER], ids=["lower", "higher"])
def test_the_table_names_the_metric(metric: Metric) -> None:
    assert metric.name in [column.header for column in history_table([], metric).columns]


def test_a_description_is_drawn_as_it_is_whatever_the_user_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    told = r"LR from $\lr$ to $WARM_{$ 漢 \x1b[2J"
    row = experiment(1, Verdict.BASELINE, 2.0, kept=True)
    row = row.model_copy(update={"attempt": row.attempt.model_copy(update={"description": told})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a letter that the font lacks
        draw([row], tmp_path / "progress.png", LOWER)
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert matplotlib.rcParams["text.usetex"]


@pytest.mark.parametrize(
    ("metric", "best", "scale", "label"),
    [
        (Metric("total", "lower", "µs", "log", places=None), 10.0, "log", "total (µs, lower is better)"),
        (Metric("total", "lower", "µs", "log", places=None), 900.0, "linear", "total (µs, lower is better)"),
        (Metric("total", "lower", "µs", places=None), 10.0, "linear", "total (µs, lower is better)"),
        (Metric("f1", "higher", "", "log", places=None), 9000.0, "log", "f1 (higher is better)"),
        (Metric("ms", "lower", "ms", places=None), 10.0, "linear", "ms (lower is better)"),
    ],
)
def test_the_axis_has_the_metrics_unit_and_a_log_scale_where_that_shows_more(
    metric: Metric, best: float, scale: str, label: str
) -> None:
    rows = [
        of_task(experiment(1, Verdict.BASELINE, 1000.0, kept=True), metric.name),
        of_task(experiment(2, Verdict.IMPROVED, best, kept=True), metric.name),
        of_task(experiment(3, Verdict.WORSE, 999.0, kept=False), metric.name),
    ]
    (axes,) = picture(rows, metric).axes
    low, high = axes.get_ylim()
    assert (axes.get_yscale(), axes.get_ylabel()) == (scale, label)
    assert low < min(best, 1000) and high > max(best, 1000) and (low > 0 or scale == "linear")
    legend = axes.get_legend()
    assert legend and "kept (printed)" in [text.get_text() for text in legend.get_texts()]


def test_a_keep_stands_where_it_was_measured_again_and_one_that_may_be_luck_is_not_filled(tmp_path: Path) -> None:
    rows = [
        *NIGHT,
        decided(measured(made(9, "luck"), 0.9695, Verdict.IMPROVED, (4, 0.97)), kept=True),
        decided(measured(made(10, "once"), 0.9, Verdict.IMPROVED, (9, 0.9695)), kept=True),
    ]
    write(study_paths(tmp_path), rows)
    with closing(Ledger(study_paths(tmp_path).ledger, read_only=True)) as ledger:
        stand = position(ledger, LOWER)
    (axes,) = picture(rows, LOWER, stand).axes
    drawn = {str(one.get_label()): one for one in axes.collections}
    places = {label: np.asarray(one.get_offsets()).tolist() for label, one in drawn.items()}
    assert places["kept"][:2] == [[1, pytest.approx(1.0)], [4, pytest.approx(0.97)]]
    assert places["kept, within the noise"] == [[9, 0.9695]]
    open_ = np.asarray(drawn["kept, within the noise"].get_facecolor())
    assert open_[0][:3].tolist() == [1, 1, 1]
    head, way = axes.get_title(loc="left").splitlines()
    assert head.startswith("5 experiments, 3 kept (2 sure, 1 within the noise") and "1.0000 → 0.9000" in way
    assert "provisional" in way


def test_scores_of_another_metric_are_on_no_axis_of_this_one() -> None:
    rows = [
        of_task(experiment(1, Verdict.BASELINE, 1.0, kept=True), "s"),
        of_task(experiment(2, Verdict.BASELINE, 800.0, kept=True), "ms"),
        of_task(experiment(3, Verdict.WORSE, 810.0, kept=False), "ms"),
    ]
    (axes,) = picture(rows, Metric("ms", "lower", "ms", places=None)).axes
    assert axes.get_ylim()[0] > 700 and axes.get_title(loc="left").startswith("2 experiments, 1 kept")


def test_the_table_shows_small_scores_of_a_task_by_their_digits_and_its_unit() -> None:
    metric = Metric("latency", "lower", "s", places=None)
    drawn = history_table([of_task(experiment(1, Verdict.BASELINE, 0.0000312345, kept=True))], metric)
    assert drawn.columns[4].header == "latency (s)"
    assert [str(cell) for cell in drawn.columns[4].cells] == ["3.12345e-05"]
