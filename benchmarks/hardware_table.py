"""What each class of machine is computed to hold and to train in five minutes; nothing here was measured.

    python benchmarks/hardware_table.py          # the tables of docs/hardware.md
    python benchmarks/hardware_table.py --write  # renew them there

Memory: two optimiser steps of train.py on fake tensors, which have sizes and no contents; the peak of all that lives at
a time, eager and with AdamW in one kernel. Steps: the card's published peak times a cautious share of it.
"""

import argparse
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.run.profiles import PROFILES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "hardware.md"
SECONDS = 300
VOCABULARY = 8192  # of a prepared data set; the embedded corpus has half of it
LEAST_STEPS = 200
LEAST_TOKENS = 5  # for each parameter that is multiplied; about 20 are compute-optimal (Hoffmann et al. 2022)
SHARE = 0.25  # of the peak: upstream's train.py, of the size of profile gpu, reached 0.398 on an H100 (its README)
METAL_SHARE = 0.2
FRAGMENTS = 1.15  # what the allocator holds beside what is asked for
CONTEXT_GB = 0.8  # CUDA's context, cuBLAS's workspaces, the kernels


@dataclass(frozen=True)
class Card:
    """One device, with the memory that its driver reports and its peak in the type that train.py multiplies in."""

    name: str
    profile: str
    memory_gb: float  # GiB
    capability: str  # of CUDA, or AMD's gfx name; empty: Apple's
    tera: float  # TFLOP/s: dense, sums in float32
    precision: str = "bfloat16"


# Peaks: NVIDIA's data sheets (T4, V100, A2, A10G, A40, A100, L4, L40S, H100, H200, B200) and architecture papers of
# Pascal, Turing, Ampere, Ada and Blackwell (GeForce: tensor cores with sums in float32, half of those in float16);
# AMD's data sheets; Apple's float32 from its announcements (M1 2.6, M1 Max 10.4, M4 Max 18.4).
CARDS = (
    Card("GTX 1050 Ti", "gpu-4gb", 4.0, "6.1", 2.1, "float32"),
    Card("GTX 1650", "gpu-4gb", 3.9, "7.5", 6.0, "float16"),
    Card("RTX 3050 Laptop", "gpu-4gb", 4.0, "8.6", 12.0),
    Card("RTX 2060", "gpu-4gb", 6.0, "7.5", 26.0, "float16"),
    Card("GTX 1080", "gpu-4gb", 8.0, "6.1", 8.9, "float32"),
    Card("RTX 3050", "gpu-8gb", 8.0, "8.6", 18.2),
    Card("RTX 4060", "gpu-8gb", 8.0, "8.9", 30.2),
    Card("RTX 3080", "gpu-8gb", 10.0, "8.6", 59.5),
    Card("RTX 3060", "gpu-12gb", 12.0, "8.6", 25.5),
    Card("RTX 4070", "gpu-12gb", 12.0, "8.9", 58.3),
    Card("RTX 5070", "gpu-12gb", 11.9, "12.0", 61.7),
    Card("Tesla T4", "gpu-12gb", 14.6, "7.5", 65.0, "float16"),
    Card("Tesla V100", "gpu-12gb", 16.0, "7.0", 125.0, "float16"),
    Card("A2", "gpu-16gb", 15.0, "8.6", 18.0),
    Card("RTX 4060 Ti 16 GB", "gpu-16gb", 16.0, "8.9", 44.1),
    Card("RTX 4080", "gpu-16gb", 16.0, "8.9", 97.5),
    Card("RTX 3090", "gpu-24gb", 24.0, "8.6", 71.0),
    Card("A10G", "gpu-24gb", 22.3, "8.6", 70.0),
    Card("L4", "gpu-24gb", 22.5, "8.9", 121.0),
    Card("RTX 4090", "gpu-24gb", 24.0, "8.9", 165.2),
    Card("RX 7900 XTX", "gpu-24gb", 24.0, "gfx1100", 122.8),
    Card("RTX 5090", "gpu-24gb", 31.8, "12.0", 209.5),
    Card("A40", "gpu-48gb", 44.6, "8.6", 149.7),
    Card("L40S", "gpu-48gb", 44.7, "8.9", 362.0),
    Card("MI210", "gpu-48gb", 64.0, "gfx90a", 181.0),
    Card("A100 40 GB", "gpu", 39.5, "8.0", 312.0),
    Card("H100 80 GB", "gpu", 79.6, "9.0", 989.4),
    Card("H200", "gpu", 139.8, "9.0", 989.4),
    Card("B200", "gpu", 178.0, "10.0", 2250.0),
    Card("MI300X", "gpu", 191.7, "gfx942", 1307.0),
    Card("M1, 8 GB", "mps-8gb", 8.0, "", 2.6, "float32"),
    Card("M1, 16 GB", "mps-16gb", 16.0, "", 2.6, "float32"),
    Card("M1 Max, 64 GB", "mps", 64.0, "", 10.4, "float32"),
    Card("M4 Max, 64 GB", "mps", 64.0, "", 18.4, "float32"),
)


