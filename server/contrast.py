"""A run's figures beside the incumbent's, and what a researcher should know before believing them. Pure."""

import statistics
from collections.abc import Sequence

from server.experiment import Figures, Value

_COMPARED = (
    "steps",
    "tokens",
    "tokens_per_second",
    "ms_per_step",
    "mfu",
    "loss",
    "parameters",
    "peak_memory_mb",
    "setup_seconds",
    "evaluation_seconds",
)
_ODD_SPEED = 0.2  # share by which the tokens a second of one train.py may differ from run to run
_BUSY = 1.5  # wall seconds a CPU second


class Contrast(Value):
    """How a run differs from the incumbent's own."""

    changes: dict[str, str]  # "+12.3 %"
    warnings: list[str]


def contrast(figures: Figures, incumbent: Figures | None, alike: Sequence[Figures]) -> Contrast:
    """Compare.

    Args:
        incumbent: None for the incumbent itself. alike: of earlier runs of the same train.py.
    """
    changes: dict[str, str] = {}
    for name in _COMPARED:
        now, before = getattr(figures, name), getattr(incumbent, name, None)
        if now is not None and before:
            changes[name] = f"{100 * (now / before - 1):+.1f} %"
    return Contrast(changes=changes, warnings=_warnings(figures, alike))


def _warnings(figures: Figures, alike: Sequence[Figures]) -> list[str]:
    found: list[str] = []
    if (epochs := figures.epochs or 0.0) > 1:
        found.append(f"The training text was seen {epochs:.1f} times: tokens repeat.")
    if figures.disturbance:
        found.append(f"In this run {figures.disturbance}.")
    speeds = [other.tokens_per_second for other in alike if other.tokens_per_second]
    if figures.tokens_per_second and speeds:
        usual = statistics.median(speeds)
        if abs(figures.tokens_per_second / usual - 1) > _ODD_SPEED:
            told = f"{figures.tokens_per_second:,.0f} tokens/s, {usual:,.0f} in other runs of this train.py"
            found.append(f"{told}: the machine was not the same.")
    busy = (figures.training_wall_seconds or 0.0) / (figures.training_seconds or 1.0)
    if figures.device == "cpu" and busy > _BUSY:
        found.append(f"{busy:.1f} s passed for each CPU second: the machine was busy, or train.py waited.")
    return found
