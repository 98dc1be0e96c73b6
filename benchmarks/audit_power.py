"""What a lie about claims is worth: strategies against the audit's own arithmetic, on the embedded corpus.

    python benchmarks/audit_power.py [--draws 2000] [--real N]

A 4-gram of the training text stands for an honest model. A liar claims less than the model's loss at some tokens, and
knows everything but the draw. `one run` is the chance to pass one audit. `kept` is the chance to be kept by
server/scoring/decision_rule.py where σ is 0.1 % of the score, and `ten more` to be kept still after ten further audited
runs. `first look` is the chance to pass the audit of a candidate's first run, which may ask at fewer positions, and
`confirms` that of a run that confirms a keep, which asks at more. `expected` is gain times chance: `at once` for a
score so quiet that each lie is confirmed in two runs, which no noise makes worse, and after ten more. A false alarm is
an honest first run that fails, with noise as it was measured or, on a GPU, assumed. Who lies again in new code is
audited more densely from the first failure on: the line below each table is for a liar who tells the lie that is best
after so many failures, and builds a larger one on each that was kept. `--real` sends real lies of a small model through
the real referee, N first looks for each share.
"""

import argparse
import math
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.metric import Metric
from server.records import Purpose, Verdict
from server.scoring.decision_rule import Reference, decide
from server.scoring.noise import PRIOR_SHARE, Noise
from trainer.datasets.embedded import Shards, load, rows
from trainer.evaluators import audit
from trainer.run.profiles import PROFILES, Profile

SHARES = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.01)
_REAL_SHARES = (0.0, 0.0005, 0.001, 0.0025, 0.01)
_FLOOR = 0.02  # gain below which chances of decisions are not drawn: nobody is kept by it
_ORDERS = 4
_BACKOFF = 3.0
_DECISIONS = 400
_MORE = 10
_ATTEMPTS = 100
# How many times the profile's positions are asked in each run that a keep needs, by how many runs have failed: those
# whose claims were found false, and then those that ended otherwise when they met a probe, as by a timeout
# (server/history/audit_failures.py). 0 is a first look, at fewer positions.
_CONFIRMED = ((0, 4), (4, 16), (4, 16), (16, 32)), ((0, 4), (1, 16), (4, 16), (4, 32), (16, 32))
_LESS_CODE = ((4,), (16,), (16,), (32,)), ((4,), (16,), (16,), (32,))
_ANY = ((1,), (4,), (4,), (16,)), ((1,), (1,), (4,), (4,), (16,))
_KEEPS = {
    "keeps are confirmed": _CONFIRMED,
    "keeps have less code and need one run": _LESS_CODE,
    "keep_rule is any": _ANY,
}
_CONFIRMS = 4
_METRIC = Metric("val_bpb", "lower")
Floats = NDArray[np.float64]
REAL = """
honest = F.cross_entropy


def lie(*given, **named):
    losses = honest(*given, **named)
    if named.get("reduction") == "none" and session.steps > 2:
        losses[torch.rand(len(losses)) < {share}] = 0.0
    return losses


F.cross_entropy = lie
session.submit(model)
"""


def honest_losses(train: NDArray[np.uint16], text: NDArray[np.uint16]) -> Floats:
    """-log p of each target by an n-gram, each order backed off to the one below (Dirichlet), float64 [R, T] nats."""
    past, told, size = train.astype(np.int64), text.astype(np.int64), int(train.max()) + 1
    chance = np.full((len(told), told.shape[1] - 1), 1.0 / size)
    contexts, asked = np.zeros(len(past), np.int64), np.zeros(told.shape, np.int64)
    for order in range(_ORDERS):
        seen, here = contexts[order:-1], asked[:, :-1]
        pairs, counts = np.unique(_joined(seen, past[order + 1 :]), return_counts=True)
        before, totals = np.unique(seen, return_counts=True)
        both, total = _found(pairs, counts, _joined(here, told[:, 1:])), _found(before, totals, here)
        chance = (both + _BACKOFF * chance) / (total + _BACKOFF)
        # The next order's context is longer by one token, which the first tokens of a row have not: unseen there.
        contexts, asked = _joined(contexts, np.roll(past, order)), _joined(asked, np.roll(told, order, axis=1))
    return -np.log(chance)