Machine = tuple[int, int, int, int, int]  # depth, width, head_dim, batch rows, micro rows: a row of train.py's MACHINES


@dataclass(frozen=True)
class Size:
    """What train.py is on one class of machine."""

    depth: int
    width: int
    batch_tokens: int
    micro_rows: int
    parameters: int
    multiplied: int  # parameters that take part in a product for every token
    flop: float  # a token, forward and backward
    peak_gb: float  # GiB that live at a time, at most

    @property
    def needed_gb(self) -> float:
        """GiB that the device must have: with the allocator's fragments and CUDA's context."""
        return self.peak_gb * FRAGMENTS + CONTEXT_GB


class _Started(Exception):
    """train.py's set-up is over."""


class _Session:
    """The facts that train.py is given; a replica, so that it does not warm up."""

    replica = True
    budget_seconds = float(SECONDS)
    vocab_size = VOCABULARY
    device = torch.device("cpu")

    def __init__(self, profile: str) -> None:
        self.profile, self.sequence_length = profile, PROFILES[profile].sequence_length

    def start(self) -> Tensor:
        raise _Started


class _Memory(TorchDispatchMode):
    """Bytes of all tensors that live, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _tensors(made: Any) -> Iterator[Tensor]:
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, tuple | list):
        for one in made:
            yield from _tensors(one)


@cache
def size(profile: str, precision: str = "bfloat16", machine: Machine | None = None) -> Size:
    """What train.py is and needs on a class of machine, where matrices are multiplied in `precision`.

    Args:
        machine: in place of what train.py's MACHINES says of the profile.

    Raises:
        RuntimeError: shapes in train.py do not fit each other.
    """
    module = ModuleType("train")
    module.__dict__["Session"] = lambda: _Session(profile)
    with FakeTensorMode(allow_non_fake_inputs=True), _Memory() as memory:
        try:
            exec(compile(_as_on_a_gpu(precision, machine), "train.py", "exec"), module.__dict__)
        except _Started:
            pass
        train: Any = module
        rows = torch.zeros(train.MICRO_ROWS, train.session.sequence_length + 1, dtype=torch.int64)
        for parts in (1, min(2, train.BATCH_ROWS // train.MICRO_ROWS)):  # the second finds the optimisers' memory taken
            try:
                train.train_step([rows] * parts, 1.0)
            except DataDependentOutputException:  # the loss at the end of the step has no value
                pass
    multiplied = sum(one.weight.numel() for one in train.model.modules() if isinstance(one, nn.Linear))
    attention = 6 * train.DEPTH * train.WIDTH * train.session.sequence_length  # causal: half of all pairs
    return Size(
        depth=train.DEPTH,
        width=train.WIDTH,
        batch_tokens=train.BATCH_ROWS * train.session.sequence_length,
        micro_rows=train.MICRO_ROWS,
        parameters=sum(parameter.numel() for parameter in train.model.parameters()),
        multiplied=multiplied,
        flop=6.0 * multiplied + attention,
        peak_gb=memory.most / 2**30,
    )


def _as_on_a_gpu(precision: str, machine: Machine | None) -> str:
    """train.py with the choices of a GPU on fake tensors that are called a CPU's: a torch without CUDA has no others.

    The CPU's attention kernel keeps what flash attention keeps: queries, keys, values, results and a number a row.
    """
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    for pattern, value in {
        r"from trainer import Session\n": "",
        r"\.to\(device\)\nupdates": "\nupdates",
        r"(?m)^GPU = .*$": "GPU = True",
        r"(?m)^PRECISION = .*$": f"PRECISION = torch.{precision}",
        r"(?m)^FLOAT32_ATTENTION = .*$": "FLOAT32_ATTENTION = False",
        r"(?m)^COMPILE = .*$": "COMPILE = False",
        r"(?m)^WORTH_COMPILING = .*$": "WORTH_COMPILING = False",
        r"MACHINES\[session\.profile\]": repr(machine) if machine else "MACHINES[session.profile]",
        r"(?m)^scaler = .*$": 'scaler = torch.amp.GradScaler("cpu", enabled=False)',
    }.items():
        text, count = re.subn(pattern, value, text)
        assert count == 1, f"train.py has changed: {pattern}"
    return text


def tokens(card: Card, of: Size) -> float:
    """That the card is computed to train on in the budget."""
    return card.tera * 1e12 * (SHARE if card.capability else METAL_SHARE) / of.flop * SECONDS


def enough(card: Card, of: Size) -> bool:
    """Whether the card can train a model of this size in the budget: in steps, and in tokens a parameter."""
    seen = tokens(card, of)
    return seen >= LEAST_STEPS * of.batch_tokens and seen >= LEAST_TOKENS * of.multiplied


def size_of_class(profile: str) -> Size:
    """What train.py is and needs on a class of machine, in the widest type that a card of the class computes in."""
    wide = any(card.precision == "float32" for card in CARDS if card.profile == profile)
    return size(profile, "float32" if wide else "bfloat16")


def classes() -> Iterator[str]:
    """The table of the classes, line by line."""
    yield "| profile | depth, width | rows a step, tokens a row (rows at once) | parameters (multiplied) | memory | |"
    yield "|---|---|---|---|---|---|"
    for name in dict.fromkeys(card.profile for card in CARDS):
        of, length = size_of_class(name), PROFILES[name].sequence_length
        rows = f"{of.batch_tokens // length}, {length} ({of.micro_rows})"
        counts = f"{of.parameters / 1e6:.1f} M ({of.multiplied / 1e6:.1f} M)"
        yield f"| `{name}` | {of.depth}, {of.width} | {rows} | {counts} | {of.needed_gb:.1f} GB | computed |"


def cards() -> Iterator[str]:
    """The table of the cards, line by line."""
    yield "| card | memory | kind | peak, TFLOP/s | profile | steps | tokens | tokens a parameter | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    sizes = {name: size_of_class(name) for name in dict.fromkeys(card.profile for card in CARDS)}
    for card in CARDS:
        of = sizes[card.profile]
        seen = tokens(card, of)
        told = "computed" if enough(card, of) else "computed; too slow for its class"
        figures = f"{seen / of.batch_tokens:,.0f} | {seen / 1e6:.0f} M | {seen / of.multiplied:.1f} | {told}"
        kind = card.capability or "Metal"
        peak = f"{card.tera:g} {card.precision}"
        yield f"| {card.name} | {card.memory_gb:g} GB | {kind} | {peak} | `{card.profile}` | {figures} |"


def page(text: str) -> str:
    """The page with both tables renewed, each between its marks."""
    for mark, lines in (("classes", classes()), ("cards", cards())):
        table = "\n".join(lines)
        text = re.sub(rf"(?s)(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", rf"\g<1>{table}\n\g<2>", text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="renew the tables of docs/hardware.md")
    if parser.parse_args().write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    print("\n".join([*classes(), "", *cards()]))


if __name__ == "__main__":
    main()
