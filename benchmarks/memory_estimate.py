"""The GPU memory that a train.py needs, from one optimiser step on fake tensors: no GPU, no arithmetic, seconds.

    python benchmarks/memory_estimate.py [--profile gpu] [--vocab 8192] [--machine 9,512,128,256,64]

The whole file runs as it is, with a stand-in for the session, on tensors that have a shape and no contents. So an error
of shapes shows here too. Nothing is compiled, and a compiler fuses what is counted here one by one: a real run needs
less for activations, and about half a gigabyte more for the CUDA context and the allocator's own.
"""

import argparse
import ast
import contextlib
import io
import os
import sys
import weakref
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import trainer
from trainer.run.profiles import PROFILES

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
Machine = tuple[int, int, int, int, int]  # depth, width, head_dim, batch rows, micro rows: a row of train.py's MACHINES
_TOKENS = 2_000_000  # of the training text that stands on the device


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device, of one optimiser step that is not compiled."""

    parameters: int  # their number, not bytes
    weights: int  # parameters and buffers
    gradients: int
    optimiser: int  # its state between two steps
    activations: int  # the peak less all of the above
    peak: int
    batch_tokens: int

    @property
    def peak_gb(self) -> float:
        return self.peak / 2**30


def estimate(
    text: str, profile: str, vocab_size: int = 8192, budget: float = 300.0, machine: Machine | None = None
) -> Estimate:
    """Trace one optimiser step of `text`, a train.py, as it would run on a GPU.

    Args:
        profile: name of one of the trainer's profiles. budget: training seconds that train.py is told of.
        machine: in place of what train.py's MACHINES says of the profile.

    Raises:
        Whatever the text raises: a shape that does not fit is a RuntimeError of torch.
    """
    tree = _OnGpu(machine).visit(ast.parse(text))
    code = compile(ast.fix_missing_locations(tree), "train.py", "exec")
    session = _Session(profile, vocab_size, budget)
    with _as_on_gpu(), mock.patch.object(trainer, "Session", lambda: session, create=True):
        with FakeTensorMode(), _Ledger() as ledger, _Fixed():
            session.ledger = ledger
            exec(code, {"__name__": "__main__"})
    assert session.found is not None, "train.py never submitted a model"
    return session.found


class _Session:
    """What train.py sees of a session: one step, and then it submits."""

    def __init__(self, profile: str, vocab_size: int, budget: float) -> None:
        self.profile, self.vocab_size, self.budget_seconds = profile, vocab_size, budget
        self.sequence_length, self.bos, self.seed = PROFILES[profile].sequence_length, 0, 42
        self.device, self.steps, self.progress, self.due = torch.device("cpu"), 0, 0.5, True
        self.ledger: _Ledger
        self.found: Estimate | None = None
        self._tokens = 0

    def start(self) -> Tensor:
        self.ledger.restart()  # the warm-up is over
        return torch.zeros(_TOKENS, dtype=torch.uint16)

    def training(self) -> bool:
        self.steps += 1
        return self.steps <= 1

    def log(self, loss: float, tokens: int, **_figures: float | None) -> None:
        self._tokens = tokens

    def submit(self, model: nn.Module) -> None:
        parameters = list(model.parameters())
        weights = sum(map(_size, parameters)) + sum(map(_size, model.buffers()))
        optimiser, gradients = self.ledger.optimiser, sum(map(_size, parameters))
        rest = self.ledger.peak - weights - gradients
        peak = self.ledger.peak + optimiser  # it has no state yet while the first step's activations live
        count = sum(parameter.numel() for parameter in parameters)
        self.found = Estimate(count, weights, gradients, optimiser, rest, peak, self._tokens)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _Ledger(TorchDispatchMode):
    """Bytes of all storages that live, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()
        self._optimisers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        torch.optim.Optimizer.__init__ = self._noting(torch.optim.Optimizer.__init__)

    @property
    def optimiser(self) -> int:
        """Bytes of the states of all optimisers."""
        states = (state for one in self._optimisers for state in one.state.values())
        return sum(_size(value) for state in states for value in state.values() if isinstance(value, Tensor))

    def restart(self) -> None:
        self.peak = self.live

    def __exit__(self, *raised: Any) -> None:
        torch.optim.Optimizer.__init__ = torch.optim.Optimizer.__init__.__wrapped__
        super().__exit__(*raised)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in tree_iter(found):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def _noting(self, made: Any) -> Any:
        def init(optimiser: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            self._optimisers.add(optimiser)
            made(optimiser, *args, **kwargs)

        init.__wrapped__ = made  # type: ignore[attr-defined]
        return init


class _Fixed(TorchFunctionMode):
    """A tensor without contents has no value that Python could see: it is one."""

    _SEEN = frozenset({Tensor.item, Tensor.__float__})

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self._SEEN:
            return 1.0 if args[0].is_floating_point() else 1
        return function(*args, **(kwargs or {}))


class _OnGpu(ast.NodeTransformer):
    """train.py asks for the kind of its device: answered as on a GPU, which a CPU build of torch cannot fake."""

    def __init__(self, machine: Machine | None) -> None:
        self._machine = machine

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        match node:
            case ast.Compare(ast.Attribute(attr="type"), [ast.Eq()], [ast.Constant(str() as kind)]):
                return ast.copy_location(ast.Constant(kind == "cuda"), node)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        match node:
            case ast.Subscript(ast.Name("MACHINES"), ast.Attribute(attr="profile")) if self._machine is not None:
                return ast.copy_location(ast.parse(repr(self._machine), mode="eval").body, node)
        return self.generic_visit(node)


@torch.no_grad()
def _convert(module: nn.Module, function: Any, recurse: bool = True) -> nn.Module:
    """nn.Module._apply, which would swap fake tensors in place and cannot."""
    for part in module.modules() if recurse else [module]:
        for name, parameter in part._parameters.items():
            if parameter is not None and (found := function(parameter)) is not parameter:
                part._parameters[name] = nn.Parameter(found, parameter.requires_grad)
        part._buffers.update({name: function(buffer) for name, buffer in part._buffers.items() if buffer is not None})
    return module


@contextlib.contextmanager
def _as_on_gpu() -> Generator[None]:
    """A GPU that has bfloat16 and no compiler, and nothing said about it."""
    with (
        mock.patch.dict(os.environ, {"TORCHDYNAMO_DISABLE": "1"}),
        mock.patch.object(nn.Module, "_apply", _convert),
        mock.patch.object(torch.cuda, "is_bf16_supported", lambda **_: True),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=TRAIN)
    parser.add_argument("--profile", choices=PROFILES, default="gpu")
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--machine", help="depth,width,head_dim,batch,micro in place of MACHINES")
    options = parser.parse_args()
    machine: Any = tuple(map(int, options.machine.split(","))) if options.machine else None
    found = estimate(options.train.read_text(encoding="utf-8"), options.profile, options.vocab, machine=machine)
    for name, value in asdict(found).items():
        counted = name in ("parameters", "batch_tokens")
        print(f"{name:13} {value:>14,}" if counted else f"{name:13} {value / 2**30:>14.3f} GiB")


if __name__ == "__main__":
    main()
