"""One trial of train.py, from launch to claims that were audited. The protocol, each line a frame or its answer:

    ready -> go               confined, and nothing of train.py has run yet
    hello -> config           set-up: build, compile, warm up; off the clock, but bounded
    start -> tokens           the clock starts when the training tokens are handed over, at what set-up took too long
    step*                     progress, as told by train.py
    submit + weights          the clock ends when the weights begin to arrive (trainer.run.deadline)
    rows -> claims            -log p of every token of the rows, by the process that trained
    probe -> logits           the same from a replica that cannot remember (trainer.evaluators.audit)

The candidate and all its descendants are dead before a line of train.py runs in the replica: the two never meet.
"""

import math
import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract import AUDIT_FAILED, ScratchRole, Spec
from trainer.datasets.embedded import Shards
from trainer.evaluators import audit
from trainer.evaluators.file_traces import FileTraces, Neighbours, can_be_closed, require_idle
from trainer.evaluators.questions import EvaluationPlan, Questions
from trainer.processes import scratch
from trainer.processes.gpu_monitor import GpuMonitor
from trainer.processes.process_tree import kill_descendants
from trainer.processes.usage import METER, Usage, free_memory_mb
from trainer.run.child import ChildProcess, known_figures, launched
from trainer.run.clock import RunEnded, StageClock, evasion
from trainer.run.deadline import Deadline, allowed, check_readings, rebuilding
from trainer.run.early_stop import EarlyStop
from trainer.run.failure_cause import BROKEN
from trainer.run.profiles import LEAST_WALL_SECONDS, PROFILES, WALL_SHARE
from trainer.run.run_folder import RunFolder
from trainer.run.run_log import RunLog
from trainer.run.throughput import throughput

_FOR_OTHERS = {"lr", "matrix_parameters"}  # told for the curve and the throughput
MAX_WEIGHTS = 16 << 30  # bytes
_BY_MACHINES = ("crashed", "oom")  # how a process ends for which a machine may be to blame
_GROWTH_MB = 512  # of memory that an evaluation may need beyond one and a half times the training's


