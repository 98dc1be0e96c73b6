"""The referee of one run: first a rehearsal on training text, then the trial that counts, then the score.

val_bpb = sum of claims in nats / (ln 2 * raw bytes of the scored tokens). Raw bytes of each token, not of decoded
text: upstream counts an undecodable token as three bytes and reads low (fixed in nanochat 2ce972a). Special tokens
have no bytes and are not scored.
"""

import math
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer import prepared, scratch
from trainer.cause import of_error
from trainer.errors import DataUnavailable
from trainer.letterbox import Ending, Letterbox, Spec
from trainer.processes import kill_descendants
from trainer.profiles import PROFILES
from trainer.runlog import RunLog
from trainer.shards import Shards, holdout, load
from trainer.shards import rows as evaluation_rows
from trainer.stage import Ended
from trainer.trial import Course, Trial

_REHEARSAL_SECONDS = 60.0  # one that takes longer is given up, and the run goes on
_REHEARSAL_STEPS = 2
_REHEARSAL_AUDITS = 32
_LEAST_SPACE = 64 << 20  # bytes: a disk with less is full
_LOG_SECONDS = 2.0  # after all processes are dead, their pipes are read to the end within this time


class Referee:
    """Runs one experiment; whatever happens, it comes back with an ending and leaves no process behind."""

    def __init__(self, box: Letterbox, spec: Spec) -> None:
        self._box, self._spec = box, spec
        self._dataset = Path(spec.dataset) if spec.dataset else None
        self._profile = PROFILES[spec.profile]
        self._figures: dict[str, float | int | str | None] = {}
        self._guards: dict[str, str] = {}

    def run(self) -> Ending:
        """The whole experiment. Raises nothing: every end is an outcome."""
        started = time.monotonic()
        try:
            shards = prepared.load(self._dataset) if self._dataset else load(Path(self._spec.data))
            if self._spec.preflight:
                self._rehearse(shards)
            self._figures["data"] = shards.fingerprint
            score = self._score(shards)
            ending = Ending("finished", f"val_bpb {score['val_bpb']:.6f}", score)
        except Ended as ended:
            ending = Ending(ended.outcome, ended.reason, traceback=ended.traceback, cause=ended.cause)
        except DataUnavailable as error:
            ending = Ending("env_fail", str(error), cause="data")
        except Exception as error:  # ours, not train.py's: no experiment has failed, the machinery has
            told = f"The run could not be carried out: {type(error).__name__}: {error}"
            ending = Ending("env_fail", told, cause=of_error(error))
        self._figures["total_seconds"] = round(time.monotonic() - started, 3)
        ending.figures.update(self._figures)
        ending.guards.update(self._guards)
        return ending

    def _rehearse(self, shards: Shards) -> None:
        """Two steps, a submission and an audit on training text: what would fail after the budget fails before it.

        Raises:
            Ended: `refused`, when train.py is certain to fail; `env_fail`, when the machine is. When unsure, let it
            run: a rehearsal that was too slow, was killed by somebody or ran out of memory (it is not compiled, the
            run may be) proves nothing.
        """
        length = self._profile.sequence_length
        rows = evaluation_rows(shards.train[: self._profile.rows * length + 1], length, shards.bos)
        started = time.monotonic()
        try:
            self._try(shards, Course(rows, secret=False, audits=_REHEARSAL_AUDITS, max_steps=_REHEARSAL_STEPS))
        except Ended as ended:
            if ended.outcome in ("crashed", "invalid") and ended.cause != "killed_from_outside":
                raise Ended("refused", f"Preflight: {ended.reason}", ended.traceback, ended.cause) from ended
            if ended.outcome not in ("timeout", "oom", "crashed") and ended.cause != "timeout":
                raise
        if left := self._figures["unkillable"] or self._figures["gpu_held"]:
            raise Ended("env_fail", f"The preflight has left {left}, which cannot be ended.", cause="unkillable")
        for trace in (self._box.log, self._box.curve):
            trace.unlink(missing_ok=True)
        self._figures = {"preflight_seconds": round(time.monotonic() - started, 3)}

    def _score(self, shards: Shards) -> dict[str, float | int]:
        rows = evaluation_rows(self._text(shards), self._profile.sequence_length, shards.bos)[: self._profile.max_rows]
        claims = self._try(shards, Course(rows, secret=True, audits=self._profile.audits))
        lengths = shards.token_bytes[rows[:, 1:]]
        scored = lengths > 0
        nats, size = float(claims[scored].sum(dtype=np.float64)), int(lengths.sum())
        return {"val_bpb": nats / (math.log(2) * size), "val_tokens": int(scored.sum()), "val_bytes": size}

    def _text(self, shards: Shards) -> NDArray[np.uint16]:
        if self._spec.split == "val":
            return shards.val
        return prepared.holdout(self._dataset) if self._dataset else holdout()

    def _try(self, shards: Shards, course: Course) -> NDArray[np.float32]:
        log = RunLog(self._box.log)
        trial = Trial(self._box, self._spec, shards, log)
        if not course.secret:
            trial.stage.enclose("preflight", _REHEARSAL_SECONDS, "the preflight")
        try:
            return trial.run(course)
        except Ended as ended:
            failed = ended
        finally:
            self._clear(trial)
            log.close(_LOG_SECONDS)
        # What train.py has written is gone by now: a disk that is full still is not its fault.
        if failed.cause == "disk_full" and shutil.disk_usage(self._box.folder).free < _LEAST_SPACE:
            raise Ended("env_fail", f"The disk is full. {failed.reason}", failed.traceback, failed.cause) from failed
        raise failed

    def _clear(self, trial: Trial) -> None:
        """Leave nothing of the trial behind; what cannot be ended is noted: it may keep the GPU from the next run."""
        seen = trial.gauge.end() if trial.gauge else {}
        left = kill_descendants(self._spec.cookie)
        held = trial.gauge.held(bool(left)) if trial.gauge else None
        found = {"unkillable": ", ".join(map(str, left)) or None, "gpu_held": held}
        self._figures |= trial.figures | seen | found
        self._guards = trial.guards
        for folder in trial.folders.values():
            with suppress(OSError):  # gone already, or held by what lives on: its name is never used again
                scratch.remove(folder)
