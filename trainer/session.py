"""What train.py sees of the referee: four calls, and a few facts that are given, not chosen.

    session = Session()            # vocabulary, sequence length, device, seed
    tokens = session.start()       # the clock starts
    while session.training():      # one optimiser step a turn
        ...
    session.submit(model)          # freezes the weights, ends the clock

This module runs inside train.py's process, so nothing it says is believed: the referee keeps its own clock and its
own copy of the weights. In a *replica* the same train.py runs with no training data: start() gives zeros, training()
is false at once, and submit() loads the frozen weights and answers the audit. Whatever shapes the forward pass must
therefore be in parameters, registered buffers or constants.
"""

import ctypes
import json
import math
import mmap
import os
import random
import resource
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.contract import CLOSE_VARIABLE
from trainer.model_weights import freeze, thaw, unwrapped, writing_seconds
from trainer.run.protocol import Channel, ChannelClosed, Frame, inherited

_REPORT_SECONDS = 0.25
_MAX_FRAME = 1 << 40  # the referee is trusted: its frames are as large as they need to be
_RECENT_STEPS = 10


class Session:
    """One run, seen from train.py."""

    def __init__(self) -> None:
        """Say hello and take the settings.

        Raises:
            RuntimeError: train.py was not started by the server.
        """
        self._channel: Channel = inherited()
        self._channel.send("hello")
        config = self._channel.receive("config").fields
        self.profile: str = config["profile"]
        self.seed: int = config["seed"]
        self.budget_seconds: float = config["budget_seconds"]
        self.sequence_length: int = config["sequence_length"]  # tokens in a row of the evaluation
        self.vocab_size: int = config["vocab_size"]
        self.bos: int = config["bos"]  # the token that starts every document
        self.device = torch.device(config["device"])
        self.steps = 0
        self._replica: bool = config["role"] == "replica"
        self._token_count: int = config["token_count"]
        self._max_steps: int | None = config["max_steps"]  # in a preflight; otherwise the clock alone ends training
        self._clock = _cpu_seconds if config["clock"] == "cpu" else time.monotonic
        self._started: float | None = None
        self._durations: list[float] = []
        self._turned = self._reported = self._kept_back = 0.0  # the last: of the budget, to write the weights
        self._used = 0.0  # seconds of the budget that a long set-up has cost
        self._due = False
        self._told: dict[str, Any] = {}
        if config["traces"]:
            _only_trace()
        self._prepare(config["threads"])

    def _prepare(self, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        random.seed(self.seed)
        torch.manual_seed(self.seed)

    def start(self) -> Tensor:
        """Start the clock and get the training tokens.

        Returns:
            torch.uint16 [N] on the CPU, read-only in spirit: documents one after the other, each starting with `bos`.

        Raises:
            RuntimeError: called twice.
        """
        if self._started is not None:
            raise RuntimeError("session.start() was called twice: the clock starts once")
        tokens = torch.zeros(self._token_count, dtype=torch.uint16) if self._replica else self._receive_tokens()
        self._turned = self._clock()
        self._started = self._turned - self._used
        return tokens

    def _receive_tokens(self) -> Tensor:
        self._kept_back = writing_seconds(self.device, self._clock)
        self._channel.send("start")
        frame = self._channel.receive("tokens")
        self._used, descriptor = float(frame.fields["used"]), frame.descriptor
        assert descriptor is not None
        # A private mapping: writable, so that torch does not warn, and never written back.
        memory = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(descriptor)
        return torch.frombuffer(memory, dtype=torch.uint16)

    def _elapsed(self) -> float:
        if self._started is None:
            raise RuntimeError("call session.start() first: it starts the clock")
        return self._clock() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget used, in [0, 1]; the natural argument of a schedule. On a CPU it counts CPU seconds."""
        return min(self._elapsed() / self.budget_seconds, 1.0)

    def training(self) -> bool:
        """Whether there is time for one more optimiser step and submit(), judged by the slowest of the last ten."""
        if self._replica or self.steps == self._max_steps:
            return False
        if self.device.type == "cuda":
            torch.cuda.synchronize()  # steps are queued: without this the loop runs ahead of the clock
        now, elapsed = self._clock(), self._elapsed()
        if self.steps:
            self._durations = [*self._durations[1 - _RECENT_STEPS :], now - self._turned]
        self._turned = now
        if elapsed + max(self._durations, default=0.0) + self._kept_back > self.budget_seconds:
            return False
        self.steps += 1
        self._due = time.monotonic() - self._reported >= _REPORT_SECONDS
        return True

    @property
    def replica(self) -> bool:
        """Whether this process only answers for weights that were trained elsewhere, and need not be ready to train."""
        return self._replica

    @property
    def has_compiler(self) -> bool:
        """Whether torch.compile finds what it needs: the headers of Python and a compiler, for a GPU (Triton) of C, for
        a CPU of C++. The server has tried it, and says so if it does not work.
        """
        variable, names = ("CC", ("gcc", "clang")) if self.device.type == "cuda" else ("CXX", ("g++",))
        compilers = (os.environ[variable],) if os.environ.get(variable) else names
        headers = os.path.join(sysconfig.get_path("include"), "Python.h")
        works = sys.platform == "linux" and os.environ.get("TORCHDYNAMO_DISABLE") != "1" and os.path.exists(headers)
        return works and any(map(shutil.which, compilers))

    @property
    def due(self) -> bool:
        """Whether the next log() is told to the referee: what costs time to find out is worth it then alone."""
        return self._due

    def log(self, loss: float, tokens: int, **figures: float | None) -> None:
        """Tell what a step did, for the curves and the progress message.

        Args:
            loss: training loss, nats per token. tokens: training tokens of this step.
            figures: `lr`, the learning rate; `grad_norm`, the norm of all gradients. Others are not known.
        """
        self._told |= {name: float(value) for name, value in figures.items() if value is not None}
        self._told["loss"] = float(loss)
        self._told["tokens"] = int(self._told.get("tokens", 0)) + tokens
        if self.due or not math.isfinite(self._told["loss"]):
            self._reported, self._due = time.monotonic(), False
            self._channel.send("step", steps=self.steps, **self._told)

    def submit(self, model: nn.Module) -> None:
        """Freeze the weights, end the clock, and let the referee score the model.

        Args:
            model: model(idx int64 [B, T]) -> logits [B, T, vocab_size], of any float type, compiled or not.

        Raises:
            RuntimeError: called before start(), or the logits have another shape.
        """
        self._elapsed()
        model = unwrapped(model)
        model.eval()
        if self._replica:
            self._channel.send("submit")
            thaw(model, self._channel.receive("weights", limit=_MAX_FRAME).payload, self.device)
        else:
            self._hand_in(model)
        try:
            self._answer(model)
        except ChannelClosed:
            return  # the referee has all it wants

    def _hand_in(self, model: nn.Module) -> None:
        self._channel.send(
            "submit",
            freeze(model).getbuffer(),
            steps=self.steps,
            **self._told,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            matrix_parameters=_matrix_parameters(model),
            told_peak_memory_mb=self._peak_memory_mb(),
        )

    def _peak_memory_mb(self) -> float:
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) counts kilobytes on Linux
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)

    @torch.inference_mode()
    def _answer(self, model: nn.Module) -> None:
        with _eagerly():
            while True:
                self._answer_one(model, self._channel.receive("rows", "probe", "close", limit=_MAX_FRAME))

    def _answer_one(self, model: nn.Module, frame: Frame) -> None:
        if frame.kind == "close":
            return self._close()
        rows = self._rows(frame)
        if frame.kind == "rows":
            logits = self._logits(model, rows[:, :-1])
            losses = F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), reduction="none")
            self._reply("claims", losses)
        else:
            cuts = torch.tensor(frame.fields["cuts"], device=self.device)
            logits = self._logits(model, rows)
            self._reply("logits", logits[torch.arange(len(cuts), device=self.device), cuts])

    def _close(self) -> None:
        """Name no file from here on, in no thread (trainer.sandbox.lookups)."""
        call, address = map(int, os.environ[CLOSE_VARIABLE].split())
        ctypes.CDLL(None).syscall(call, 1, 1, ctypes.c_void_p(address))
        self._channel.send("closed")

    def _rows(self, frame: Frame) -> Tensor:
        flat = torch.frombuffer(frame.payload, dtype=torch.uint16)
        return flat.reshape(frame.fields["shape"]).to(self.device, torch.int64)

    def _logits(self, model: nn.Module, rows: Tensor) -> Tensor:
        logits: Any = model(rows)
        due = (*rows.shape, self.vocab_size)
        if not isinstance(logits, Tensor) or logits.shape != due:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise RuntimeError(f"model(idx) must give logits of shape {due} in eval mode, it gave {found}")
        return logits

    def _reply(self, kind: str, values: Tensor) -> None:
        self._channel.send(kind, values.float().cpu().contiguous().numpy().tobytes())


def _cpu_seconds() -> float:
    """Of this process and the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def machine(device: str) -> dict[str, Any]:
    """What torch computes with on a device that is no CPU. Asked before a line of train.py runs.

    Returns:
        `missing`, what torch lacks for it in words, empty if nothing; and where they are known, `device`, the name of
        the first one, and `threads`.
    """
    if device == "cuda":
        return json.loads(_asked_apart(lambda: json.dumps(_gpu())) or '{"missing": ""}')
    found = "" if device != "mps" or torch.backends.mps.is_available() else "torch sees no Metal"
    return {"missing": found, "threads": torch.get_num_threads()}


def _gpu() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"missing": _without_gpu()}
    named = {"device": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    return named | {"missing": _without_kernels()}


def _asked_apart(question: Callable[[], str]) -> str:
    """The answer of a fork; empty if it ends without one, and train.py will show why.

    The question begins torch's work on the GPU. In this process, what train.py sets for the driver and the allocator
    would then come too late, its own forks would have no GPU, and a replica that waits would hold memory of it.
    """
    reading, writing = os.pipe()
    fork = os.fork()
    if fork == 0:
        try:
            os.write(writing, question().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(fork, 0)
    return told


def _without_gpu() -> str:
    """That torch sees none, and what it says of it: it may be built for a CPU, or for a newer driver."""
    try:
        torch.cuda.init()
    except Exception as error:
        return f"torch sees no GPU ({(str(error).splitlines() or [type(error).__name__])[0][:200]})"
    return "torch sees no GPU"


def _without_kernels() -> str:
    """Why torch has no code for the first GPU, in words; empty if it has: for its architecture, or to translate."""
    name, built_for = torch.cuda.get_device_name(), torch.cuda.get_arch_list()
    if torch.version.hip:
        kind = torch.cuda.get_device_properties(0).gcnArchName.partition(":")[0]
        known = kind in built_for
    else:
        major, minor = torch.cuda.get_device_capability()
        kind = f"sm_{major}{minor}"
        binaries = [arch.removeprefix("sm_").rstrip("af") for arch in built_for if arch.startswith("sm_")]
        sources = [arch.removeprefix("compute_").rstrip("af") for arch in built_for if arch.startswith("compute_")]
        known = any(int(arch[:-1]) == major and int(arch[-1]) <= minor for arch in binaries)
        known = known or any(int(arch) <= 10 * major + minor for arch in sources)
    if known or not built_for:
        return ""
    return f"torch {torch.__version__} has no kernels for {name} ({kind}): it was built for {', '.join(built_for)}"


def _only_trace() -> None:
    """Let torch.compile trace and differentiate, and run the graphs as they are: no code is generated.

    Whatever cannot be compiled fails in seconds, for the same reason as in the run. Other backends are left alone.
    """

    def trace(_: object, graph: Any, inputs: Any, **__: object) -> Any:
        dynamo: Any = sys.modules["torch._dynamo"]  # which has called us
        return dynamo.lookup_backend("aot_eager")(graph, inputs)

    backend: Any = getattr(torch, "_TorchCompileInductorWrapper", None)
    if backend is not None:  # a torch whose own backend is called otherwise compiles for real
        backend.__call__ = trace


def _eagerly() -> AbstractContextManager[Any]:
    """Nothing is compiled in the evaluation: for new shapes that takes longer than all of the rest.

    Asking torch for it imports the compiler, for a second; a train.py without it (and without torch.optim) is spared.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _matrix_parameters(model: nn.Module) -> int:
    """Parameters that are multiplied for every token; a table that is only looked up is none, unless it is tied."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    used = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    return sum(
        parameter.numel()
        for parameter in model.parameters()
        if parameter.ndim > 1 and (id(parameter) not in tables or id(parameter) in used)
    )