class Trial:
    """One pass; the caller ends the processes, whatever happens."""

    def __init__(self, run_folder: RunFolder, spec: Spec, shards: Shards, log: RunLog, traces: FileTraces) -> None:
        self._run_folder, self._spec, self._shards, self._log = run_folder, spec, shards, log
        self._traces, self._launcher = traces, traces.launcher
        self._profile = PROFILES[spec.profile]
        self.stage = StageClock(run_folder)
        self.figures: dict[str, float | int | str | None] = {}
        self.guards: dict[str, str] = {}
        self._kernels = Path(spec.kernels) if spec.kernels else None
        self.folders: dict[str, Path] = {}  # scratch folder of each role
        self.gpu_monitor: GpuMonitor | None = None
        self.children: list[ChildProcess] = []
        self._neighbours = Neighbours(self.stage, spec, traces.launcher, shared="node_name" in run_folder.standing)
        self._usages: list[Usage] = []  # of the candidate, and of the replica once that is asked
        self._read: Callable[[], float] = lambda: self.stage.elapsed  # seconds of the profile's clock, as they are now
        self._used = 0.0  # seconds of the budget that a long set-up has cost
        self._trained_mb = math.inf  # memory in MiB by the end of the training
        self._handed_in = 0.0  # by this clock: when the last byte of the weights was here

    def prepare(self, plan: EvaluationPlan) -> None:
        """Once before the pass, on no clock. Raises RunEnded: somebody cancelled the run."""
        if plan.secret:  # a rehearsal gives no score; what it could find, or leave, is erased after it
            self.guards |= self._traces.erase(self.stage.watch)
        self.guards |= self._neighbours.join()

    def run(self, plan: EvaluationPlan) -> NDArray[np.float32]:
        """The whole pass.

        Returns:
            -log p of every target of the rows in nats, float32 [R, T], as claimed, and found to hold.

        Raises:
            RunEnded: every other end; `figures` then holds what was known by then.
        """
        candidate, replica = self._set_up(plan)
        weights = self._train(candidate, plan)
        if self.gpu_monitor:
            self.gpu_monitor.end()
        if self._kernels and self._spec.keeps_kernels:
            scratch.save_kernels(self.folders["candidate"], self._kernels)  # it has not seen validation text yet
        if plan.secret:
            self._neighbours.send_to_rest()
        submitted, used = time.monotonic(), self._usages[0].read(now=True)
        claims = self._shown(candidate, replica.pid, plan)
        used = self._usages[0].read(now=True) - used
        candidate.close()
        self._end(ScratchRole.CANDIDATE, plan, spared=replica.pid)
        used += self._audit(replica, weights, plan, claims)
        # To a tenth of a second: train.py could tell what it saw by how long it took.
        self.figures["evaluation_seconds"] = round(time.monotonic() - submitted, 1)
        self.figures["evaluation_cpu_seconds"] = round(used, 1)
        return claims

    def _shown(self, candidate: ChildProcess, spared: int, plan: EvaluationPlan) -> NDArray[np.float32]:
        """What the candidate claims of the rows. From here on it says and leaves nothing else."""
        if plan.secret:
            self._log.mute()
            candidate.redact_output()
        self.stage.enter("evaluation", self._spec.evaluation_seconds, "the evaluation")
        # CPU seconds count from the weights on, also those between two batches; of wall time the referee takes its own.
        readings = [self._handed_in if self._counted else self._read()]
        with self._must_answer(plan):
            others = self._close_files(candidate, "rows", frozenset({spared}), readings)
            return self._claims(candidate, plan.rows, others, readings)

    def _set_up(self, plan: EvaluationPlan) -> tuple[ChildProcess, ChildProcess]:
        """Start candidate and replica, and let the candidate come to its `start`."""
        started, self.gpu_monitor = time.monotonic(), GpuMonitor() if self._profile.device == "cuda" else None
        self.stage.strangers = self.gpu_monitor.strangers if self.gpu_monitor else None
        self.stage.enter("setup", self._spec.setup_seconds, "set-up, before session.start(),")
        candidate, replica = self._launch(ScratchRole.CANDIDATE, plan), self._launch(ScratchRole.REPLICA, plan)
        for child in (candidate, replica):
            self._check_guards(child.ready())
            self._traces.remember(child)
            self.figures |= child.machine
        usage, begun = self._measure(candidate, spared=replica.pid), time.monotonic()
        candidate.tell("go")
        replica.tell("import")  # and no more: its imports cost no time, as they pass while the candidate has its own
        self._greet(candidate, "candidate", plan)
        candidate.expect("start")
        self.figures["setup_seconds"] = round(time.monotonic() - started, 3)
        self.figures["setup_cpu_seconds"] = round(usage.read(now=True), 3)
        if plan.secret and (free := self._spec.setup_allowed) is not None:
            taken = usage.read() if self._counted else time.monotonic() - begun
            self._used = max(0.0, taken - free)
        return candidate, replica

    def close(self) -> None:
        """Once all processes are dead: give back what was made to measure them, and let other runs go on."""
        self._neighbours.leave()
        for usage in self._usages:
            usage.close()

    @property
    def _counted(self) -> bool:
        """Whether the budget is CPU seconds."""
        return self._profile.clock == "cpu"

    def _measure(self, child: ChildProcess, spared: int) -> Usage:
        """Begin to measure what a process and all it starts use; before it may run a line of train.py.

        Raises:
            RunEnded: not every CPU second can be counted, and the operator asks for sealed runs.
        """
        filtered = self.guards.get("network", "")
        usage = Usage(child.pid, spared, self._launcher.pids, self._counted, filtered)
        self._usages.append(usage)
        self.stage.look = usage.read
        if self._counted:
            self._check_guards({METER: usage.state if self._spec.confine else filtered})
        return usage

    def _end(self, role: ScratchRole, plan: EvaluationPlan, spared: int = 0) -> None:
        """End all processes but `spared` and remove a folder: even a file's size could tell the next one something."""
        if left := kill_descendants(self._spec.cookie, spared=self._launcher.pids | {spared}):
            told = f"Processes of train.py cannot be ended: {', '.join(map(str, left))}. Is a driver in trouble?"
            raise RunEnded("env_fail", told, cause="unkillable")
        try:
            scratch.remove(self.folders[role])
        except OSError as error:
            outcome = "env_fail" if error.errno in BROKEN else "invalid"  # a disk that fails is not train.py's fault
            raise RunEnded(outcome, f"train.py left files that cannot be removed: {error.strerror}.") from error
        if plan.secret:
            self.guards |= self._traces.erase(self.stage.watch)

    def _close_files(
        self, child: ChildProcess, kind: str, spared: frozenset[int], readings: list[float]
    ) -> dict[int, str]:
        """Let the process name no file from here on; a reading of the clock before that joins `readings`.

        It answers for training text first: what it loads when a batch comes is loaded then.

        Returns:
            The processes beside it, which are stopped, and the time that they have used. Raises RunEnded.
        """
        if not can_be_closed(self.guards):
            return {}
        height, length = self._profile.rows, self._profile.sequence_length
        size, width = (length + 1, length) if kind == "rows" else (length, self._shards.vocab_size)
        rows = np.resize(self._shards.train[: height * size], (height, size))
        child.tell(kind, rows.tobytes(), shape=rows.shape, cuts=[0] * height)
        child.floats("claims" if kind == "rows" else "logits", height, width)
        readings.append(self._read())
        return self._neighbours.hold(self._traces.close(child, spared))

    def _launch(self, role: ScratchRole, plan: EvaluationPlan) -> ChildProcess:
        settings = dict[str, str]()
        if role is ScratchRole.REPLICA or "compiler" in self._run_folder.standing:
            settings["TORCHDYNAMO_DISABLE"] = "1"  # what only evaluates must not wait for a compiler
        self.folders[role] = scratch.make(self._run_folder.place.folder, role)
        if role is ScratchRole.CANDIDATE and plan.secret:
            settings |= scratch.copy_kernels_in(self._kernels, self.folders[role])
        child = launched(self._launcher, self.folders[role], settings, self.stage, certain=plan.secret)
        self._log.drain(child.output)
        self.children.append(ChildProcess(child, self.stage))
        return self.children[-1]

    def _check_guards(self, guards: dict[str, str]) -> None:
        """Note how a process is confined. Raises RunEnded: it is less so than the operator asks for."""
        self.guards |= {name: state for name, state in guards.items() if self.guards.get(name, "held") == "held"}
        if self._spec.require_sealed and set(self.guards.values()) != {"held"}:
            missing = "; ".join(f"{name}: {state}" for name, state in self.guards.items() if state != "held")
            told = f"The operator requires sealed runs, and this run would not be sealed: {missing}."
            raise RunEnded("env_fail", told)

    def _greet(self, child: ChildProcess, role: str, plan: EvaluationPlan) -> None:
        child.expect("hello")
        child.tell(
            "config",
            role=role,
            profile=self._profile.name,
            device=self._profile.device,
            threads=self._profile.threads,
            seed=self._spec.seed,
            budget_seconds=self._spec.budget_seconds,
            clock=self._profile.clock,
            sequence_length=self._profile.sequence_length,
            vocab_size=self._shards.vocab_size,
            bos=self._shards.bos,
            token_count=len(self._shards.train),
            max_steps=plan.max_steps,
            traces=not plan.secret,  # a rehearsal must not wait for a compiler, and finds what cannot be compiled
        )

    def _start_clock(self) -> Deadline:
        """Start the clock of the training, at the seconds that it has cost by now."""
        budget, usage, used = self._spec.budget_seconds, self._usages[0], self._used
        if self.gpu_monitor:
            self.gpu_monitor.begin()
        usage.hold()
        since, begun = usage.read(now=True) - used, time.monotonic() - used
        what = f"training, with a budget of {budget:g} s from session.start() to session.submit(model),"
        if self._counted:
            cap = max(WALL_SHARE * budget, LEAST_WALL_SECONDS) + self._spec.grace_seconds
            self.stage.enter("training", allowed(budget), what, lambda: usage.read() - since, cap)
            self._read = lambda: usage.read(now=True) - since
        else:
            self.stage.enter("training", allowed(budget), what, lambda: time.monotonic() - begun)
        return Deadline(self.stage, self._spec, self._profile.clock, self._read)

    def _train(self, candidate: ChildProcess, plan: EvaluationPlan) -> bytearray:
        """Hand over the tokens, watch the clock, and return the frozen weights."""
        descriptor, deadline = os.open(self._shards.train_path, os.O_RDONLY), self._start_clock()
        try:
            candidate.tell("tokens", descriptor=descriptor, used=self._used)
        finally:
            os.close(descriptor)
        ceiling = EarlyStop(self._spec.ceiling, self._spec.budget_seconds)
        while True:
            frame = candidate.expect("step", "submit", limit=MAX_WEIGHTS, opened=deadline.opened)
            told = known_figures(frame.fields)
            self.figures |= {name: value for name, value in told.items() if name not in _FOR_OTHERS}
            self.stage.step(told, last=frame.kind == "submit")
            if frame.kind == "submit":
                break
            loss = math.inf if candidate.diverged else float(told.get("loss", 0.0))
            if plan.secret and ceiling.hopeless(deadline.seconds, loss):
                why = f"Stopped after {deadline.seconds:.0f} s: the loss is higher than in every good run at that time."
                raise RunEnded("stopped_early", why)
        self._handed_in = deadline.closed()
        seconds, wall = deadline.seconds, self.stage.wall
        self.figures |= {"training_seconds": round(seconds, 3), "training_wall_seconds": round(wall, 3)}
        self.figures |= throughput(told | candidate.machine, seconds, len(self._shards.train))
        self.figures["weights_mb"] = round(len(frame.payload) / 2**20, 3)
        self._trained_mb = self._usages[0].peak_memory_mb
        if self._profile.device != "cuda":  # else the driver tells
            self.figures["peak_memory_mb"] = self._trained_mb
        return frame.payload

    def _claims(
        self, candidate: ChildProcess, rows: NDArray[np.uint16], others: dict[int, str], readings: list[float]
    ) -> NDArray[np.float32]:
        """What the candidate says of the rows, while the `others` that it has started do nothing."""
        height, length = self._profile.rows, self._profile.sequence_length
        claims = np.empty((len(rows), length), dtype=np.float32)
        for first in range(0, len(claims), height):
            batch = rows[first : first + height]
            full = np.resize(batch, (height, length + 1))  # a short last batch is filled up: kernels depend on shapes
            candidate.tell("rows", full.tobytes(), shape=full.shape)
            claims[first : first + height] = candidate.floats("claims", height, length)[: len(batch)]
            readings.append(self._read())
        check_readings(readings, self._spec.budget_seconds, self._profile.clock)
        require_idle(others)
        claims[~self._scored(rows)] = 0.0
        if not np.isfinite(claims).all():
            raise RunEnded("invalid", "The model's scores are not finite: did training diverge?", cause="nan")
        if claims.min() < -1e-4:
            raise RunEnded("invalid", "A negative -log p was claimed: no probability is above one.")
        return claims

    def _scored(self, rows: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Which targets count, bool [R, T]: a special token has no bytes, and what is said of it does not matter."""
        return self._shards.token_bytes[rows[:, 1:]] > 0

    def _audit(
        self, replica: ChildProcess, weights: bytearray, plan: EvaluationPlan, claims: NDArray[np.float32]
    ) -> float:
        """Compare the claims with a replica's answers. Returns its CPU seconds.

        Raises:
            RunEnded: the claims do not hold, or the replica did more than answer.
        """
        shards, device = self._shards, self._profile.device
        self._begin(replica, plan)
        surprise = audit.surprise(shards.train, plan.rows)  # while the replica builds its model
        replica.expect("submit")
        evidence = audit.Evidence(claims, plan.rows, self._scored(plan.rows), surprise, shards.train, shards.bos)
        probes = audit.draw(evidence, plan.audits, self._profile.rows, np.random.default_rng(secrets.randbits(128)))
        asked = Questions(probes, claims, plan.rows, self._profile.rows, shards.vocab_size)
        with self._must_answer(plan, refutes=device == "cpu"):
            try:
                readings = self._asked(replica, weights, asked)
            except RunEnded as ended:
                replica = self._another(ended, plan)
                readings = self._asked(replica, weights, asked)
        if objection := asked.objection(device):
            cause = ""
            with suppress(RunEnded):  # the claims do not hold, whatever becomes of the replica from here on
                cause = asked.cause(replica, device)
            raise RunEnded("invalid", f"The audit failed: {objection} {cause}".rstrip(), cause=AUDIT_FAILED)
        plus, clock = rebuilding(len(weights), self._profile.clock), self._profile.clock
        check_readings(readings, self._spec.budget_seconds, clock, plus)
        return self._usages[-1].read(now=True)

    def _begin(self, replica: ChildProcess, plan: EvaluationPlan) -> None:
        """Let a replica run train.py, on a clock of its own."""
        if plan.secret:
            replica.redact_output()
        usage = self._measure(replica, spared=0)
        usage.hold()
        self._read = (lambda: usage.read(now=True)) if self._counted else (lambda: self.stage.elapsed)
        replica.tell("go")
        self._greet(replica, "replica", plan)

    def _asked(self, replica: ChildProcess, weights: bytearray, asked: Questions) -> list[float]:
        """Have a replica that has come to its `submit` answer what is left. Returns the readings of the clock."""
        readings = [self._read()]
        replica.tell("weights", bytes(weights))
        self._close_files(replica, "probe", frozenset(), readings)
        asked.ask(replica, self._read, readings)
        return readings

    def _another(self, failed: RunEnded, plan: EvaluationPlan) -> ChildProcess:
        """A replica in place of one that has failed, as far as a machine can make one fail. Raises RunEnded."""
        if not plan.secret or failed.outcome not in _BY_MACHINES:
            raise failed
        self._end(ScratchRole.REPLICA, plan)
        replica = self._launch(ScratchRole.REPLICA, plan)
        self._check_guards(replica.ready())
        self._traces.remember(replica)
        self._begin(replica, plan)
        replica.expect("submit")
        return replica

    @contextmanager
    def _must_answer(self, plan: EvaluationPlan, refutes: bool = False) -> Generator[None]:
        """Make it `invalid` when train.py's process fails while it sees what it is asked.

        It could fail, or wait, when its score is low, or when a probe meets a false claim, and be run again until
        neither happens. The kernel's word counts, when memory ran out in a process that took no more than in training;
        on a GPU train.py's own: others may hold the memory. `refutes` as in `evasion`.
        """
        try:
            yield
        except RunEnded as ended:
            starves = ended.cause == "kernel_oom" and not self._grew()
            starves = starves or (ended.outcome == "oom" and self._profile.device == "cuda")
            if plan.secret and not starves:
                raise (self._machines(ended) or evasion(ended, refutes)) from ended.__cause__
            raise

    def _machines(self, ended: RunEnded) -> RunEnded | None:
        """How the run ends where the machine lacks what a process needs, once all that train.py took is given back."""
        if ended.outcome not in _BY_MACHINES:
            return None
        kill_descendants(self._spec.cookie, spared=self._launcher.pids)
        for folder in self.folders.values():
            with suppress(OSError):
                scratch.remove(folder)
        if self._run_folder.full():
            return RunEnded("env_fail", f"The disk is full. {ended.reason}", cause="disk_full")
        if ended.outcome == "oom" and free_memory_mb() < self._trained_mb + _GROWTH_MB:
            return RunEnded("oom", f"The machine is short of memory. {ended.reason}", cause="oom")
        return None

    def _grew(self) -> bool:
        """Whether the process that answers has taken far more memory than was taken in training."""
        return self._usages[-1].peak_memory_mb > 1.5 * self._trained_mb + _GROWTH_MB
