"""What kept changes brought, one by one and together. Pure."""

import math
from collections.abc import Iterable

from server.metric import Metric
from server.records import Value
from server.reporting.morning.measured import with_error
from server.reporting.view_model import Standing
from server.reporting.view_rows import SURE, SURE_ONCE


class Effect(Value):
    """The gain of a change over the incumbent of its day; of a chain, of all its changes together."""

    gain: float | None  # on the metric's scale, positive is better; None: it cannot be compared by this metric
    error: float | None = None
    confirmations: int = 0
    sigma: float | None = None  # of one run's score, on the scale
    standing: Standing = Standing.NONE

    @property
    def sure(self) -> bool:
        """Whether the gain is larger than the noise, by runs that did not select it."""
        return self.standing is Standing.SURE

    def text(self, metric: Metric) -> str:
        """As people write it."""
        return "not measured by this metric" if self.gain is None else with_error(metric, self.gain, self.error)


def together(effects: Iterable[Effect]) -> Effect:
    """Of changes made one after another."""
    every = list(effects)
    if len(every) == 1:
        return every[0]
    gains = [one.gain for one in every if one.gain is not None]
    errors = [one.error for one in every if one.error is not None]
    if len(gains) < len(every):
        return Effect(gain=None)
    gain, confirmed = math.fsum(gains), sum(one.confirmations for one in every)
    error = math.hypot(*errors) if len(errors) == len(every) else None
    standing = Standing.NOISE
    if error is None:
        standing = Standing.SURE if all(one.sure for one in every) else Standing.PROVISIONAL
    elif gain > 0 and gain >= SURE * error:
        standing = Standing.SURE if confirmed or gain >= SURE_ONCE * error else Standing.PROVISIONAL
    return Effect(gain=gain, error=error, confirmations=confirmed, sigma=every[-1].sigma, standing=standing)
