"""The audit of claims: pure arithmetic on what a replica answers about positions it could not foresee.

Every claim is -log p of one validation token, made by the process that trained. The replica, a fresh process that
never saw a validation row, rebuilds the model from train.py and the frozen weights. It is asked for full logits at
positions drawn after the claims were made, in rows whose future is replaced by training text. The referee normalises
them itself. A claim that depended on the future, on memory, or on wishful thinking differs.

train.py may know everything here but the draw. A lie passes as long as no probe hits it, so a position is the more
likely to be drawn the more a lie there could gain. benchmarks/audit_power.py computes what a lie is still worth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PAIRS = 500_000  # tokens of training text that the n-gram is counted on: a tenth of a second
_WINDOW = 1_000_000  # tokens of training text in which documents for the futures are looked for
# Shares of the draw: without regard to the token, by its surprise, by how far the claim is below the surprise. Of the
# mixtures tried this one leaves least to a liar who knows it. A uniform draw leaves a third to twice as much.
_UNIFORM = 0.5
_SURPRISE = 0.25
_GAIN = 0.25


@dataclass(frozen=True)
class Tolerance:
    """What a device's arithmetic may do to honest claims, in nats: to one of them, and to their mean.

    A gain of 1 % is 0.017 nats a token or more at 1.7: no tolerance for the mean comes near.
    """

    far: float
    far_share: float  # of the audited positions, which may be farther off
    mean: float


# The same kernels in the same shapes, never compiled: measured below 1e-5 in float32 on a CPU.
EXACT = Tolerance(far=0.005, far_share=0.0, mean=0.0005)
ROUNDED = Tolerance(far=0.1, far_share=0.01, mean=0.002)  # a GPU may choose another kernel in another process


@dataclass(frozen=True)
class Evidence:
    """What the audit draws from: `claims` float32 [R, T] nats, `rows` uint16 [R, T + 1], `scored` bool [R, T],
    `surprise` float32 [R, T], nats by an n-gram of the training text `train`, uint16 [N]; `bos` starts a document."""

    claims: NDArray[np.float32]
    rows: NDArray[np.uint16]
    scored: NDArray[np.bool_]
    surprise: NDArray[np.float32]
    train: NDArray[np.uint16]
    bos: int


@dataclass(frozen=True)
class Probes:
    """What is asked: `inputs` uint16 [K, T], and the position `cuts` int64 [K] whose logits are wanted in each row."""

    inputs: NDArray[np.uint16]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int64]  # [K] row of `claims` each probe is about
    weights: NDArray[np.float64]  # [K] by which the mean over all scored positions is estimated
    batches: list[NDArray[np.int64]]  # indices of the probes that are asked at once, in the order of asking


def surprise(train: NDArray[np.uint16], rows: NDArray[np.uint16]) -> NDArray[np.float32]:
    """-log p of every target of `rows` by a bigram backed off to a unigram (add-alpha), float32 [R, T] nats.

    A yardstick that no train.py can touch: where a claim is far below it, a lie would pay.
    """
    text = np.asarray(train[:_PAIRS], dtype=np.int64)
    size = int(max(text.max(), rows.max())) + 1
    single = np.bincount(text, minlength=size) + 0.5
    pairs, counts = np.unique(text[:-1] * size + text[1:], return_counts=True)
    before, target = rows[:, :-1].astype(np.int64), rows[:, 1:].astype(np.int64)
    at = np.minimum(np.searchsorted(pairs, before * size + target), len(pairs) - 1)
    seen = np.where(pairs[at] == before * size + target, counts[at], 0)
    alpha = 5.0
    chance = (seen + alpha * single[target] / single.sum()) / (single[before] + alpha)
    return -np.log(chance).astype(np.float32)


def density(evidence: Evidence) -> NDArray[np.float64]:
    """The chance of each scored position to be drawn next, float64 [S]; they sum to one.

    The uniform part leaves no position safe. A lie gains at most the token's loss, which goes with its surprise. And
    whoever has lied claims less than the surprise.
    """
    surprise, claims = (part[evidence.scored].astype(np.float64) for part in (evidence.surprise, evidence.claims))
    gains = np.maximum(surprise - claims, 0.0)
    found = np.full(len(claims), _UNIFORM / len(claims))
    for share, part in ((_SURPRISE, surprise), (_GAIN, gains)):
        found += share * part / (part.sum() or 1.0)
    return found / found.sum()


def draw(evidence: Evidence, count: int, height: int, random: np.random.Generator) -> Probes:
    """Draw `count` positions by their density, to be asked in batches of `height`, with other text after each."""
    chances = density(evidence)
    order = random.permutation(len(chances))
    # Equal steps from a random start: nothing is drawn twice that is less likely than one step.
    steps = (random.random() + np.arange(count)) / count
    drawn = np.searchsorted(np.cumsum(chances[order]), steps, side="right")
    chosen = np.unique(order[np.minimum(drawn, len(order) - 1)])  # ascending: in the order of the text
    of, cuts = np.divmod(np.flatnonzero(evidence.scored)[chosen], evidence.claims.shape[1])
    inputs = evidence.rows[of, :-1].copy()
    _replace_futures(inputs, cuts, evidence, random)
    return Probes(inputs, cuts, of, 1 / chances[chosen], _batches(of, height))


def _replace_futures(
    inputs: NDArray[np.uint16], cuts: NDArray[np.int64], evidence: Evidence, random: np.random.Generator
) -> None:
    """After each cut, put training text from the beginning of a document: no validation text beyond the prefix."""
    length, first = inputs.shape[1], random.integers(max(1, len(evidence.train) - _WINDOW))
    window = np.asarray(evidence.train[first : first + _WINDOW])
    starts = np.flatnonzero(window[:-length] == evidence.bos)
    starts = starts if len(starts) else np.arange(max(1, len(window) - length))
    for row, cut, start in zip(inputs, cuts, random.choice(starts, size=len(cuts)), strict=True):
        row[cut + 1 :] = np.resize(window[start : start + length], length)[: length - cut - 1]


def _batches(of: NDArray[np.int64], height: int) -> list[NDArray[np.int64]]:
    """Batches in which no probe shows the token that an earlier or a fellow one asks for.

    A probe shows its row up to its cut. So each line of the batches goes through a stretch of the text of its own,
    forwards: what is asked for comes after everything that was shown of the stretch.

    Args:
        of: int64 [K], the row of each probe, in the order of the text.
    """
    line = np.searchsorted(of, of) * height // max(len(of), 1)  # probes of one row are in one line
    turn = np.arange(len(of)) - np.searchsorted(line, line)
    return [np.flatnonzero(turn == number) for number in range(turn.max(initial=-1) + 1)]


def chosen(probes: Probes, which: NDArray[np.int64], height: int) -> Probes:
    """Some of the probes, in batches of their own: with other companions than before."""
    cuts, of = probes.cuts[which], probes.rows[which]
    batches = np.split(np.arange(len(which)), range(height, len(which), height))
    return Probes(probes.inputs[which], cuts, of, probes.weights[which], batches)


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.uint16]) -> NDArray[np.float64]:
    """-log softmax(logits)[target] in nats, float64 [K], from logits [K, V]."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(wide - top).sum(axis=1)) + top[:, 0]
    return normaliser - wide[np.arange(len(targets)), targets]


