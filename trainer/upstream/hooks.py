"""Runs upstream's train.py with two functions of prepare.py swapped, under the workspace's own interpreter.

    python hooks.py survey PREPARE OUT MOST           no code under test: what the evaluation is made of
    python hooks.py train PREPARE OUT                 the first training batch starts the clock, evaluate_bpb hands in
    python hooks.py replica PREPARE WEIGHTS HANDED    train.py up to its data; then logits for rows, as asked

Standard library and the workspace's torch: nothing else of ours is there. Where train.py runs, nothing here is trusted:
what counts is what the referee sees from outside, and what it asks a process that does not know the answers.
"""

import array
import contextlib
import ctypes
import importlib.util
import inspect
import json
import math
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TRAIN = "train.py"
STARTED = "started"
WEIGHTS = "weights.pt"
HANDED = "handed.json"
SURVEY = "survey.json"
INPUTS = "inputs.bin"  # int32, as the two below
TARGETS = "targets.bin"
TRAINING = "training.bin"
LOGITS = "logits.bin"  # float32
_MOST_ROWS = 16  # of a batch
_TRAINING_TOKENS = 1 << 17
_WRAPPED = "_orig_mod."  # what torch.compile puts before the names of weights


class OtherOrder(Exception):
    """The two files do not call each other as upstream's do. The text says where they differ."""


class Reached(BaseException):
    """train.py has come to its data: its model is made. No `except Exception` of its takes this for a failure."""


def main(role: str, prepare: str, *rest: str) -> None:
    """Act in one of the three roles."""
    sys.path[0], sys.argv = os.getcwd(), [TRAIN]  # as for `python train.py`
    if role == "survey":
        Survey(_load(prepare), int(rest[1])).write(Path(rest[0]))
    elif role == "train":
        _train(_load(prepare), Path(rest[0]))
    else:
        _serve(_replica(prepare, *map(Path, rest)))


