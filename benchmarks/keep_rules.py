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

With several lanes that many candidates are under way at once, and are measured against one incumbent. Keeping is
serial: once one is kept, the others are built on it and measured from the beginning, with what they had cost lost.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

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
        score = truth + next(draws)
        open_ = score < self.value - SCREEN * self.sigma
        count, mean, kept = np.zeros(len(truth)), np.zeros(len(truth)), np.zeros(len(truth), bool)
        every = np.ones(len(truth)), score  # of all its runs: how many, and their mean
        while open_.any():
            confirm = open_ & ((count == 0) | ((self.fresh > 0) & (count <= self.fresh) & (count < RUNS)))
            again = open_ & ~confirm
            error = next(draws)
            count, mean = _after(confirm, truth + error, count, mean)
            every = self._add(confirm, truth + error, *every)
            self.fresh, self.value = self._add(again, self.true + error, self.fresh, self.value)
            self.runs += open_
            won, lost = self._decided(open_ & (self.fresh > 0), count, mean)
            kept |= won
            open_ = open_ & ~won & ~lost
        self.true, self.value = np.where(kept, truth, self.true), np.where(kept, mean, self.value)
        self.fresh = np.where(kept, 0.0, self.fresh)
        return kept

    def _decided(self, known: Flags, count: Floats, mean: Floats) -> tuple[Flags, Flags]:
        """Which candidates with so many confirmations win, and which are given up."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (self.value - mean) / (self.sigma * np.sqrt(1 / count + 1 / self.fresh))
        last = (count >= RUNS) & (self.fresh >= RUNS)
        won = known & (z >= np.where(last, AT_LAST, ENOUGH))
        return won, known & ~won & ((z < GIVE_UP) | last)

    def end(self, draws: Iterator[Floats]) -> None:
        """Measure the last incumbent as often as a candidate would have been."""
        for error in draws:
            missing = self.fresh < RUNS
            self.fresh, self.value = self._add(missing, self.true + error, self.fresh, self.value)
            self.runs += missing

    def _add(self, who: Flags, score: Floats, count: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """A further score of a group: its mean, and what it tells of σ (Welford 1962)."""
        repeated, (further, after) = who & (count > 0), _after(who, score, count, mean)
        self.squares = self.squares + np.where(repeated, (score - mean) * (score - after), 0.0)
        self.freedom = self.freedom + repeated
        return further, after


def _after(who: Flags, score: Floats, count: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """How many scores a group has with a further one, and their mean."""
    return count + who, np.where(who, np.where(count == 0, score, mean + (score - mean) / (count + 1)), mean)


@dataclass
class Lane:
    """One candidate on its way in each night; arrays over nights."""

    patch: NDArray[np.int64]  # its number; -1: none
    draw: NDArray[np.int64]  # how many runs it has had
    passed: Flags  # whether its first score was promising
    anew: Flags  # whether it is measured again, on another incumbent than at first
    count: Floats  # of its confirmations, and their mean
    mean: Floats
    runs: Floats  # of all its runs, the first as well, and their mean
    level: Floats

    @classmethod
    def empty(cls, nights: int) -> "Lane":
        whole, flag, real = (np.zeros(nights, kind) for kind in (np.int64, bool, float))
        return cls(whole - 1, whole.copy(), flag, flag.copy(), *(real.copy() for _ in range(4)))

    def take(self, who: Flags, number: NDArray[np.int64]) -> None:
        """Begin with another patch."""
        self.patch = np.where(who, number, self.patch)
        self.restart(who, anew=False)

    def restart(self, who: Flags, anew: bool = True) -> None:
        """Measure the patch from the beginning."""
        self.draw, self.passed = np.where(who, 0, self.draw), self.passed & ~who
        self.anew = np.where(who, anew, self.anew)
        self.count, self.mean = np.where(who, 0.0, self.count), np.where(who, 0.0, self.mean)
        self.runs, self.level = np.where(who, 0.0, self.runs), np.where(who, 0.0, self.level)


class InLanes(Confirmed):
    """The same rule where several candidates are under way, one in each lane. They take turns, with a run each."""

    def night(self, effects: Floats, draws: NDArray[np.float32], lanes: int, random: np.random.Generator) -> Flags:
        """Try every patch. effects [N, P], draws [1 + P, DRAWS, N]. Returns what is kept [N, P]."""
        kept, number = np.zeros(effects.shape, bool), np.zeros(len(effects), np.int64)
        nights, own = np.arange(len(effects)), [Lane.empty(len(effects)) for _ in range(lanes)]
        while True:
            for lane in own:
                take = (lane.patch < 0) & (number < effects.shape[1])
                lane.take(take, number)
                number = number + take
            if all((lane.patch < 0).all() for lane in own):
                return kept
            for lane in own:
                at = np.maximum(lane.patch, 0)
                again = random.standard_normal(len(effects)) if lane.anew.any() else 0.0
                error = np.where(lane.anew, again, draws[at, np.minimum(lane.draw, DRAWS - 1), nights])
                won = self._run(lane, effects[nights, at], error)
                kept[nights[won], at[won]] = True
                for other in own:
                    stale = won & (other.patch >= 0) & (other is not lane)
                    self.runs += stale  # its run under way is lost
                    other.restart(stale)

    def _run(self, lane: Lane, effect: Floats, error: Floats) -> Flags:
        """The next run of a lane, or of the incumbent for it. Returns where the candidate is kept."""
        truth, busy = self.true + effect, lane.patch >= 0
        self.runs += busy
        lane.draw = lane.draw + busy
        screened, open_ = busy & ~lane.passed, busy & lane.passed
        lane.passed = lane.passed | (screened & (truth + error < self.value - SCREEN * self.sigma))
        confirm = open_ & ((lane.count == 0) | ((self.fresh > 0) & (lane.count <= self.fresh) & (lane.count < RUNS)))
        lane.count, lane.mean = _after(confirm, truth + error, lane.count, lane.mean)
        lane.runs, lane.level = self._add(screened | confirm, truth + error, lane.runs, lane.level)
        self.fresh, self.value = self._add(open_ & ~confirm, self.true + error, self.fresh, self.value)
        won, lost = self._decided(open_ & (self.fresh > 0), lane.count, lane.mean)
        self.true, self.value = np.where(won, truth, self.true), np.where(won, lane.mean, self.value)
        self.fresh = np.where(won, 0.0, self.fresh)
        lane.patch = np.where(won | lost | (screened & ~lane.passed), -1, lane.patch)
        return won


def in_lanes(effects: Floats, baseline: Floats, draws: NDArray[np.float32], prior: float | None, lanes: int) -> Outcome:
    """Nights by our rule with several lanes; the arrays are as for `confirmed`."""
    study = InLanes(baseline, prior)
    kept = study.night(effects, draws, lanes, np.random.default_rng(lanes))
    study.end(iter(draws[-1, :RUNS]))
    return Outcome(kept, study.runs, study.value, study.true)


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
        for lanes, (name, prior) in product((4, 16), rules.items()):
            found = in_lanes(effects, baseline, draws, prior, lanes)
            print(f"  {f'{lanes} lanes, {name}':26} {found.told(effects)}")
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
