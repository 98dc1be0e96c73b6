"""What the pinned prepare.py evaluates on: rows, bytes of tokens, the shard that stays hidden. Read as data."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.upstream.hooks import INPUTS, SURVEY, TARGETS, TRAINING, OtherOrder

_LARGEST_VOCABULARY = 1 << 16


@dataclass(frozen=True)
class Survey:
    """`inputs` and `targets` uint16 [R, T]; `sizes` int64 [V], the bytes of each token; `training` uint16 [N], text
    that is no secret; `hidden`: the shard of the rows; `wanted`: tokens that prepare.py itself evaluates on."""

    inputs: NDArray[np.uint16]
    targets: NDArray[np.uint16]
    sizes: NDArray[np.int64]
    training: NDArray[np.uint16]
    bos: int
    batch: int
    hidden: Path
    wanted: int

    @property
    def rows(self) -> NDArray[np.uint16]:
        """Uint16 [R, T + 1]."""
        return np.concatenate((self.inputs, self.targets[:, -1:]), axis=1)

    def bits_per_byte(self, nats: NDArray[np.float32]) -> float:
        """Of -log p of every target, float32 [R, T]: prepare.py's definition, which the survey has compared."""
        sizes = self.sizes[self.targets]
        return float(nats[sizes > 0].sum(dtype=np.float64) / (math.log(2) * sizes.sum()))

    @property
    def bytes(self) -> int:
        """Of all targets."""
        return int(self.sizes[self.targets].sum())


def read_survey(out: Path) -> Survey:
    """What the process of the survey has written.

    Raises:
        OtherOrder: prepare.py is another than upstream's where it matters.
        OSError, ValueError, KeyError: nothing is there.
    """
    told = json.loads((out / SURVEY).read_text(encoding="utf-8"))
    if told["problem"]:
        raise OtherOrder(told["problem"])
    sizes = np.array(told["bytes"], dtype=np.int64)
    if len(sizes) > _LARGEST_VOCABULARY:
        raise OtherOrder(f"its vocabulary of {len(sizes)} tokens is larger than {_LARGEST_VOCABULARY}")
    inputs, targets, training = (np.fromfile(out / name, dtype=np.int32) for name in (INPUTS, TARGETS, TRAINING))
    inputs, targets = (part.astype(np.uint16).reshape(-1, told["length"]) for part in (inputs, targets))
    if not np.array_equal(inputs[:, 1:], targets[:, :-1]):
        raise OtherOrder("the targets of prepare.py's batches are not the next tokens of their inputs")
    hidden = Path(told["hidden"])
    if not hidden.is_file():  # it would be in reach of train.py
        raise OtherOrder("its validation shard is not the file that DATA_DIR and VAL_FILENAME name")
    return Survey(
        inputs, targets, sizes, training.astype(np.uint16), told["bos"], told["batch"], hidden, told["tokens"]
    )