def _load(path: str) -> Any:
    """prepare.py as the module that `import prepare` will find."""
    spec = importlib.util.spec_from_file_location("prepare", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare"] = module
    spec.loader.exec_module(module)
    return module


class Survey:
    """The evaluation of a prepare.py, run on a model of ours that takes note of what it is asked."""

    def __init__(self, prepare: Any, most_bytes: int) -> None:
        """`most_bytes`: of logits in float32; the evaluation is shortened to as many rows as have no more."""
        self._prepare, self._most_bytes = prepare, most_bytes
        self._inputs, self._targets = array.array("i"), array.array("i")
        self._length = self._nats = 0

    def write(self, out: Path) -> None:
        """What the referee needs, as files in `out`; the last one has a `problem` where it cannot be had."""
        try:
            told = self._told(out)
        except OtherOrder as other:
            told = {"problem": str(other)}
        except Exception as error:  # the repository's own, or a machine without its GPU
            told = {"problem": f"prepare.py cannot be asked what its evaluation is: {type(error).__name__}: {error}"}
        (out / SURVEY).write_text(json.dumps(told), encoding="utf-8")

    def _told(self, out: Path) -> dict[str, Any]:
        prepare = self._prepare
        sizes = [int(size) for size in self._named("get_token_bytes")().tolist()]
        folder, name = self._named("DATA_DIR"), self._named("VAL_FILENAME")
        tokenizer, length, wanted = self._named("Tokenizer").from_directory(), prepare.MAX_SEQ_LEN, prepare.EVAL_TOKENS
        rows = max(1, min(wanted, self._most_bytes // (4 * len(sizes))) // length)
        batch = next(size for size in range(min(_MOST_ROWS, rows), 0, -1) if rows % size == 0)
        prepare.EVAL_TOKENS = rows * length
        found = float(prepare.evaluate_bpb(self, tokenizer, batch))
        self._require_bits_per_byte(found, sizes)
        training = self._training(tokenizer, batch, length)
        for file, numbers in ((INPUTS, self._inputs), (TARGETS, self._targets), (TRAINING, training)):
            (out / file).write_bytes(numbers.tobytes())
        bos = getattr(tokenizer, "get_bos_token_id", lambda: -1)()
        told = {"length": self._length, "batch": batch, "bytes": sizes, "bos": int(bos), "tokens": int(wanted)}
        return {**told, "hidden": os.path.realpath(os.path.join(folder, name)), "problem": ""}

    def _named(self, name: str) -> Any:
        if not hasattr(self._prepare, name):
            raise OtherOrder(f"prepare.py has no {name}, as upstream's has")
        return getattr(self._prepare, name)

    def _training(self, tokenizer: Any, batch: int, length: int) -> "array.array[int]":
        """Training text, to be put in place of what comes later."""
        found = array.array("i")
        loader = self._prepare.make_dataloader(tokenizer, batch, length, "train")
        while len(found) < _TRAINING_TOKENS:
            found.extend(next(loader)[0].flatten().tolist())
        return found

    def __call__(self, x: Any, y: Any = None, reduction: str = "mean") -> Any:
        """A loss that is known, for each target; as upstream's model has it."""
        if y is None or reduction != "none" or tuple(x.shape) != tuple(y.shape) or x.dim() != 2:
            raise OtherOrder("evaluate_bpb does not ask for model(x, y, reduction='none')")
        self._length = int(x.shape[1])
        self._inputs.extend(x.flatten().tolist())
        self._targets.extend(y.flatten().tolist())
        return 1.0 + (y.flatten() % 7).float() / 7

    def _require_bits_per_byte(self, found: float, sizes: list[int]) -> None:
        """Whether evaluate_bpb divides the nats of targets that have bytes by those bytes."""
        nats = sum(1.0 + (target % 7) / 7 for target in self._targets if sizes[target])
        size = sum(sizes[target] for target in self._targets)
        if not size or not math.isclose(found, nats / (math.log(2) * size), rel_tol=1e-3):
            raise OtherOrder("evaluate_bpb is not the nats of its targets over their bytes")


class _Loader:
    """A training loader that says when its first batch is asked for."""

    def __init__(self, loader: Any, begin: Callable[[], None]) -> None:
        self._loader, self._begin = loader, begin

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._begin()
        return next(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _train(prepare: Any, out: Path) -> None:
    """Run train.py until it evaluates: that is its submission, and the end of the process."""
    make_dataloader = prepare.make_dataloader

    def begin() -> None:
        (out / STARTED).touch()

    def loading(*args: Any, **named: Any) -> Any:
        loader = make_dataloader(*args, **named)
        return _Loader(loader, begin) if "train" in (*args, *named.values()) else loader

    def submit(model: Any, *_args: Any, **_named: Any) -> None:
        _hand_in(model, out)

    prepare.make_dataloader, prepare.evaluate_bpb = loading, submit
    runpy.run_path(TRAIN, run_name="__main__")


def _hand_in(model: Any, out: Path) -> None:
    import torch

    told: dict[str, Any] = {"problem": "", "early": not (out / STARTED).exists(), "name": _name_of(model)}
    told["peak_vram_mb"] = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    try:
        device = next(model.parameters()).device.type
        told["autocast"] = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else ""
        torch.save(_unwrapped(model.state_dict()), out / WEIGHTS)
    except Exception as error:
        told["problem"] = f"the model of evaluate_bpb has no weights to hand in: {type(error).__name__}: {error}"
    (out / HANDED).write_text(json.dumps(told), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def _unwrapped(weights: dict[str, Any]) -> dict[str, Any]:
    return {name.replace(_WRAPPED, ""): value for name, value in weights.items()}


def _name_of(model: Any) -> str:
    """What the model is called where evaluate_bpb is called."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "__main__" and frame.f_code.co_filename.endswith(TRAIN):
            for name, value in (*frame.f_locals.items(), *frame.f_globals.items()):
                if value is model:
                    return name
        frame = frame.f_back
    return ""


def _replica(prepare: str, weights: Path, handed: Path) -> Callable[[Any], Any]:
    """The model of train.py with the weights that were handed in: takes rows, gives logits.

    Where train.py has no such model when it comes to its data, that says so when it is asked. Standard output is kept
    for the answers.
    """
    answers = os.dup(1)
    os.dup2(2, 1)  # what train.py prints is no answer
    sys.stdout = os.fdopen(answers, "w", encoding="utf-8", buffering=1)
    module, told = _load(prepare), json.loads(handed.read_text(encoding="utf-8"))

    def reached(*_args: Any, **_named: Any) -> None:
        raise Reached

    module.make_dataloader = module.evaluate_bpb = reached
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return _loaded(_made(told["name"]), weights, told["autocast"])
    except OtherOrder as other:
        why = str(other)

    def refused(_rows: Any) -> None:
        raise OtherOrder(why)

    return refused


def _made(name: str) -> Any:
    """The model of this name, as it is when train.py comes to its data. Raises OtherOrder."""
    try:
        runpy.run_path(TRAIN, run_name="__main__")
    except Reached as stop:
        return _found(stop, name)
    raise OtherOrder("train.py ends without asking prepare.py for data")


def _found(stop: Reached, name: str) -> Any:
    frames, trace = [], stop.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        for names in (frame.f_locals, frame.f_globals):
            if frame.f_code.co_filename.endswith(TRAIN) and hasattr(names.get(name), "load_state_dict"):
                return names[name]
    raise OtherOrder(f"train.py has no model `{name}` yet when it asks for its first data: upstream's makes it before")


def _loaded(model: Any, path: Path, autocast: str) -> Callable[[Any], Any]:
    import torch

    known = {name.replace(_WRAPPED, ""): name for name in model.state_dict()}
    weights = torch.load(path, map_location="cpu", weights_only=True)
    try:
        model.load_state_dict({known.get(name, name): value for name, value in weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise OtherOrder(f"the model that train.py makes does not take its own weights: {error}") from error
    model.eval()
    device = next(model.parameters()).device
    dtype = getattr(torch, autocast.rpartition(".")[2]) if autocast else None

    def logits(rows: list[list[int]]) -> Any:
        kind = torch.autocast(device.type, dtype=dtype) if dtype else contextlib.nullcontext()
        with torch.no_grad(), kind:
            return model(torch.tensor(rows, dtype=torch.long, device=device))

    return logits


def _serve(logits: Callable[[Any], Any]) -> None:
    """Answer each line {"rows", "cuts"}: the logits at each row's cut, or all of them, lie in a file."""
    for line in sys.stdin:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                told = _answer(logits, **json.loads(line))
        except OtherOrder as other:
            told = {"problem": str(other)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _answer(logits: Callable[[Any], Any], rows: list[list[int]], cuts: list[int] | None) -> dict[str, Any]:
    try:
        found = logits(rows)
    except (TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        if "memory" in str(error):
            raise
        raise OtherOrder(f"its model cannot be asked for logits: {type(error).__name__}: {error}") from error
    if not hasattr(found, "dim") or found.dim() != 3:
        raise OtherOrder("model(x) does not return logits of three dimensions")
    if cuts is not None:
        found = found[list(range(len(cuts))), cuts]
    _dump(found, Path.home() / LOGITS)
    return {"problem": "", "shape": list(found.shape)}


def _dump(values: Any, path: Path) -> None:
    """Write a tensor as float32; by its address, for numpy may not be there."""
    flat = values.detach().float().cpu().contiguous()
    size = flat.numel() * 4
    with path.open("wb") as file:
        file.write((ctypes.c_char * size).from_address(flat.data_ptr()))


if __name__ == "__main__":
    main(*sys.argv[1:])
