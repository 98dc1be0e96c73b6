"""The audit of claims: pure arithmetic on what a replica answers about positions it could not foresee.

Every claim is -log p of one validation token, made by the process that trained. The replica, a fresh process that
never saw a validation row, rebuilds the model from train.py and the frozen weights. It is asked for full logits at
positions drawn after the claims were made, in rows whose future has been replaced. The referee normalises them
itself. A claim that depended on the future, on memory, or on wishful thinking differs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAR_SHARE = 0.02  # share of audited positions that may be far off


@dataclass(frozen=True)
class Tolerance:
    """What a device's arithmetic may do to honest claims, in nats: to one of them, and to their mean.

    A gain of 1 % is 0.017 nats a token or more at 1.7: no tolerance for the mean comes near.
    """

    far: float
    mean: float


_EXACT = Tolerance(far=0.05, mean=0.001)  # float32 on a CPU, the same kernels in the same shapes: measured below 1e-5
_ROUNDED = Tolerance(far=0.3, mean=0.005)  # bf16 and compiled kernels


@dataclass(frozen=True)
class Probes:
    """What is asked: `inputs` uint16 [K, T], and the position `cuts` int64 [K] whose logits are wanted in each row."""

    inputs: NDArray[np.uint16]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int64]  # [K] row of `claims` each probe is about


def draw(claims: NDArray[np.float32], rows: NDArray[np.uint16], count: int, random: np.random.Generator) -> Probes:
    """Draw `count` positions and replace everything after them by other natural text.

    Half of the positions are uniform, a quarter are the best claims of a random sample and a quarter its worst: a
    cheat pays where a token looks easier than it is.

    Args:
        claims: [R, T] nats. rows: [R, T + 1] tokens, inputs and the last target.
    """
    positions, length = claims.size, claims.shape[1]
    uniform = random.choice(positions, size=min(count, positions), replace=False)
    pool = random.choice(positions, size=min(16 * count, positions), replace=False)
    ranked = pool[np.argsort(claims.reshape(-1)[pool], kind="stable")]
    quarter = count // 4
    flat = np.concatenate([uniform[: count - 2 * quarter], ranked[:quarter], ranked[len(ranked) - quarter :]])
    of, cuts = np.divmod(random.permutation(flat), length)
    inputs = rows[of, :-1].copy()
    others = rows[random.integers(len(rows), size=len(of)), :-1]
    future = np.arange(length)[None, :] > cuts[:, None]
    inputs[future] = others[future]
    return Probes(inputs, cuts, of)


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.uint16]) -> NDArray[np.float64]:
    """-log softmax(logits)[target] in nats, float64 [K], from logits [K, V]."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(wide - top).sum(axis=1)) + top[:, 0]
    return normaliser - wide[np.arange(len(targets)), targets]


def objection(claimed: NDArray[np.float32], answered: NDArray[np.float64], device: str) -> str | None:
    """Why the claims cannot be believed, in words for a researcher; None if they can.

    Args:
        claimed, answered: nats [K], by the trained process and by the replica. device: torch's name of its type.
    """
    if not np.isfinite(answered).all():
        return "the rebuilt model's logits are not finite"
    tolerance = _EXACT if device == "cpu" else _ROUNDED
    difference = answered - claimed
    far = int((np.abs(difference) > tolerance.far).sum())
    if far > FAR_SHARE * len(difference):
        return f"claims at {far} of {len(difference)} audited positions do not hold when later tokens are replaced."
    if difference.mean() > tolerance.mean:
        return (
            f"claims are {difference.mean():.4f} nats a token too good on average over {len(difference)} audited "
            "positions when later tokens are replaced."
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