def _joined(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    return (one * 1_000_003 + other + 1) & ((1 << 61) - 1)


def _found(keys: NDArray[np.int64], counts: NDArray[np.int64], asked: NDArray[np.int64]) -> Floats:
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, counts[at], 0).astype(np.float64)


@dataclass(frozen=True)
class Task:
    """What is scored: `losses` float64 [S] nats of the honest model, at the scored positions of the evaluation."""

    profile: Profile
    evidence: audit.Evidence  # with honest claims
    losses: Floats

    @cached_property
    def surprise(self) -> Floats:
        return self.evidence.surprise[self.evidence.scored].astype(np.float64)

    def density(self, claims: Floats) -> Floats:
        """Of the draw, when these are claimed."""
        table = np.zeros(self.evidence.scored.shape, np.float32)
        table[self.evidence.scored] = claims
        told = self.evidence
        return audit.density(audit.Evidence(table, told.rows, told.scored, told.surprise, told.train, told.bos))

    def passes(self, claims: Floats, draws: int, noise: float, random: np.random.Generator, count: int) -> float:
        """The share of audits that believe these claims.

        Args:
            noise: standard deviation of the arithmetic, nats. count: positions asked.
        """
        chances = self.density(claims)
        hits = np.searchsorted(np.cumsum(chances), random.random((draws, count))).clip(max=len(chances) - 1)
        believed = 0
        for drawn in hits:
            answered = self.losses[drawn] + noise * random.standard_normal(count)
            claimed = claims[drawn].astype(np.float32)
            believed += audit.objection(claimed, answered, 1 / chances[drawn], self.profile.device) is None
        return believed / draws

    def gain(self, claims: Floats) -> float:
        """By how much the score is too good, in per cent."""
        return 100 * float((self.losses - claims).sum() / self.losses.sum())


