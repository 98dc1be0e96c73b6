"""What the rule for paired runs costs and finds: simulated nights of forty null changes, and of real ones.

    python -m benchmarks.measured_rules [--nights 500] [--blocks]

The functions of server/scoring/paired_rule.py judge every run, with the spread learned as a study learns it: from the
incumbent against itself three times, and from whatever is confirmed. A null changes nothing; its keep is a false one.
Real changes make the candidate 2, 5 or 20 % faster, or 5 % slower.

The noise is chosen after A/A runs of a JSON tokenizer in Python on a shared machine with two cores, pairs of 3 ms CPU
time, each run with two new processes: quiet, and beside two further processes that never rest. A run's own standard
error explains a part of how much it moves; one run in twenty is an outlier. What real runs do:
benchmarks/measured_night.py. With --blocks a run's pairs are simulated as well, beside two processes that never rest,
as benchmarks/paired_stop.py has them: in blocks of new processes, until the result is clear or there are so many.
"""

import argparse
import math
import random
import time
from dataclasses import dataclass, field

from benchmarks import paired_stop
from server.metric import Metric
from server.records import Verdict
from server.scoring.decision_rule import Assessment
from server.scoring.paired_rule import PRIOR_SHARE, Beside, Pairs, between_runs, decide_pairs
from server.task.policy import usual_scatter
from trainer.contract import MetricSource
from trainer.evaluators.pairs import MOST_PAIRS

NULLS = 40
BASELINE_RUNS = 3
METRIC = Metric("cpu", "lower", "s", "log", usual_scatter(MetricSource.CPU, "log", "s"))


@dataclass(frozen=True)
class Machine:
    """How paired runs scatter, as natural logarithms of ratios."""

    name: str
    error: float  # a run's own standard error: the median, of a log-normal distribution
    between: float  # beyond it, from run to run
    outliers: float = 0.05  # share of the runs that move four times as far

    def run(self, generator: random.Random, faster: float) -> Pairs:
        """A run of a candidate whose true gain is `faster`."""
        error = self.error * math.exp(0.4 * generator.gauss(0, 1))
        size = 4.0 if generator.random() < self.outliers else 1.0
        moved = size * math.hypot(error, self.between) * generator.gauss(0, 1)
        return Pairs(gain=faster + moved, error=error, pairs=70)


@dataclass(frozen=True)
class InBlocks(Machine):
    """Runs made of simulated pairs; `error` and `between` say what a run moves by beyond what its pairs show."""

    most: int = MOST_PAIRS
    least: float = 0.0  # program.md's least_effect

    def run(self, generator: random.Random, faster: float) -> Pairs:
        size = 4.0 if generator.random() < self.outliers else 1.0
        moved = size * self.between * generator.gauss(0, 1)
        mean, error, pairs = paired_stop.study(generator, moved - faster, self.least, self.most)
        return Pairs(gain=-mean, error=error, pairs=pairs)


BLOCKED = tuple(InBlocks(f"busy, {most} pairs at the most", 0.0, 0.004, most=most, least=0.01) for most in (120, 240))
MACHINES = (Machine("quiet", 0.002, 0.007), Machine("busy", 0.006, 0.010))
EFFECTS = (("2 % faster", 0.02), ("5 % faster", 0.05), ("20 % faster", 0.20), ("5 % slower", -0.05))


@dataclass
class Night:
    """A study whose incumbent never changes: what is kept is counted, and goes no further."""

    machine: Machine
    generator: random.Random
    least: float = 0.0
    runs: int = 0
    selves: list[Pairs] = field(default_factory=list[Pairs])
    groups: list[list[Pairs]] = field(default_factory=list[list[Pairs]])

    def __post_init__(self) -> None:
        self.selves = [self._run(0.0) for _ in range(BASELINE_RUNS)]

    def keeps(self, faster: float) -> bool:
        """Whether a change that takes a share `faster` of the time away is kept."""
        gain = -math.log1p(-faster)
        first, confirmed = self._run(gain), list[Pairs]()
        self.groups.append(confirmed)
        while (found := self._assess(first, confirmed)).next:
            confirmed.append(self._run(gain))
        return found.verdict is Verdict.IMPROVED

    def _assess(self, first: Pairs, confirmed: list[Pairs]) -> Assessment:
        spread = between_runs(self.selves, self.groups, METRIC.scatter * PRIOR_SHARE)
        beside = Beside(metric=METRIC, experiment=1, value=1.0, spread=spread, least=self.least)
        return decide_pairs([first], confirmed, beside)

    def _run(self, gain: float) -> Pairs:
        self.runs += 1
        return self.machine.run(self.generator, gain)


def false_keeps(machine: Machine, nights: int, least: float = 0.0) -> tuple[list[int], float]:
    """Of each night with forty nulls, how many were kept; and the runs a null took."""
    counts, runs = list[int](), 0
    for seed in range(nights):
        night = Night(machine, random.Random(seed), least)
        counts.append(sum(night.keeps(0.0) for _ in range(NULLS)))
        runs += night.runs - BASELINE_RUNS
    return counts, runs / (nights * NULLS)


def found(machine: Machine, faster: float, nights: int, least: float = 0.0) -> tuple[float, float]:
    """The share of real changes that are kept, each the fifth idea of a night, and the runs that one takes."""
    kept, runs = 0, 0
    for seed in range(nights):
        night = Night(machine, random.Random(seed), least)
        for _ in range(4):
            night.keeps(0.0)
        before = night.runs
        kept += night.keeps(faster)
        runs += night.runs - before
    return kept / nights, runs / nights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=500)
    parser.add_argument("--blocks", action="store_true", help="simulate every pair of a run: minutes for 50 nights")
    options, begun = parser.parse_args(), time.monotonic()
    nights = options.nights
    for machine in BLOCKED if options.blocks else MACHINES:
        for least in (machine.least,) if isinstance(machine, InBlocks) else (0.0, 0.01):
            error = f"own error {100 * machine.error:.1f} %, {100 * machine.between:.1f} % between runs"
            print(f"{machine.name}: {error}, least_effect {100 * least:g} %, {nights} nights")
            counts, runs = false_keeps(machine, nights, least)
            more = sum(count > 1 for count in counts) / nights
            kept = sum(counts) / nights
            print(
                f"  {NULLS} nulls: {kept:.2f} kept a night, {100 * kept / NULLS:.2f} % of them; "
                f"more than one in {100 * more:.1f} % of the nights; {runs:.2f} runs each"
            )
            for name, faster in EFFECTS:
                share, runs = found(machine, faster, nights, least)
                print(f"  {name:11}: kept {100 * share:5.1f} %, {runs:.2f} runs each")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