def objection(
    claimed: NDArray[np.float32], answered: NDArray[np.float64], weights: NDArray[np.float64], device: str
) -> str | None:
    """Why the claims cannot be believed, in words for a researcher; None if they can.

    Args:
        claimed, answered: nats [K], by the trained process and by the replica. weights: [K] of the positions in the
            mean. device: torch's name of its type.
    """
    if not np.isfinite(answered).all():
        return "the rebuilt model's logits are not finite"
    tolerance = EXACT if device == "cpu" else ROUNDED
    difference = answered - claimed
    far = int((np.abs(difference) > tolerance.far).sum())
    if far > tolerance.far_share * len(difference):
        return f"claims at {far} of {len(difference)} audited positions do not hold when later tokens are replaced."
    if (mean := np.average(difference, weights=weights)) > tolerance.mean:
        return (
            f"claims are {mean:.4f} nats a token too good on average over {len(weights)} audited positions when "
            "later tokens are replaced."
        )
    return None


@dataclass(frozen=True)
class Answers:
    """What a replica said about the same claims, in nats [k], asked in four ways."""

    first: NDArray[np.float64]
    regrouped: NDArray[np.float64]  # the same rows, in batches with other rows
    repeated: NDArray[np.float64]  # exactly the same again
    unaltered: NDArray[np.float64]  # with the true later tokens


def cause(claimed: NDArray[np.float32], answers: Answers, device: str) -> str:
    """What a failed audit points at, in words for a researcher; `claimed` are the nats [k] that hold least."""
    if _differ(answers.repeated, answers.regrouped, device):
        return "The rebuilt model gives two answers to the same question: does it draw random numbers in eval mode?"
    if _differ(answers.regrouped, answers.first, device):
        return (
            "The model's output for a row changes with the other rows of its batch: do rows share something, such as "
            "a capacity of experts or statistics of the batch? In eval mode each row must stand alone."
        )
    if objection(claimed, answers.unaltered, np.ones(len(claimed)), device) is None:
        return "They hold with the true later tokens: does a position see a later one, is the attention causal?"
    return (
        "Nor do they hold with the true ones: the model rebuilt from train.py and the submitted weights differs. "
        "Is everything that shapes the forward pass in parameters, registered buffers or constants?"
    )


def _differ(one: NDArray[np.float64], other: NDArray[np.float64], device: str) -> bool:
    tolerance = EXACT if device == "cpu" else ROUNDED
    return bool((np.abs(one - other) > tolerance.far).mean() > tolerance.far_share)
