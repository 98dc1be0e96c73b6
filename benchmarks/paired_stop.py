"""How often the sequential stop of paired tasks finds a gain that is none, and how many pairs it takes.

Run: `python -m benchmarks.paired_stop [STUDIES]`. Noise as measured on a shared two-core machine: 3.5 % a case and
side, one case in ten up to several times slower for reasons of its own, a second place that is 2 % faster, and 1.2 %
between the processes of a block, sometimes three times as much.
"""

import math
import random
import sys

from trainer.evaluators.pairs import BLOCK, MOST_PAIRS, Pairs, candidate_first

NOISE = 0.035  # of a side, as a logarithm
SPIKES = 0.1  # share of the cases
SPIKE = 0.4  # their mean, as a logarithm
ORDER = 0.02  # what the second place gains
BETWEEN = 0.012  # processes, as a logarithm
VERDICT = 2.2  # standard errors


def side(draw: random.Random) -> float:
    """The error of one time, as a logarithm."""
    return draw.gauss(0, NOISE) + (draw.expovariate(1 / SPIKE) if draw.random() < SPIKES else 0.0)


def study(draw: random.Random, effect: float, least: float, most: int = MOST_PAIRS) -> tuple[float, float, int]:
    """The log-ratio, its standard error and the pairs of one measurement of a candidate that is `effect` slower."""
    pairs, between = Pairs(trimmed=True), 0.0
    while len(pairs) < most and not pairs.enough(least):
        if len(pairs) % BLOCK == 0:
            pairs.next_block()
            between = draw.gauss(0, BETWEEN * (3 if draw.random() < 0.05 else 1))
        first = candidate_first(len(pairs))
        pairs.add(effect + between + side(draw) - side(draw) + (ORDER if first else -ORDER), first)
    found = pairs.estimate()
    return found.mean, found.stderr, found.pairs


def main() -> None:
    studies, draw = int(sys.argv[1]) if len(sys.argv) > 1 else 2000, random.Random(1)
    print("effect  least  called a gain  called a loss  mean    pairs: median  mean")
    for effect, least in ((0.0, 0.0), (0.0, 0.01), (-0.02, 0.0), (-0.02, 0.01), (-0.05, 0.0), (-0.2, 0.0), (0.05, 0.0)):
        found = [study(draw, math.log1p(effect), least) for _ in range(studies)]
        gains = sum(mean < -VERDICT * error for mean, error, _ in found) / studies
        losses = sum(mean > VERDICT * error for mean, error, _ in found) / studies
        counts = sorted(pairs for *_, pairs in found)
        average = sum(mean for mean, *_ in found) / studies
        print(
            f"{effect:6.2f}  {least:5.2f}  {gains:13.4f}  {losses:13.4f}  {average:6.3f}  {counts[studies // 2]:14d}"
            f"  {sum(counts) / studies:4.0f}"
        )


if __name__ == "__main__":
    main()
