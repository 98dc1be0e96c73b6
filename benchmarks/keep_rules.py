"""What a rule for keeping costs and buys: simulated nights of a hundred patches, in units of one run's σ.

    python benchmarks/keep_rules.py [--nights 10000]

Three rules beside each other, on the same noise: upstream's (lower wins, once), a margin of 2σ, and the rule of
server/scoring/decision_rule.py, with σ known, and estimated from three baseline runs and whatever is repeated later.
A new incumbent is run again when a candidate comes near it, and at the end of the night up to three times. Null nights
have patches that change nothing; real ones a mixture like the published sessions': 65 % worse, 20 % null, 15 % better
with a median of 0.8σ and a long tail (of the 22 gains in karpathy's longest session 12 are below one σ). A false keep
is a kept patch that is no gain; the bias is the recorded best minus the truth.

The arrays here follow decision_rule.py and noise.py of server/scoring for all nights at once, but for the clipping of
outliers, of which Gaussian noise has none; tests/server/scoring/test_keep_rules.py holds them against the real
functions, draw by draw.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.scoring.decision_rule import AT_LAST, ENOUGH, GIVE_UP, RUNS, SCREEN
from server.scoring.noise import PRIOR_WEIGHT

PATCHES = 100
DRAWS = 1 + 2 * RUNS  # the first score, and what a decision may take
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass
class Outcome:
    """What became of the nights; arrays over nights, `kept` [N, P]."""

    kept: Flags
    runs: Floats
    recorded: Floats  # the value of the last incumbent
    true: Floats

    def told(self, effects: Floats) -> str:
        false = (self.kept & (effects >= 0)).sum(1).mean()
        bias = (self.recorded - self.true).mean()
        return (
            f"false keeps {false:5.2f}   keeps {self.kept.sum(1).mean():5.2f}   bias {bias:+5.2f}σ   "
            f"true gain {-self.true.mean():5.2f}σ   runs {self.runs.mean():6.1f}"
        )


def single_look(effects: Floats, noise: Floats, margin: float) -> Outcome:
    """Keep what is lower than the incumbent's only score by `margin` σ. noise [N, 1 + P]."""
    count, patches = effects.shape
    true, best, kept = np.zeros(count), noise[:, 0].copy(), np.zeros(effects.shape, bool)
    for patch in range(patches):
        score = true + effects[:, patch] + noise[:, 1 + patch]
        keep = kept[:, patch] = score < best - margin
        true, best = np.where(keep, true + effects[:, patch], true), np.where(keep, score, best)
    return Outcome(kept, np.full(count, 1.0 + patches), best, true)


