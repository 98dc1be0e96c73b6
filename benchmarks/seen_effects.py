"""How small a change `adopt` says that a night sees, and whether a night does: simulated from its runs to a keep.

    python benchmarks/seen_effects.py [--nights 2000]

For each machine `adopt` measures its runs of the same commit, proposes how often to measure, and says which effect is
seen. Then nights are simulated with that plan: the functions of server/scoring judge a change of that size, of a third
of it and of twice it, tried once, as the fifth idea of a night. The first should be kept in four nights of five.

A score is exp(drift + step): the step is new at each run of the command, the drift is a slow walk (an AR(1) process),
as on a machine that is shared. One run in twenty is an outlier.
"""

import argparse
import math
import random
import time
from dataclasses import dataclass, field
from statistics import fmean, median

from server.metric import Metric
from server.records import Verdict
from server.scoring import decision_rule, effects
from server.scoring.decision_rule import Assessment, Reference
from server.scoring.effects import Plan
from server.scoring.noise import estimate_noise
from server.scoring.paired_rule import PRIOR_SHARE, Beside, Pairs, between_runs, decide_pairs

METRIC = Metric("ms", "lower", "ms", "log", 0.05, places=None)
HOURS = 8.0  # of the night
SECONDS = 1.0  # of one run of the command
LOOKS = 20  # runs of the same commit that adopt makes
BASELINE_RUNS = 3


@dataclass(frozen=True)
class Machine:
    """How scores scatter, as natural logarithms."""

    name: str
    step: float
    drift: float = 0.0
    memory: float = 0.98  # of the drift, from one run of the command to the next
    between: float = 0.0  # of a comparison in turns, from run to run


MACHINES = (
    Machine("quiet", 0.004),
    Machine("usual", 0.02),
    Machine("loud", 0.08),
    Machine("drifting", 0.01, 0.04),
    Machine("shared", 0.03, 0.08, 0.95, 0.004),
)


@dataclass
class Clock:
    """A machine over time: each run of the command moves it on."""

    machine: Machine
    generator: random.Random
    now: float = 0.0

    def run(self, slower: float = 0.0) -> float:
        """The score of one run of the command, as a logarithm."""
        machine, keep = self.machine, self.machine.memory
        self.now = keep * self.now + math.sqrt(1 - keep**2) * machine.drift * self.generator.gauss(0, 1)
        size = 4.0 if self.generator.random() < 0.05 else 1.0
        return slower + self.now + size * machine.step * self.generator.gauss(0, 1)

    def alone(self, slower: float, repeats: int) -> float:
        """The score of a run that repeats the command."""
        return math.exp(median(self.run(slower) for _ in range(repeats)))

    def in_turns(self, slower: float, pairs: int) -> Pairs:
        """A run in turns with the incumbent."""
        told = [self.run(slower) - self.run() for _ in range(pairs)]
        mean = fmean(told)
        error = math.sqrt(math.fsum((one - mean) ** 2 for one in told) / (pairs - 1) / pairs)
        moved = self.machine.between * self.generator.gauss(0, 1)
        return Pairs(gain=-mean + moved, error=error, pairs=pairs)


def adopted(clock: Clock) -> Plan:
    """What adopt proposes after its runs."""
    scatter = effects.scatter_of([clock.alone(0.0, 1) for _ in range(LOOKS)], METRIC)
    plan = effects.alone(scatter, METRIC, SECONDS, HOURS)
    if pairs := effects.pairs_to_try(scatter, plan, SECONDS, HOURS):
        selves = [clock.in_turns(0.0, pairs) for _ in range(3)]
        plan = effects.in_turns(selves, plan, METRIC, SECONDS, HOURS)
    return plan


@dataclass
class Night:
    """A study whose incumbent never changes."""

    clock: Clock
    plan: Plan
    runs: int = 0
    scores: list[float] = field(default_factory=list[float])  # of the incumbent
    selves: list[Pairs] = field(default_factory=list[Pairs])
    groups: list[list[float]] = field(default_factory=list[list[float]])
    paired_groups: list[list[Pairs]] = field(default_factory=list[list[Pairs]])

    def __post_init__(self) -> None:
        for _ in range(BASELINE_RUNS):
            if self.plan.paired:
                self.selves.append(self.clock.in_turns(0.0, self.plan.repeats))
            else:
                self.scores.append(self.clock.alone(0.0, self.plan.repeats))

    def keeps(self, faster: float) -> bool:
        """Whether a change with this gain, a logarithm, is kept."""
        return self._keeps_in_turns(faster) if self.plan.paired else self._keeps_alone(faster)

    def _keeps_alone(self, faster: float) -> bool:
        first, confirmed = self._alone(faster), list[float]()
        self.groups.append(confirmed)
        while (found := self._assess(first, confirmed)).next:
            if found.next.value == "reference":
                self.scores.append(self._alone(0.0))
            else:
                confirmed.append(self._alone(faster))
        return found.verdict is Verdict.IMPROVED

    def _assess(self, first: float, confirmed: list[float]) -> Assessment:
        places = [[METRIC.place(score) for score in group] for group in (self.scores, *self.groups)]
        noise = estimate_noise(places, 1.0, METRIC.scatter)
        return decision_rule.decide(first, confirmed, Reference(metric=METRIC, experiment=1, scores=self.scores), noise)

    def _keeps_in_turns(self, faster: float) -> bool:
        first, confirmed = self._in_turns(faster), list[Pairs]()
        self.paired_groups.append(confirmed)
        while True:
            spread = between_runs(self.selves, self.paired_groups, METRIC.scatter * PRIOR_SHARE)
            beside = Beside(metric=METRIC, experiment=1, value=1.0, spread=spread)
            found = decide_pairs([first], confirmed, beside)
            if not found.next:
                return found.verdict is Verdict.IMPROVED
            confirmed.append(self._in_turns(faster))

    def _alone(self, faster: float) -> float:
        self.runs += 1
        return self.clock.alone(-faster, self.plan.repeats)

    def _in_turns(self, faster: float) -> Pairs:
        self.runs += 1
        return self.clock.in_turns(-faster, self.plan.repeats)


def kept(machine: Machine, times: float, nights: int) -> tuple[float, float, float, float]:
    """Of changes of so many times the effect that adopt names.

    Returns:
        The share that is kept; the runs that one takes; the mean effect that was named; the share of plans in turns.
    """
    count, runs, named, paired = 0, 0, list[float](), 0
    for seed in range(nights):
        clock = Clock(machine, random.Random(seed))
        plan = adopted(clock)
        effect = effects.night(plan, HOURS).effect
        assert effect is not None
        night = Night(clock, plan)
        for _ in range(4):
            night.keeps(0.0)
        before = night.runs
        count += night.keeps(times * effect)
        runs += night.runs - before
        named.append(effect)
        paired += plan.paired
    return count / nights, runs / nights, fmean(named), paired / nights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=2000)
    nights, begun = parser.parse_args().nights, time.monotonic()
    for machine in MACHINES:
        print(f"{machine.name}: step {100 * machine.step:g} %, drift {100 * machine.drift:g} %, {nights} nights")
        for times in (0.0, 1 / 3, 1.0, 2.0):
            share, runs, named, paired = kept(machine, times, nights)
            print(
                f"  {times:4.2f} of the effect named, {100 * named:5.2f} % ({100 * paired:3.0f} % of plans in turns): "
                f"kept {100 * share:5.1f} %, {runs:.2f} runs each"
            )
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
