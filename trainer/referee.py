"""The referee of one run: it holds the clock, the validation tokens, the frozen weights and the verdict on validity.

    hello -> config           set-up: build, compile, warm up; off the clock, but bounded
    start -> tokens           the clock starts when the training tokens are handed over
    step*                     progress, as told by train.py
    submit + weights          the clock ends when the last byte of the weights is here
    rows -> claims            -log p of every validation token, by the process that trained
    probe -> logits           the same from a replica that cannot remember (trainer.audit)

val_bpb = sum of claims in nats / (ln 2 * raw bytes of the scored tokens). Raw bytes of each token, not of decoded
text: upstream counts an undecodable token as three bytes and reads low (fixed in nanochat 2ce972a). Special tokens
have no bytes and are not scored.
"""

import math
import os
import secrets
import time

import numpy as np
from numpy.typing import NDArray

from trainer import audit
from trainer.letterbox import Ending, Letterbox, Spec
from trainer.player import Player, known
from trainer.processes import launch
from trainer.profiles import PROFILES
from trainer.runlog import RunLog
from trainer.shards import Shards
from trainer.shards import rows as validation_rows
from trainer.stage import Ended, Stage

MAX_WEIGHTS = 16 << 30  # bytes


class Referee:
    """Runs one experiment from launch to score."""

    def __init__(self, box: Letterbox, spec: Spec, shards: Shards, log: RunLog) -> None:
        self._box, self._spec, self._shards, self._log = box, spec, shards, log
        self._profile = PROFILES[spec.profile]
        self._stage = Stage(box)
        self._rows = validation_rows(shards.val, self._profile.sequence_length, shards.bos)[: self._profile.max_rows]
        self.figures: dict[str, float | int | str | None] = {}

    def run(self) -> Ending:
        """The whole experiment; the caller ends the processes.

        Raises:
            Ended: every end without a score; `figures` then holds what was known by then.
        """
        started = time.monotonic()
        self._stage.enter("setup", self._spec.setup_seconds, "set-up, before session.start(),")
        candidate = self._launch("candidate")
        self._greet(candidate, "candidate")
        candidate.expect("start")
        self.figures["setup_seconds"] = round(time.monotonic() - started, 3)
        weights = self._train(candidate)
        submitted = time.monotonic()
        self._log.mute()
        self._stage.enter("evaluation", self._spec.evaluation_seconds, "the evaluation")
        replica = self._launch("replica")  # its imports overlap with the claims
        claims = self._claims(candidate)
        candidate.dismiss()
        self._audit(replica, weights, claims)
        self.figures["evaluation_seconds"] = round(time.monotonic() - submitted, 3)
        score = self._score(claims)
        return Ending("finished", f"val_bpb {score['val_bpb']:.6f}", score, self.figures)

    def _launch(self, role: str) -> Player:
        scratch = self._box.folder / role
        child = launch(self._box.folder, scratch, self._spec.cookie, self._spec.seed, self._profile.threads)
        self._log.drain(child.output)
        return Player(child, self._stage)

    def _greet(self, player: Player, role: str) -> None:
        player.expect("hello")
        player.tell(
            "config",
            role=role,
            profile=self._profile.name,
            device=self._profile.device,
            threads=self._profile.threads,
            seed=self._spec.seed,
            budget_seconds=self._spec.budget_seconds,
            sequence_length=self._profile.sequence_length,
            vocab_size=self._shards.vocab_size,
            bos=self._shards.bos,
            token_count=len(self._shards.train),
        )

    def _train(self, candidate: Player) -> bytearray:
        """Hand over the tokens, watch the clock, return the frozen weights."""
        limit = self._spec.budget_seconds + self._spec.grace_seconds
        descriptor = os.open(self._shards.train_path, os.O_RDONLY)
        self._stage.enter("training", limit, "training, from session.start() to session.submit(model),")
        try:
            candidate.tell("tokens", descriptor=descriptor)
        finally:
            os.close(descriptor)
        while True:
            frame = candidate.expect("step", "submit", limit=MAX_WEIGHTS)
            seconds = self._stage.elapsed
            told = known(frame.fields)
            self.figures |= told
            if frame.kind == "submit":
                break
            self._stage.step(told)
        self.figures["training_seconds"] = round(seconds, 3)
        if isinstance(tokens := self.figures.get("tokens"), int):
            self.figures["tokens_per_second"] = round(tokens / seconds, 1)
        return frame.payload

    def _claims(self, candidate: Player) -> NDArray[np.float32]:
        """-log p of every validation token in nats, float32 [R, T]."""
        height, length = self._profile.rows, self._profile.sequence_length
        claims = np.empty((len(self._rows), length), dtype=np.float32)
        for first in range(0, len(claims), height):
            batch = self._rows[first : first + height]
            full = np.resize(batch, (height, length + 1))  # a short last batch is filled up: kernels depend on shapes
            candidate.tell("rows", full.tobytes(), shape=full.shape)
            claims[first : first + height] = candidate.floats("claims", height, length)[: len(batch)]
        if not np.isfinite(claims).all():
            raise Ended("invalid", "The model's scores are not finite: did training diverge?")
        if claims.min() < -1e-4:
            raise Ended("invalid", "A negative -log p was claimed: no probability is above one.")
        return claims

    def _audit(self, replica: Player, weights: bytearray, claims: NDArray[np.float32]) -> None:
        """Compare the claims with a replica's answers. Raises Ended when they do not hold."""
        self._greet(replica, "replica")
        replica.expect("submit")
        replica.tell("weights", bytes(weights))
        probes = audit.draw(claims, self._rows, self._profile.audits, np.random.default_rng(secrets.randbits(128)))
        height, length, vocabulary = self._profile.rows, self._profile.sequence_length, self._shards.vocab_size
        answers = np.empty((len(probes.cuts), vocabulary), dtype=np.float32)
        for first in range(0, len(answers), height):
            inputs = np.resize(probes.inputs[first : first + height], (height, length))
            cuts = np.resize(probes.cuts[first : first + height], height)
            replica.tell("probe", inputs.tobytes(), shape=inputs.shape, cuts=cuts.tolist())
            answers[first : first + height] = replica.floats("logits", height, vocabulary)[: len(answers) - first]
        answered = audit.negative_log_likelihood(answers, self._rows[probes.rows, probes.cuts + 1])
        if objection := audit.objection(claims[probes.rows, probes.cuts], answered):
            raise Ended("invalid", f"The audit failed: {objection}")

    def _score(self, claims: NDArray[np.float32]) -> dict[str, float | int]:
        lengths = self._shards.token_bytes[self._rows[:, 1:]]
        scored = lengths > 0
        nats, size = float(claims[scored].sum(dtype=np.float64)), int(lengths.sum())
        return {"val_bpb": nats / (math.log(2) * size), "val_tokens": int(scored.sum()), "val_bytes": size}