class Confirmed:
    """The rule of server/scoring/decision_rule.py for all nights at once."""

    def __init__(self, baseline: Floats, prior: float | None) -> None:
        """baseline [N, 3]: its scores. prior: the assumed σ; None: σ is known."""
        count = len(baseline)
        self.prior = prior
        self.true, self.value = np.zeros(count), baseline.mean(1)
        self.runs, self.fresh = np.full(count, float(baseline.shape[1])), np.full(count, float(baseline.shape[1]))
        self.squares = ((baseline - self.value[:, None]) ** 2).sum(1)
        self.freedom = np.full(count, baseline.shape[1] - 1.0)

    @property
    def sigma(self) -> Floats:
        if self.prior is None:
            return np.ones(len(self.true))
        return np.sqrt((PRIOR_WEIGHT * self.prior**2 + self.squares) / (PRIOR_WEIGHT + self.freedom))

    def patch(self, effect: Floats, draws: Iterator[Floats]) -> Flags:
        """Try a patch; `draws` are the errors of its runs, one after the other. Returns who keeps it."""
        truth = self.true + effect
        self.runs += 1
        open_ = truth + next(draws) < self.value - SCREEN * self.sigma
        count, mean, kept = np.zeros(len(truth)), np.zeros(len(truth)), np.zeros(len(truth), bool)
        while open_.any():
            confirm = open_ & ((count == 0) | ((self.fresh > 0) & (count <= self.fresh) & (count < RUNS)))
            again = open_ & ~confirm
            error = next(draws)
            count, mean = self._add(confirm, truth + error, count, mean)
            self.fresh, self.value = self._add(again, self.true + error, self.fresh, self.value)
            self.runs += open_
            known = open_ & (self.fresh > 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                z = (self.value - mean) / (self.sigma * np.sqrt(1 / count + 1 / self.fresh))
            last = (count >= RUNS) & (self.fresh >= RUNS)
            won = known & (z >= np.where(last, AT_LAST, ENOUGH))
            kept |= won
            open_ = open_ & ~won & ~(known & ((z < GIVE_UP) | last))
        self.true, self.value = np.where(kept, truth, self.true), np.where(kept, mean, self.value)
        self.fresh = np.where(kept, 0.0, self.fresh)
        return kept

    def end(self, draws: Iterator[Floats]) -> None:
        """Measure the last incumbent as often as a candidate would have been."""
        for error in draws:
            missing = self.fresh < RUNS
            self.fresh, self.value = self._add(missing, self.true + error, self.fresh, self.value)
            self.runs += missing

    def _add(self, who: Flags, score: Floats, count: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """A further score of a group: its mean, and what it tells of σ (Welford 1962)."""
        first = count == 0
        after = np.where(first, score, mean + (score - mean) / (count + 1))
        repeated = who & ~first
        self.squares = self.squares + np.where(repeated, (score - mean) * (score - after), 0.0)
        self.freedom = self.freedom + repeated
        return count + who, np.where(who, after, mean)


def confirmed(effects: Floats, baseline: Floats, draws: NDArray[np.float32], prior: float | None) -> Outcome:
    """Nights by our rule. baseline [N, 3], draws [1 + P, DRAWS, N], the last ones for the end."""
    study = Confirmed(baseline, prior)
    columns = [study.patch(effects[:, patch], iter(draws[patch])) for patch in range(effects.shape[1])]
    study.end(iter(draws[-1, :RUNS]))
    return Outcome(np.stack(columns, 1), study.runs, study.value, study.true)


def published(random: np.random.Generator, nights: int) -> Floats:
    """Effects like the published sessions', in σ; negative is better."""
    effects = np.abs(random.standard_normal((nights, PATCHES))) * 4
    effects[random.random(effects.shape) < 0.2] = 0
    gains = np.minimum(np.exp(np.log(0.8) + 1.2 * random.standard_normal(effects.shape)), 24)
    return np.where(random.random(effects.shape) < 0.15, -gains, effects)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=10_000)
    nights, begun, random = parser.parse_args().nights, time.monotonic(), np.random.default_rng(0)
    baseline = random.standard_normal((nights, 3))
    noise = random.standard_normal((nights, 1 + PATCHES))
    draws = random.standard_normal((PATCHES + 1, DRAWS, nights), dtype=np.float32)
    rules = {"σ known": None, "σ from 3 runs": 1.0, "… prior 2x too high": 2.0, "… prior 2x too low": 0.5}
    for title, effects in (("null", np.zeros((nights, PATCHES))), ("real", published(random, nights))):
        print(f"{title} nights: {nights} of {PATCHES} patches")
        print(f"  upstream                   {single_look(effects, noise, 0.0).told(effects)}")
        print(f"  margin 2σ                  {single_look(effects, noise, 2.0).told(effects)}")
        for name, prior in rules.items():
            print(f"  ours, {name:20} {confirmed(effects, baseline, draws, prior).told(effects)}")
    print("power: one patch after the baseline, better by 1σ, 2σ, 3σ")
    gains = {gain: np.full((nights, 1), -gain) for gain in (1.0, 2.0, 3.0)}
    for margin, name in ((0.0, "upstream"), (2.0, "margin 2σ")):
        found = [single_look(effects, noise, margin).kept.mean() for effects in gains.values()]
        print(f"  {name:26} " + "  ".join(f"{power:.2f}" for power in found))
    for name, prior in rules.items():
        found = [confirmed(effects, baseline, draws, prior).kept.mean() for effects in gains.values()]
        print(f"  ours, {name:20} " + "  ".join(f"{power:.2f}" for power in found))
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