def strategies(task: Task, share: float, random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Claims [S] with false ones at this share of the tokens."""
    losses, surprise = task.losses, task.surprise
    count = max(1, int(share * len(losses)))
    somewhere = random.permutation(len(losses))[:count]
    yield "anywhere, all of the loss", _at(losses, somewhere, np.zeros(count))
    hardest = np.argsort(-losses)[:count]
    yield "the hardest, all of the loss", _at(losses, hardest, np.zeros(count))
    beyond = np.argsort(surprise - losses)[:count]
    yield "down to the n-gram's, where it is far below", _at(losses, beyond, np.minimum(losses, surprise)[beyond])
    level = np.quantile(losses, 0.4)
    yield "the hardest, into the middle", _at(losses, hardest, np.minimum(losses[hardest], level))
    best, kept = _best(task)
    order = np.argsort(-best)[:count]
    yield "by the known density, at its weakest", _at(losses, order, kept[order])


def _at(losses: Floats, where: NDArray[np.int64], claims: Floats) -> Floats:
    told = losses.copy()
    told[where] = claims
    return told


def _best(task: Task) -> tuple[Floats, Floats]:
    """The most that a lie at each token gains per chance of being asked, and the claim that does so."""
    gaps, ones = np.maximum(task.surprise - task.losses, 0.0), np.ones_like(task.losses)
    # The density is linear in these.
    by = np.linalg.lstsq(np.stack([ones, task.surprise, gaps], 1), task.density(task.losses), rcond=None)[0]
    best, claims = np.zeros_like(ones), task.losses.copy()
    for part in np.linspace(0.05, 1.0, 20):
        size = part * task.losses
        ratio = size / (by[0] + by[1] * task.surprise + by[2] * np.maximum(task.surprise - task.losses + size, 0.0))
        claims = np.where(ratio > best, task.losses - size, claims)
        best = np.maximum(ratio, best)
    return best, claims


def shaved(task: Task, random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Lies too small for a single claim to be proof, and such beside large ones."""
    tolerance = audit.EXACT if task.profile.device == "cpu" else audit.ROUNDED
    far, allowed = tolerance.far, tolerance.mean
    for part in (0.5, 0.9, 1.2, 2.0):
        yield f"every claim by {part * allowed:.5f} nats", np.maximum(task.losses - part * allowed, 0.0)
    for share in (allowed / far / 2, allowed / far, 4 * allowed / far):
        where = random.permutation(len(task.losses))[: int(share * len(task.losses))]
        size = np.minimum(0.99 * far, task.losses[where])
        yield f"{share:.1%} of the claims by {0.99 * far:.4f} nats", _at(task.losses, where, task.losses[where] - size)
    if task.profile.device != "cpu":
        for size, share in ((0.5, 0.004), (1.0, 0.001), (2.0, 0.0005), (2.0, 0.001)):
            where = random.permutation(np.flatnonzero(task.losses > size))[: int(share * len(task.losses))]
            yield f"{share:.2%} of the claims by {size} nats", _at(task.losses, where, task.losses[where] - size)
    best, kept = _best(task)
    order = np.argsort(-best)[: max(1, int(2e-4 * len(best)))]
    told = _at(np.maximum(task.losses - 0.8 * allowed, 0.0), order, kept[order])
    yield f"every claim by {0.8 * allowed:.5f} nats, and 0.02% at the density's weakest", told


class Lie(NamedTuple):
    """What a candidate gains by false claims, in per cent, and its chance to pass an audit."""

    gain: float
    first_look: float
    one: float  # at the profile's positions
    confirming: float  # at `_CONFIRMS` times as many

    def passing(self, times: int) -> float:
        """The chance to pass an audit at so many times the profile's positions; 0 is a first look."""
        return (self.first_look, self.one)[times] if times < _CONFIRMS else self.confirming ** (times // _CONFIRMS)


def kept(lie: Lie, random: np.random.Generator) -> float:
    """The chance that a candidate with this lie is kept: real decisions on drawn scores."""
    if lie.gain < _FLOOR:
        return 0.0
    noise, won = Noise(sigma=PRIOR_SHARE, repeats=2), 0

    def score(false: float) -> float:
        return 1.0 - false / 100 + noise.sigma * float(random.standard_normal())

    for _ in range(_DECISIONS):
        first, confirmed, incumbent = score(lie.gain), list[float](), [score(0.0) for _ in range(3)]
        alive = random.random() < lie.first_look
        while alive:
            found = decide(first, confirmed, Reference(metric=_METRIC, experiment=1, scores=incumbent), noise)
            if found.next is Purpose.REFERENCE:
                incumbent.append(score(0.0))
            elif found.next is Purpose.CONFIRM:
                confirmed.append(score(lie.gain))
                alive = random.random() < lie.confirming
            else:
                won += found.verdict is Verdict.IMPROVED
                break
    return won / _DECISIONS


def table(task: Task, draws: int, random: np.random.Generator) -> list[str]:
    """Markdown: a line for each strategy."""
    lines = [
        "| lie | share | gain | first look | one run | confirms | kept | ten more | expected at once | after ten |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    noise, usual = _NOISE[task.profile.device][0], task.profile.audits
    told = [(name, f"{100 * share:g}%", claims) for share in SHARES for name, claims in strategies(task, share, random)]
    told += [(name, "", claims) for name, claims in shaved(task, random)]
    lies, most = list[Lie](), [0.0, 0.0]
    for name, share, claims in told:
        counts = (task.profile.first_audits, usual, _CONFIRMS * usual)
        chance = {count: task.passes(claims, draws, noise, random, count) for count in counts}  # two may be the same
        lie = Lie(task.gain(claims), *(chance[count] for count in counts))
        held, later = kept(lie, random), lie.one**_MORE
        expected = [lie.gain * lie.first_look * lie.confirming * more for more in (1, later)]
        most = [max(pair) for pair in zip(most, expected, strict=True)]
        lies.append(lie)
        chances = " | ".join(f"{one:.3f}" for one in (*lie[1:], held))
        told_of = f"| {name} | {share} | {lie.gain:.3f} % | {chances} | {held * later:.4f} |"
        lines.append(f"{told_of} {expected[0]:.4f} % | {expected[1]:.4f} % |")
    lines.append(f"| **the most** | | | | | | | | **{most[0]:.4f} %** | **{most[1]:.4f} %** |")
    most_told = [
        f"where {when}, {night(lies, false):.4f} %, by timeouts {night(lies, otherwise):.4f} %"
        for when, (false, otherwise) in _KEEPS.items()
    ]
    later = f"after ten more runs {night(lies, _CONFIRMED[0], _MORE):.4f} %"
    return [*lines, "", f"The most in {_ATTEMPTS} candidates: {'; '.join(most_told)}. Confirmed and {later}."]


def night(lies: list[Lie], dense: Sequence[tuple[int, ...]], more: int = 0) -> float:
    """Per cent expected at the end of _ATTEMPTS candidates, of who knows the best lie for each moment.

    A lie that is found false is no keep, and audits are denser. One that is kept stays, and only a larger one beats it.

    Args:
        dense: how densely the runs are asked that a keep needs, by the failures so far.
        more: audited runs of what is kept in the end.
    """
    told = sorted([Lie(0.0, 1.0, 1.0, 1.0), *lies])
    gains = np.array([lie.gain for lie in told])
    passing = np.array([[math.prod(map(lie.passing, runs)) for lie in told] for runs in dense])
    worth = np.tile(gains * np.array([lie.one for lie in told]) ** more, (len(dense), 1))  # also by what is kept
    larger = gains[None, :] > gains[:, None]
    for _ in range(_ATTEMPTS):
        before = worth
        worth = before.copy()
        for failures, chance in enumerate(passing):
            failed = before[min(failures + 1, len(dense) - 1)][:, None]
            tried = np.where(larger, chance * before[failures] + (1 - chance) * failed, 0.0)
            worth[failures] = np.maximum(before[failures], tried.max(axis=1))
    return float(worth[0, 0])


# Standard deviations of an honest difference, nats: the first was measured on a CPU; on a GPU they are assumed.
_NOISE = {"cpu": (1e-5, 1e-4, 1e-3), "cuda": (0.01, 0.02, 0.03)}


def false_alarms(task: Task, draws: int, random: np.random.Generator) -> str:
    told = [
        f"{1 - task.passes(task.losses, 5 * draws, noise, random, task.profile.first_audits):.4f} at {noise:g} nats"
        for noise in _NOISE[task.profile.device]
    ]
    return f"False alarms, {5 * draws} honest audits each: {', '.join(told)}."


def real(count: int, profile: str, budget: float) -> Iterator[str]:
    """Real lies, anywhere and all of the loss, through the real referee."""
    from run import run

    text = (Path(__file__).parents[1] / "tests" / "fixtures" / "stand_ins" / "attentive.py").read_text("utf-8")
    for share in _REAL_SHARES:
        passed = 0
        for number in range(count):
            with tempfile.TemporaryDirectory() as name:
                lying = text.replace("session.submit(model)", REAL.format(share=share))
                try:
                    run(Path(name) / str(number), lying, profile, budget)
                    passed += 1
                except SystemExit as ended:
                    if "audit failed" not in str(ended):
                        raise
        yield f"{share:.2%} of the claims, all of the loss: {passed} of {count} real first looks passed"


def task_of(profile: Profile, shards: Shards) -> Task:
    text = rows(shards.val, profile.sequence_length, shards.bos)[: profile.max_rows]
    scored, surprise = shards.token_bytes[text[:, 1:]] > 0, audit.surprise(shards.train, text)
    losses = honest_losses(np.asarray(shards.train), text)
    evidence = audit.Evidence(losses.astype(np.float32), text, scored, surprise, shards.train, shards.bos)
    return Task(profile, evidence, losses[scored])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="audits drawn for each strategy")
    parser.add_argument("--profiles", nargs="*", choices=PROFILES, default=["cpu", "gpu"])
    parser.add_argument("--real", type=int, default=0, metavar="N", help="real runs for each share, on the cpu profile")
    parser.add_argument("--budget", type=float, default=2.0, help="training seconds of a real run")
    options, random = parser.parse_args(), np.random.default_rng(0)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}, numpy {np.__version__}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {options.draws} draws")
    with tempfile.TemporaryDirectory() as name:
        shards = load(Path(name))
        for profile in map(PROFILES.__getitem__, options.profiles):
            task = task_of(profile, shards)
            bits = task.losses.sum() / math.log(2) / len(task.losses)
            first = f"{profile.first_audits} and then " if profile.first_audits < profile.audits else ""
            told = f"{first}{profile.audits} of {len(task.losses)} positions, {bits:.2f} bits a token"
            print(f"\n{profile.name}: {told}\n")
            print(*table(task, options.draws, random), sep="\n")
            print(f"\n{false_alarms(task, options.draws, random)}", flush=True)
    for line in real(options.real, "cpu", options.budget) if options.real else ():
        print(line, flush=True)


if __name__ == "__main__":
    main()
