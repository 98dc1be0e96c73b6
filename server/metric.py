"""Metrics: what a score is called, in which unit it is, and how much better one is than another. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["lower", "higher"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Metric:
    """What an evaluator measures. `direction` says which scores are better.

    On a log scale scores are compared by their ratio, so they must be positive.
    """

    name: str
    direction: Direction
    unit: str = ""
    scale: Scale = "linear"
    # What is assumed and how it is shown is no part of what is measured. `scatter`: how much one run's score moves by
    # itself, as a share, before anything was measured. `places`: decimals that are shown; None: scores may be of any
    # size, and six digits are, with their unit.
    scatter: float = field(default=0.001, compare=False)
    places: int | None = field(default=6, compare=False)

    def gain(self, a: float, b: float) -> float:
        """How much better `a` is than `b`; positive is better.

        In the metric's unit, or on a log scale the natural logarithm of the ratio.

        Raises:
            ValueError: a score on a log scale is not positive.
        """
        return self.sign * (self.place(a) - self.place(b))

    @property
    def sign(self) -> int:
        """1 where higher scores are better, else -1: the way up or down an axis to what is better."""
        return 1 if self.direction == "higher" else -1

    def place(self, score: float) -> float:
        """Where a score lies on the scale: gains are differences there, and noise is measured there.

        Raises:
            ValueError: a score on a log scale is not positive.
        """
        return math.log(score) if self.scale == "log" else score

    def level(self, score: float) -> float:
        """What a relative change of a score is a share of, on the scale: the score itself, or 1 on a log scale."""
        return 1.0 if self.scale == "log" else abs(score) or 1.0

    def problem(self, score: float) -> str:
        """Why a score has no place on the scale; empty if it has one."""
        if self.scale == "linear" or score > 0:
            return ""
        return f"{self.word(score)} has no place on a log scale, where scores are above 0"

    def mean(self, scores: Sequence[float]) -> float:
        """The mean on the scale, so the geometric one on a log scale; the same in any order, to the last bit.

        Raises:
            ValueError: a score on a log scale is not positive.
        """
        if self.scale == "log":
            return math.exp(math.fsum(map(math.log, scores)) / len(scores))
        return math.fsum(scores) / len(scores)

    def better_by(self, gain: float, score: float) -> float:
        """The score that is better than `score` by `gain`, which lies on the scale."""
        step = self.sign * gain
        return score * math.exp(step) if self.scale == "log" else score + step

    def least_gain(self, share: float, score: float) -> float:
        """On the scale, the gain that changes `score` by a share; a little less, for what rounding takes."""
        size = math.log1p(share) if self.scale == "log" else share * abs(score)
        return size * (1 - 1e-9)

    def reached(self, score: float, target: float) -> bool:
        """Whether a score is the target or better."""
        return self.sign * (score - target) >= 0

    def worst(self, scores: Iterable[float]) -> float:
        """The worst of some scores. Raises ValueError if there is none."""
        return min(scores, key=lambda score: self.sign * score)

    def number(self, score: float, places: int, sign: str = "") -> str:
        """A score, or a difference of two, as people read it; `sign`: + for a difference.

        >>> Metric("s", "lower", places=None).number(0.0000312345678, 4)
        '3.12346e-05'
        """
        if self.places is not None:
            return f"{score:{sign}.{places}f}"
        return f"{score:{sign}.0f}" if 1e6 <= abs(score) < 1e15 else f"{score:{sign}.{min(places + 2, 6)}g}"

    def word(self, score: float, digits: int = 6) -> str:
        """A score with its name, and its unit where that is another word."""
        unit = f" {self.unit}" if self.places is None and self.unit not in ("", self.name) else ""
        return f"{self.name} {self.number(score, digits)}{unit}"

    def shown(self, score: float, sign: str = "") -> str:
        """A score, or a difference of two, without its name; `sign`: "+" to show one in any case."""
        return self.number(score, 6, sign)

    def shown_change(self, after: float, before: float) -> str:
        """How far a score is from another, with its sign: in per cent on a log scale."""
        return percent(before, after, 2) if self.scale == "log" else self.shown(after - before, "+")

    def shown_error(self, error: float) -> str:
        """A standard error, or another small size on the scale: in per cent on a log scale."""
        return f"{100 * error:.2g} %" if self.scale == "log" else self.shown(error)

    def step(self, before: float, after: float, places: int) -> str:
        """The way from one score to another with the metric's name; `places`: of the percentage."""
        return f"{self.word(before, 4)} → {self.number(after, 4)} ({percent(before, after, places)})"


def percent(before: float, after: float, places: int) -> str:
    """How much larger `after` is than `before`, as people read it; not in percent if `before` is 0."""
    return f"{100 * (after - before) / abs(before):+.{places}f} %" if before else f"{after:+.4g}"
