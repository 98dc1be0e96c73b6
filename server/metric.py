"""Metrics: what a score is called, in which unit it is, and how much better one is than another. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
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

    def reached(self, score: float, target: float) -> bool:
        """Whether a score is the target or better."""
        return self.gain(score, target) >= 0

    def worst(self, scores: Iterable[float]) -> float:
        """The worst of some scores. Raises ValueError if there is none."""
        return min(scores, key=lambda score: self.sign * score)

    def word(self, score: float, digits: int = 6) -> str:
        """A score with its name."""
        return f"{self.name} {score:.{digits}f}"

    def step(self, before: float, after: float, places: int) -> str:
        """The way from one score to another with the metric's name; `places`: of the percentage."""
        return f"{self.word(before, 4)} → {after:.4f} ({percent(before, after, places)})"


def percent(before: float, after: float, places: int) -> str:
    """How much larger `after` is than `before`, as people read it; not in percent if `before` is 0."""
    return f"{100 * (after - before) / abs(before):+.{places}f} %" if before else f"{after:+.4g}"
