"""A measured number with its standard error, as people write it: rounded to what the error leaves certain. Pure."""

import math

from server.metric import Metric

MINUS = "−"  # as typographers have it; git and terminals get a hyphen
_MOST = 8  # decimals


def places(error: float) -> int:
    """Decimals that a number with this error deserves: one digit of the error, two where the first is a 1.

    >>> places(0.0003), places(0.00014), places(12.0)
    (4, 5, 0)
    """
    if not 0 < error < math.inf:
        return 4
    first = math.floor(math.log10(error))
    leading = error / 10**first
    return min(max(-first + (leading < 1.95), 0), _MOST)


def with_error(metric: Metric, gain: float, error: float | None, of: float | None = None) -> str:
    """A difference of two scores, with its sign and its error; in per cent on a log scale.

    >>> with_error(Metric("error", "lower"), 0.0119, 0.0003)
    '-0.0119 ± 0.0003'

    Args:
        gain: on the metric's scale, positive is better. of: the score that it is about, for the decimals without error.
    """
    if metric.scale == "log":
        change = 100 * (metric.better_by(gain, 1.0) - 1)
        digits = places(100 * error) if error else 2
        share = f"{100 * error:.{digits}f} %" if error else "0"
        return f"{_signed(change, digits)} %" + (f" ± {share}" if error is not None else "")
    change = metric.sign * gain
    if not error:
        told = metric.number(change, 4, "+")
        return told if error is None else f"{told} ± 0"
    digits = places(error)
    return f"{_signed(change, digits)} ± {error:.{digits}f}"


def _signed(change: float, digits: int) -> str:
    """With its sign, unless nothing is left to have one.

    >>> _signed(0.012, 2), _signed(-0.001, 2)
    ('+0.01', '0.00')
    """
    told = f"{change:+.{digits}f}"
    return told if told.strip("+-0.") else told[1:]


def value_with_error(metric: Metric, value: float, error: float | None) -> str:
    """A score and its error, which lies on the metric's scale: in per cent on a log scale."""
    if not error:
        return metric.number(value, 4)
    if metric.scale == "log":
        digits = places(abs(value) * error)
        return f"{value:.{digits}f} ± {100 * error:.{places(100 * error)}f} %"
    digits = places(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}"
