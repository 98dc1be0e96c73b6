"""A language model's run: a rehearsal on training text, then the trial that counts, then the score.

val_bpb = sum of claims in nats / (ln 2 * raw bytes of the scored tokens). Raw bytes of each token, not of decoded
text: upstream counts an undecodable token as three bytes and reads low (fixed in nanochat 2ce972a). Special tokens
have no bytes and are not scored.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract import AUDIT_FAILED, RunResult, Score, Spec, join_pids
from trainer.datasets import prepared
from trainer.datasets.embedded import Shards, holdout, load
from trainer.datasets.embedded import rows as evaluation_rows
from trainer.datasets.errors import DataUnavailable
from trainer.evaluators.file_traces import FileTraces
from trainer.evaluators.questions import EvaluationPlan
from trainer.evaluators.trial import Trial
from trainer.processes import scratch
from trainer.processes.process_tree import kill_descendants
from trainer.run import compiler
from trainer.run.child_launch import Launcher
from trainer.run.clock import RunEnded, ending_of
from trainer.run.profiles import PROFILES
from trainer.run.run_folder import RunFolder
from trainer.run.run_log import RunLog

_REHEARSAL_SECONDS = 90.0  # one that takes longer is given up, and the run goes on
_REHEARSAL_STEPS = 2
_REHEARSAL_AUDITS = 32
_STAGES = ("preflight_seconds", "setup_seconds", "training_wall_seconds", "evaluation_seconds")
_LOG_SECONDS = 2.0  # after all processes are dead, their pipes are read to the end within this time


class SealedLM:
    """Runs one experiment; whatever happens, it comes back with an ending and leaves no process behind."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        self._run_folder, self._spec = run_folder, spec
        self._dataset = Path(spec.dataset) if spec.dataset else None
        self._profile = PROFILES[spec.profile]
        self._figures: dict[str, float | int | str | None] = {}
        self._guards: dict[str, str] = {}

    def run(self) -> RunResult:
        """The whole experiment. Raises nothing: every end is an outcome."""
        started = time.monotonic()
        ending = ending_of(self._carried_out)
        if (why := self._run_folder.standing.get("compiler")) and b"compile" in self._run_folder.text:
            ending = replace(ending, reason=f"{ending.reason} (compiler: {why})")
        self._figures |= self._run_folder.standing
        ending.figures.update(self._figures)
        total = time.monotonic() - started
        counted = sum(float(ending.figures.get(name) or 0.0) for name in _STAGES)
        ending.figures.update(starting_seconds=round(max(total - counted, 0.0), 3), total_seconds=round(total, 3))
        ending.guards.update(self._guards)
        return ending

    def _carried_out(self) -> Score:
        try:
            with closing(self._begin()) as self._launcher:
                return self._run()
        except DataUnavailable as error:
            raise RunEnded("env_fail", str(error), cause="data") from error

    def _begin(self) -> Launcher:
        """What starts train.py's processes: its imports pass while the data is loaded."""
        self._spec = self._run_folder.move_out(self._spec)
        settings = {"PYTHONHASHSEED": str(self._spec.seed)}
        if (threads := self._profile.threads) is not None:
            settings |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        return Launcher(
            self._run_folder.place.folder, self._spec.cookie, settings, given=self._run_folder.given(self._spec)
        )

    def _run(self) -> Score:
        shards = prepared.load(self._dataset) if self._dataset else load(Path(self._spec.data))
        self._traces = FileTraces(self._run_folder.place, self._spec, self._launcher, shards.train_path)
        if why := compiler.broken(self._run_folder, self._spec):
            self._run_folder.standing["compiler"] = f"none: eager, {why}"
        if self._spec.preflight:
            self._rehearse(shards)
        self._figures["data"] = shards.fingerprint
        return self._score(shards)

    def _rehearse(self, shards: Shards) -> None:
        """Two steps, a submission and an audit on training text: what would fail after the budget fails before it.

        Raises:
            RunEnded: `refused`, when train.py is certain to fail; `env_fail`, when the machine is. When unsure, let it
            run: a rehearsal that was too slow, was killed by somebody or ran out of memory (it is not compiled, the
            run may be) proves nothing.
        """
        length = self._profile.sequence_length
        rows = evaluation_rows(shards.train[: self._profile.rows * length + 1], length, shards.bos)
        started = time.monotonic()
        try:
            self._try(shards, EvaluationPlan(rows, secret=False, audits=_REHEARSAL_AUDITS, max_steps=_REHEARSAL_STEPS))
        except RunEnded as ended:
            if ended.outcome in ("crashed", "invalid") and ended.cause != "killed_from_outside":
                raise RunEnded("refused", f"Preflight: {ended.reason}", ended.traceback, ended.cause) from ended
            if ended.outcome not in ("timeout", "oom", "crashed") and ended.cause != "timeout":
                raise
        if left := self._figures["unkillable"] or self._figures["gpu_held"]:
            raise RunEnded("env_fail", f"The preflight has left {left}, which cannot be ended.", cause="unkillable")
        for trace in (self._run_folder.log, self._run_folder.curve):
            trace.unlink(missing_ok=True)
        self._figures = {"preflight_seconds": round(time.monotonic() - started, 3)}

    def _score(self, shards: Shards) -> Score:
        rows = evaluation_rows(self._text(shards), self._profile.sequence_length, shards.bos)[: self._profile.max_rows]
        factor = 0 if self._spec.first_look else self._spec.audit_factor
        asked = factor * self._profile.audits or self._profile.first_audits
        try:
            claims = self._try(shards, EvaluationPlan(rows, secret=True, audits=asked))
        except RunEnded as ended:
            if ended.cause == AUDIT_FAILED:  # it may be invalid for another reason, before a position was asked for
                self._figures.update(audits=asked, audit_factor=factor)
            raise
        self._figures.update(audits=asked, audit_factor=factor)
        lengths = shards.token_bytes[rows[:, 1:]]
        scored = lengths > 0
        nats, size = float(claims[scored].sum(dtype=np.float64)), int(lengths.sum())
        details: dict[str, float | int] = {"val_tokens": int(scored.sum()), "val_bytes": size}
        return Score("val_bpb", nats / (math.log(2) * size), "bits per byte", "sealed", details)

    def _text(self, shards: Shards) -> NDArray[np.uint16]:
        if self._spec.split == "val":
            return shards.val
        return prepared.holdout(self._dataset) if self._dataset else holdout()

    def _try(self, shards: Shards, plan: EvaluationPlan) -> NDArray[np.float32]:
        log = RunLog(self._run_folder.log)
        trial = Trial(self._run_folder, self._spec, shards, log, self._traces)
        try:
            trial.prepare(plan)
            if not plan.secret:
                trial.stage.enclose("preflight", _REHEARSAL_SECONDS, "the preflight")
            return trial.run(plan)
        except RunEnded as ended:
            failed = ended
        finally:
            self._clear(trial)
            log.close(_LOG_SECONDS)
        # What train.py has written is gone by now: a disk that is full still is not its fault.
        if failed.cause == "disk_full" and self._run_folder.full():
            raise RunEnded("env_fail", f"The disk is full. {failed.reason}", failed.traceback, failed.cause) from failed
        raise self._blamed(failed)

    def _blamed(self, failed: RunEnded) -> RunEnded:
        """The same end, or the machine's failure where train.py says what only that explains, and a look agrees."""
        told, cookie = failed.reason + failed.traceback, self._spec.cookie
        looks: dict[str, tuple[str, str, Callable[[], str]]] = {
            "no_compiler": (
                "Nothing can be compiled on this machine",
                "no_compiler",
                lambda: compiler.broken(self._run_folder, self._spec, afresh=True),
            ),
            "no_device": (
                "The profile's device is gone",
                "no_device",
                lambda: compiler.torchless(self._run_folder, cookie, self._profile.device),
            ),
            "import_error": (
                "torch cannot be imported on this machine",
                "no_torch",
                lambda: compiler.torchless(self._run_folder, cookie) if "torch" in told else "",
            ),
        }
        if failed.outcome != "crashed" or failed.cause not in looks:
            return failed
        problem, cause, look = looks[failed.cause]
        if why := look():
            return _machines(f"{problem}: {why}.", failed, cause)
        cause = failed.cause if failed.cause == "import_error" else "exception"
        return RunEnded(failed.outcome, failed.reason, failed.traceback, cause)

    def _clear(self, trial: Trial) -> None:
        """Leave nothing of the trial behind; what cannot be ended is noted: it may keep the GPU from the next run."""
        seen = trial.gpu_monitor.end() if trial.gpu_monitor else {}
        left = kill_descendants(self._spec.cookie, spared=self._launcher.pids)
        for child in trial.children:
            child.close()  # nothing that was sent and never read outlives a trial
        held = trial.gpu_monitor.held(bool(left)) if trial.gpu_monitor else None
        found = {"unkillable": join_pids(left), "gpu_held": held}
        self._figures |= trial.figures | seen | found
        self._guards = trial.guards
        trial.close()
        for folder in trial.folders.values():
            with suppress(OSError):  # gone already, or held by what lives on: its name is never used again
                scratch.remove(folder)


def _machines(problem: str, failed: RunEnded, cause: str) -> RunEnded:
    """The machine's failure, in words that name it."""
    told = f"{problem} The operator runs `autoresearch doctor`. {failed.reason}"
    return RunEnded("env_fail", told, failed.traceback, cause)
