"""What compressors and an n-gram make of the validation text, in bits per byte: so that a val_bpb means something.

    python benchmarks/references.py

A compressor is given the training text first: its figure is what the validation text adds to the compressed training
text. The n-gram (bytes, order 5, Witten-Bell) is counted on the training text alone and does not learn further.
"""

import bz2
import lzma
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable

from trainer.datasets import corpus
from trainer.datasets.corpus import Split

ORDER = 5  # bytes of context
XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]


def text(split: Split) -> bytes:
    return b"".join(document.text.encode() for document in corpus.documents() if document.split is split)


def zstd(data: bytes) -> bytes:
    command = ["zstd", "--ultra", "-22", "--long=27", "--stdout", "--quiet"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def given(train: bytes, val: bytes, compress: Callable[[bytes], bytes]) -> float:
    """Bits per byte of `val` for who knows `train` already."""
    return 8 * (len(compress(train + val)) - len(compress(train))) / len(val)


def witten_bell(train: bytes, val: bytes) -> float:
    """Bits per byte of `val` by an n-gram whose every order is mixed with the next lower one."""
    chance = [1 / 256] * (len(val) - ORDER)
    for order in range(ORDER + 1):
        seen = Counter(train[i : i + order + 1] for i in range(len(train) - order))
        total, kinds = Counter[bytes](), Counter[bytes]()
        for gram, count in seen.items():
            total[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        for i in range(ORDER, len(val)):
            context = val[i - order : i]
            if context in total:
                mixed = seen[val[i - order : i + 1]] + kinds[context] * chance[i - ORDER]
                chance[i - ORDER] = mixed / (total[context] + kinds[context])
    return -sum(map(math.log2, chance)) / len(chance)


def main() -> None:
    train, val = text(Split.TRAIN), text(Split.VAL)
    print(f"validation text {len(val):,} bytes, training text {len(train):,} bytes; bits per byte")
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "xz -9e, 64 MiB dictionary": lambda data: lzma.compress(data, filters=XZ),
        "bzip2 -9": bz2.compress,
    }
    if shutil.which("zstd"):
        compressors["zstd --ultra -22 --long=27"] = zstd
    for name, compress in compressors.items():
        alone = given(b"", val, compress)
        print(f"{name}: alone {alone:.3f}, given the training text {given(train, val, compress):.3f}", flush=True)
    print(f"byte n-gram of order {ORDER}: {witten_bell(train, val):.3f}")


if __name__ == "__main__":
    main()
