"""The units in which readings are told."""

import pytest

from trainer.commands.units import per_unit


@pytest.mark.parametrize(
    ("source", "unit", "factor"),
    [
        *(("cpu", "ms", 1e3), ("wall", "μs", 1e6), ("wall", "µs", 1e6), ("cpu", "MS", 1e3), ("cpu", "s", 1.0)),
        *(("memory", "KiB", 1024.0), ("memory", "MiB", 1.0), ("memory", "GB", 1 / 1024), ("memory", "ms", 1.0)),
        *(("score", "ms", 1.0), ("printed", "us", 1.0), ("cpu", "", 1.0)),
    ],
)
def test_a_reading_is_told_in_the_unit_that_program_md_names(source: str, unit: str, factor: float) -> None:
    assert per_unit(source, unit) == factor
