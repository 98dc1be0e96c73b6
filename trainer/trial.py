"""One trial of train.py, from launch to claims that were audited. The protocol, each line a frame or its answer:

    ready -> go               confined, and nothing of train.py has run yet
    hello -> config           set-up: build, compile, warm up; off the clock, but bounded
    start -> tokens           the clock starts when the training tokens are handed over
    step*                     progress, as told by train.py
    submit + weights          the clock ends when the last byte of the weights is here
    rows -> claims            -log p of every token of the rows, by the process that trained
    probe -> logits           the same from a replica that cannot remember (trainer.audit)

The candidate and all its descendants are dead before a line of train.py runs in the replica: the two never meet.
"""

import math
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer import audit, scratch, warmth
from trainer.ceiling import Ceiling
from trainer.gauge import Gauge
from trainer.letterbox import Letterbox, Spec
from trainer.meter import Meter
from trainer.pace import pace
from trainer.player import Player, known
from trainer.processes import kill_descendants, launch
from trainer.profiles import LEAST_WALL_SECONDS, PROFILES, WALL_SHARE
from trainer.runlog import RunLog
from trainer.shards import Shards
from trainer.stage import Ended, Stage

_FOR_OTHERS = {"lr", "matrix_parameters"}  # told for the curve and the pace
MAX_WEIGHTS = 16 << 30  # bytes
_EXCESS_SECONDS, _EXCESS_SHARE = 3.0, 0.01  # of the budget: what the first batches may take for kernels to be chosen


@dataclass(frozen=True)
class Course:
    """What a trial trains and is measured on.

    `rows` uint16 [R, T + 1] are the evaluation's tokens; `secret` says that they are validation text, of which no word
    may come back but the score; `audits` positions are audited; `max_steps` ends training beside the clock.
    """

    rows: NDArray[np.uint16]
    secret: bool
    audits: int
    max_steps: int | None = None


