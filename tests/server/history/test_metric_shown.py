"""Rows are shown by the metric that they were measured by, whatever program.md defines by now."""

from server.history.segments import metric_shown
from server.metric import Metric
from server.records import Experiment, Verdict
from server.reporting.table import history_table
from server.task.definition import Task
from tests.support.builders import experiment, of_task

FIELDS = {"command": "bash bench.sh", "editable": "a.py", "metric": {"name": "f1", "unit": "%"}, "direction": "higher"}
NOW = Task.model_validate(FIELDS)


def rows(**told: object) -> list[Experiment]:
    made = [of_task(experiment(1, Verdict.BASELINE, 50.0, kept=True)), of_task(experiment(2, Verdict.CRASHED))]
    return [row.model_copy(update={"attempt": row.attempt.model_copy(update=told)}) for row in made]


def test_a_metric_that_nothing_was_measured_by_names_no_row() -> None:
    found = metric_shown(rows(direction="lower", scale="log"), NOW)
    assert found == Metric("ms", "lower", "ms", "log") and found.places is None
    assert metric_shown(rows(), NOW).name == "ms", "of an earlier version's rows the direction is not known"
    assert metric_shown(rows(task=NOW.sha256), NOW) == metric_shown([], NOW) == NOW.measure
    models = [experiment(1, Verdict.BASELINE, 2.0, kept=True)]
    assert metric_shown(models, NOW).name == "val_bpb" and metric_shown(rows(), Task()).name == "ms"


def test_a_table_names_what_was_measured_for_another_task_in_its_line() -> None:
    later = experiment(3, Verdict.WORSE, 0.9, kept=False)
    later = later.model_copy(update={"attempt": later.attempt.model_copy(update={"task": NOW.sha256})})
    drawn = history_table([*rows(), later], NOW.measure)
    column = next(column for column in drawn.columns if "f1" in str(column.header))
    assert [str(cell) for cell in column.cells] == ["ms 50", "", "0.9"]
