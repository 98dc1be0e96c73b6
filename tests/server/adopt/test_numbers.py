"""Which printed number is the metric, and what its name says."""

import pytest

from server.adopt.numbers import Number, choose, guess, of_number, of_referee, printed_numbers, read_by_referee
from server.records import Figures


def number(told: str, value: float = 1.0) -> Number:
    form, name, *unit = told.split(" ")
    return Number(form=form, name=name, unit="".join(unit), value=value)


@pytest.mark.parametrize(
    ("told", "chosen"),
    [
        (["METRIC ms", "METRIC size", "line total"], "ms"),
        (["METRIC size_of_it", "METRIC ms"], "size_of_it"),
        (["METRIC a", "METRIC b"], "a"),
        (["json seed", "json results.mean"], "results.mean"),
        (["line port", "line elapsed ms", "line seed"], "elapsed"),
        (["line took s"], "took"),
        (["line answer"], "answer"),
        (["line port", "line seed"], None),
        ([], None),
    ],
)
def test_the_number_that_says_it_is_a_result_is_taken(told: list[str], chosen: str | None) -> None:
    found = choose([number(one) for one in told])
    assert (found.name if found else None) == chosen


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("ms", "", ("ms", "lower", "log", True)),
        ("total_ms", "", ("ms", "lower", "log", True)),
        ("parseTime", "s", ("s", "lower", "log", True)),
        ("throughput", "MB/s", ("MB/s", "higher", "log", True)),
        ("ops_per_s", "", ("", "higher", "log", True)),
        ("ms_per_op", "", ("ms", "lower", "log", True)),
        ("accuracy", "", ("", "higher", "linear", True)),
        ("val_loss", "", ("", "lower", "linear", True)),
        ("size", "bytes", ("bytes", "lower", "linear", True)),
        ("answer", "", ("", "lower", "linear", False)),
    ],
)
def test_the_name_says_unit_direction_and_scale(name: str, unit: str, expected: tuple[str, str, str, bool]) -> None:
    found = guess(name, unit)
    assert (found.unit, found.direction, found.scale, found.sure) == expected


def test_a_time_that_is_zero_is_not_put_on_a_log_scale() -> None:
    assert of_number(number("METRIC ms", 0.0)).scale == "linear"


@pytest.mark.parametrize(("cpu", "wall", "source"), [(0.99, 1.0, "cpu"), (0.1, 1.0, "wall"), (3.5, 1.0, "wall")])
def test_cpu_time_is_read_where_one_processor_did_the_work(cpu: float, wall: float, source: str) -> None:
    assert of_referee(cpu, wall).source == source
    assert read_by_referee("memory").unit == "MB"


def test_the_printed_numbers_are_those_of_the_run_and_no_figure_of_the_referees() -> None:
    figures = Figures.model_validate(
        {"total_seconds": 3.0, "printed METRIC ms": 1.5, "printed line total_seconds s": 2.0, "wall_seconds": 1.0}
    )
    assert [(one.form, one.name, one.unit, one.value) for one in printed_numbers(figures)] == [
        ("METRIC", "ms", "", 1.5),
        ("line", "total_seconds", "s", 2.0),
    ]