class Trial:
    """One pass; the caller ends the processes, whatever happens."""

    def __init__(self, box: Letterbox, spec: Spec, shards: Shards, log: RunLog) -> None:
        self._box, self._spec, self._shards, self._log = box, spec, shards, log
        self._profile = PROFILES[spec.profile]
        self.stage = Stage(box)
        self.figures: dict[str, float | int | str | None] = {}
        self.guards: dict[str, str] = {}
        self._kernels = Path(spec.kernels) if spec.kernels else None
        self.folders: dict[str, Path] = {}  # scratch folder of each role
        self.gauge: Gauge | None = None

    def run(self, course: Course) -> NDArray[np.float32]:
        """The whole pass.

        Returns:
            -log p of every target of the rows in nats, float32 [R, T], as claimed, and found to hold.

        Raises:
            Ended: every other end; `figures` then holds what was known by then.
        """
        started, self.gauge = time.monotonic(), Gauge() if self._profile.device == "cuda" else None
        self.stage.strangers = self.gauge.strangers if self.gauge else None
        self.stage.enter("setup", self._spec.setup_seconds, "set-up, before session.start(),")
        candidate, replica = self._launch("candidate", course), self._launch("replica", course)
        for player in (candidate, replica):
            self._check_guards(player)
        candidate.tell("go")
        replica.tell("import")  # and no more: its imports cost no time, as they pass while the candidate has its own
        self._greet(candidate, "candidate", course)
        candidate.expect("start")
        self.figures["setup_seconds"] = round(time.monotonic() - started, 3)
        if self.gauge:
            self.gauge.begin()
        weights = self._train(candidate, replica.pid, course)
        if self.gauge:
            self.gauge.end()
        if self._kernels and self._spec.keeps_kernels:
            warmth.keep(self.folders["candidate"], self._kernels)  # it has not seen validation text yet
        submitted = time.monotonic()
        if course.secret:
            self._log.mute()
            candidate.hush()
        self.stage.enter("evaluation", self._spec.evaluation_seconds, "the evaluation")
        claims = self._claims(candidate, course.rows)
        candidate.dismiss()
        self._bury(replica)
        self._audit(replica, weights, course, claims)
        # To a tenth of a second: train.py could tell what it saw by how long it took.
        self.figures["evaluation_seconds"] = round(time.monotonic() - submitted, 1)
        return claims

    def _bury(self, replica: Player) -> None:
        """End the candidate and remove its folder: even the size of a file it left could tell the replica something."""
        if left := kill_descendants(self._spec.cookie, spared=replica.pid):
            told = f"Processes of train.py cannot be ended: {', '.join(map(str, left))}. Is a driver in trouble?"
            raise Ended("env_fail", told, cause="unkillable")
        try:
            scratch.remove(self.folders["candidate"])
        except OSError as error:
            raise Ended("invalid", f"train.py left files that cannot be removed: {error.strerror}.") from error

    def _launch(self, role: str, course: Course) -> Player:
        settings = {"PYTHONHASHSEED": str(self._spec.seed)}
        if (threads := self._profile.threads) is not None:
            settings |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if role == "replica" or not course.secret:
            settings["TORCHDYNAMO_DISABLE"] = "1"  # what only evaluates or rehearses must not wait for a compiler
        self.folders[role] = scratch.make(self._box.folder, role)
        if role == "candidate" and course.secret:
            settings |= warmth.lend(self._kernels, self.folders[role])
        child = launch(self._box.folder, self.folders[role], self._spec.cookie, settings)
        self._log.drain(child.output)
        return Player(child, self.stage)

    def _check_guards(self, player: Player) -> None:
        """Note how the process is confined. Raises Ended: it is less so than the operator asks for."""
        guards = player.ready()
        self.guards |= {name: state for name, state in guards.items() if self.guards.get(name, "held") == "held"}
        if self._spec.require_sealed and set(guards.values()) != {"held"}:
            missing = "; ".join(f"{name}: {state}" for name, state in guards.items() if state != "held")
            raise Ended("env_fail", f"The operator asks for sealed runs, and this one would not be: {missing}.")

    def _greet(self, player: Player, role: str, course: Course) -> None:
        player.expect("hello")
        player.tell(
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
            max_steps=course.max_steps,
        )

    def _train(self, candidate: Player, spared: int, course: Course) -> bytearray:
        """Hand over the tokens, watch the clock, return the frozen weights."""
        limit = self._spec.budget_seconds + self._spec.grace_seconds
        descriptor = os.open(self._shards.train_path, os.O_RDONLY)
        meter = Meter(spared=spared) if self._profile.clock == "cpu" else None
        what = "training, from session.start() to session.submit(model),"
        cap = max(WALL_SHARE * self._spec.budget_seconds, LEAST_WALL_SECONDS) + self._spec.grace_seconds
        self.stage.enter("training", limit, what, meter.read if meter else None, cap if meter else math.inf)
        try:
            candidate.tell("tokens", descriptor=descriptor)
        finally:
            os.close(descriptor)
        ceiling = Ceiling(self._spec.ceiling, self._spec.budget_seconds)
        while True:
            frame = candidate.expect("step", "submit", limit=MAX_WEIGHTS)
            seconds, wall = meter.read(now=True) if meter else self.stage.elapsed, self.stage.wall
            told = known(frame.fields)
            self.figures |= {name: value for name, value in told.items() if name not in _FOR_OTHERS}
            if frame.kind == "submit":
                break
            self.stage.step(told)
            loss = math.inf if candidate.diverged else float(told.get("loss", 0.0))
            if course.secret and ceiling.hopeless(seconds, loss):
                raise Ended(
                    "stopped_early",
                    f"Given up after {seconds:.0f} s: the loss is above that of every good run by then.",
                )
        self.figures |= {"training_seconds": round(seconds, 3), "training_wall_seconds": round(wall, 3)}
        self.figures |= pace(told, seconds, len(self._shards.train))
        return frame.payload

    def _claims(self, candidate: Player, rows: NDArray[np.uint16]) -> NDArray[np.float32]:
        height, length = self._profile.rows, self._profile.sequence_length
        claims, times = np.empty((len(rows), length), dtype=np.float32), list[float]()
        for first in range(0, len(claims), height):
            batch, begun = rows[first : first + height], time.monotonic()
            full = np.resize(batch, (height, length + 1))  # a short last batch is filled up: kernels depend on shapes
            candidate.tell("rows", full.tobytes(), shape=full.shape)
            claims[first : first + height] = candidate.floats("claims", height, length)[: len(batch)]
            times.append(time.monotonic() - begun)
        self._check_times(times)
        claims[~self._scored(rows)] = 0.0
        if not np.isfinite(claims).all():
            raise Ended("invalid", "The model's scores are not finite: did training diverge?", cause="nan")
        if claims.min() < -1e-4:
            raise Ended("invalid", "A negative -log p was claimed: no probability is above one.")
        return claims

    def _scored(self, rows: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Which targets count, bool [R, T]: a special token has no bytes, and what is said of it does not matter."""
        return self._shards.token_bytes[rows[:, 1:]] > 0

    def _check_times(self, times: list[float]) -> None:
        """Batches are alike: a long one did more than evaluate. Raises Ended."""
        usual = float(np.median(times))
        excess = sum(max(0.0, seconds - 3 * usual) for seconds in times)
        if excess > _EXCESS_SECONDS + _EXCESS_SHARE * self._spec.budget_seconds:
            raise Ended(
                "invalid",
                f"Evaluating took {excess:.1f} s more than batches of {usual:.2f} s explain: does a forward pass do "
                "work that belongs between session.start() and session.submit(model)?",
            )

    def _audit(self, replica: Player, weights: bytearray, course: Course, claims: NDArray[np.float32]) -> None:
        """Compare the claims with a replica's answers. Raises Ended when they do not hold."""
        if course.secret:
            replica.hush()
        replica.tell("go")
        self._greet(replica, "replica", course)
        surprise = audit.surprise(self._shards.train, course.rows)  # while the replica builds its model
        replica.expect("submit")
        replica.tell("weights", bytes(weights))
        evidence = audit.Evidence(claims, course.rows, self._scored(course.rows), surprise)
        probes = audit.draw(evidence, course.audits, np.random.default_rng(secrets.randbits(128)))
        claimed, device = claims[probes.rows, probes.cuts], self._profile.device
        asked = self._asked(replica, probes, probes.inputs, course.rows)
        if objection := audit.objection(claimed, asked, probes.uniform, device):
            unaltered = self._asked(replica, probes, course.rows[probes.rows, :-1], course.rows)
            cause = audit.cause(audit.objection(claimed, unaltered, probes.uniform, device))
            raise Ended("invalid", f"The audit failed: {objection} {cause}")

    def _asked(
        self, replica: Player, probes: audit.Probes, inputs: NDArray[np.uint16], rows: NDArray[np.uint16]
    ) -> NDArray[np.float64]:
        """-log p in nats, float64 [K], by the replica's logits at the probes' positions of `inputs` [K, T]."""
        height, length, vocabulary = self._profile.rows, self._profile.sequence_length, self._shards.vocab_size
        answers = np.empty((len(probes.cuts), vocabulary), dtype=np.float32)
        for first in range(0, len(answers), height):
            batch = np.resize(inputs[first : first + height], (height, length))
            cuts = np.resize(probes.cuts[first : first + height], height)
            replica.tell("probe", batch.tobytes(), shape=batch.shape, cuts=cuts.tolist())
            answers[first : first + height] = replica.floats("logits", height, vocabulary)[: len(answers) - first]
        return audit.negative_log_likelihood(answers, rows[probes.rows, probes.cuts + 1])
