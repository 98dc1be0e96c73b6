"""The audit of claims: pure arithmetic on what a replica answers about positions it could not foresee.

Every claim is -log p of one validation token, made by the process that trained. The replica, a fresh process that
never saw a validation row, rebuilds the model from train.py and the frozen weights. It is asked for full logits at
positions drawn after the claims were made, in rows whose future has been replaced. The referee normalises them
itself. A claim that depended on the future, on memory, or on wishful thinking differs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PAIRS = 500_000  # tokens of training text that the n-gram is counted on: a tenth of a second


@dataclass(frozen=True)
class Tolerance:
    """What a device's arithmetic may do to honest claims, in nats: to one of them, and to their mean.

    A gain of 1 % is 0.017 nats a token or more at 1.7: no tolerance for the mean comes near.
    """

    far: float
    far_share: float  # of the audited positions, which may be farther off
    mean: float


# The same kernels in the same shapes, never compiled: measured below 1e-5 in float32 on a CPU.
_EXACT = Tolerance(far=0.005, far_share=0.0, mean=0.0005)
_ROUNDED = Tolerance(far=0.1, far_share=0.01, mean=0.002)  # a GPU may choose another kernel in another process


@dataclass(frozen=True)
class Evidence:
    """What the audit draws from: `claims` float32 [R, T] nats, `rows` uint16 [R, T + 1], `scored` bool [R, T], and
    `surprise` float32 [R, T], nats by an n-gram of the training text."""

    claims: NDArray[np.float32]
    rows: NDArray[np.uint16]
    scored: NDArray[np.bool_]
    surprise: NDArray[np.float32]


@dataclass(frozen=True)
class Probes:
    """What is asked: `inputs` uint16 [K, T], and the position `cuts` int64 [K] whose logits are wanted in each row."""

    inputs: NDArray[np.uint16]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int64]  # [K] row of `claims` each probe is about
    uniform: NDArray[np.bool_]  # [K] drawn without regard to the claim: only these tell the mean


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


def draw(evidence: Evidence, count: int, random: np.random.Generator) -> Probes:
    """Draw `count` positions and replace everything after them by other natural text.

    Half of the positions are uniform. The others lie where a cheat pays most: among the claims farthest below the
    n-gram's, and in a large random sample the lowest and the highest.
    """
    claims, rows, length = evidence.claims, evidence.rows, evidence.claims.shape[1]
    positions = random.permutation(np.flatnonzero(evidence.scored))
    quarter, eighth = count // 4, count // 8
    uniform = positions[: count - quarter - 2 * eighth]
    flat = claims.reshape(-1)
    gains = flat[positions] - evidence.surprise.reshape(-1)[positions]
    # One in fifty of the largest gains: enough of them to be chosen from in secret.
    candidates = positions[np.argsort(gains, kind="stable")[: max(2 * quarter, len(positions) // 50)]]
    pool = positions[: 16 * count]
    ranked = pool[np.argsort(flat[pool], kind="stable")]
    chosen = [uniform, random.permutation(candidates)[:quarter], ranked[:eighth], ranked[len(ranked) - eighth :]]
    order = random.permutation(sum(map(len, chosen)))
    of, cuts = np.divmod(np.concatenate(chosen)[order], length)
    inputs = rows[of, :-1].copy()
    others = rows[random.integers(len(rows), size=len(of)), :-1]
    future = np.arange(length)[None, :] > cuts[:, None]
    inputs[future] = others[future]
    return Probes(inputs, cuts, of, order < len(uniform))


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.uint16]) -> NDArray[np.float64]:
    """-log softmax(logits)[target] in nats, float64 [K], from logits [K, V]."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(wide - top).sum(axis=1)) + top[:, 0]
    return normaliser - wide[np.arange(len(targets)), targets]


def objection(
    claimed: NDArray[np.float32], answered: NDArray[np.float64], uniform: NDArray[np.bool_], device: str
) -> str | None:
    """Why the claims cannot be believed, in words for a researcher; None if they can.

    Args:
        claimed, answered: nats [K], by the trained process and by the replica. uniform: [K] which positions tell the
            mean. device: torch's name of its type.
    """
    if not np.isfinite(answered).all():
        return "the rebuilt model's logits are not finite"
    tolerance = _EXACT if device == "cpu" else _ROUNDED
    difference = answered - claimed
    far = int((np.abs(difference) > tolerance.far).sum())
    if far > tolerance.far_share * len(difference):
        return f"claims at {far} of {len(difference)} audited positions do not hold when later tokens are replaced."
    if (mean := difference[uniform].mean()) > tolerance.mean:
        return (
            f"claims are {mean:.4f} nats a token too good on average over {uniform.sum()} audited positions when "
            "later tokens are replaced."
        )
    return None


def cause(unaltered: str | None) -> str:
    """What a failed audit points at, in words for a researcher.

    Args:
        unaltered: the objection to the same claims when the rows were left as they are.
    """
    if unaltered is None:
        return "With the true later tokens they hold: does a position see a later one, is the attention causal?"
    return (
        "Nor do they with the true ones: the model rebuilt from train.py and the submitted weights is another. Is all "
        "that shapes the forward pass in parameters, registered buffers or constants?"
    )
