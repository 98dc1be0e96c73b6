"""train.py as it is, and a score of the referee's own: a replica of its model is asked for logits.

    survey     prepare.py alone: the rows of its evaluation, and which shard has them; from here on that is hidden
    train      train.py until it calls evaluate_bpb, on the referee's clock: it hands in weights, and its process ends
    replica    a fresh one builds the model, takes the weights and gives logits for all rows; it has no targets
    audit      another fresh one is asked again at secret positions, with other text behind them: a model that has
               looked at later tokens answers otherwise

A loss that the model tells of itself is never asked for. Where a repository is not of upstream's shape to the last,
the baseline falls back to its own word (`trainer.upstream.own_word`), and its study with it.
"""

import json
import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.commands.output import Ended
from trainer.commands.worker import Worker
from trainer.contract import AUDIT_FAILED, RunFile, RunResult, Score, Spec, TaskSpec
from trainer.evaluators import audit
from trainer.evaluators.workbench import Side, Workbench
from trainer.run.clock import RunEnded, ending_of
from trainer.run.run_folder import RunFolder
from trainer.upstream import hooks
from trainer.upstream.own_word import OwnWord, command
from trainer.upstream.submission import Handed, TrainingClock, take
from trainer.upstream.survey import Survey, read_survey

MOST_LOGITS = 8 << 30  # bytes of float32 that are asked for; an evaluation with more is shortened to its first rows
AUDITS = 256  # positions
TRY = "try"  # of TaskSpec.audit: or else take train.py's own word
EARLY = 0.5  # share of the budget: a baseline that evaluates before evaluates more than once
_SURVEY_SECONDS = 300.0
_EAGER = "export TORCHDYNAMO_DISABLE=1; "  # what only evaluates must not wait for a compiler


class Audited:
    """Runs one experiment; whatever happens, it comes back with an ending and leaves no process behind."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        self._run_folder, self._spec, self._task = run_folder, spec, spec.task or TaskSpec("")
        self._figures: dict[str, float | int | str | None] = {}
        self._guards: dict[str, str] = {}
        self._other = ""  # how the repository differs from upstream's

    def run(self) -> RunResult:
        """The whole experiment. Raises nothing: every end is an outcome."""
        started = time.monotonic()
        ending = ending_of(self._carried_out)
        if self._other and self._task.audit == TRY:
            return self._by_its_own_word()
        self._figures["total_seconds"] = round(time.monotonic() - started, 3)
        ending.figures.update(self._figures)
        ending.guards.update(self._guards)
        return ending

    def _by_its_own_word(self) -> RunResult:
        """What a run tells that cannot be audited, where nothing in the study was: then nothing in it will be."""
        ended = OwnWord(self._run_folder, self._spec).run()
        if ended.score is None:
            return ended
        told = f"{ended.reason}; it is train.py's own word, for it could not be audited: {self._other}."
        return replace(ended, reason=told)

    def _carried_out(self) -> Score:
        try:
            return self._scored()
        except hooks.OtherOrder as other:
            self._other = str(other)
            told = f"This run cannot be audited, and the baseline was: {other}."
            step = "Keep to the order of upstream's train.py: data, training, one call of evaluate_bpb."
            raise RunEnded("invalid", f"{told} {step}", cause="order") from other

    def _scored(self) -> Score:
        with closing(Workbench(self._run_folder, self._spec)) as self._bench:
            self._guards = self._bench.guards
            self._shelf = self._bench.shelf()
            shutil.copyfile(hooks.__file__, self._shelf / "hooks.py")
            shutil.copyfile(self._run_folder.folder / RunFile.TREE / "prepare.py", self._shelf / "prepare.py")
            survey = self._surveyed()
            self._bench.withheld.append(survey.hidden)
            handed = self._trained()
            begun = time.monotonic()
            claims = self._claims(survey)
            self._audit(survey, claims)
            self._figures["evaluation_seconds"] = round(time.monotonic() - begun, 1)
            self._figures |= {"peak_memory_mb": round(self._bench.peak_memory_mb, 1)} | handed.figures
            details: dict[str, float | int] = {"tokens": claims.size, "bytes": survey.bytes, "of_tokens": survey.wanted}
            return Score(self._task.metric, survey.bits_per_byte(claims), self._task.unit, "audited", details)

    def _hooked(self, role: str, *words: str) -> str:
        return command(self._task, str(self._shelf / "hooks.py"), role, str(self._shelf / "prepare.py"), *words)

    def _surveyed(self) -> Survey:
        side = self._bench.side(RunFile.TREE)
        (side.tree / hooks.TRAIN).unlink(missing_ok=True)  # no code under test runs beside the hidden shard
        self._bench.enter("preparing", _SURVEY_SECONDS)
        self._bench.say("what prepare.py evaluates on")
        ended = self._bench.run(
            side, self._hooked("survey", str(side.out), str(MOST_LOGITS)), seconds=_SURVEY_SECONDS, log=True
        )
        try:
            return read_survey(side.out)
        except (OSError, ValueError, KeyError) as error:
            told = f"prepare.py told nothing of its evaluation: {_last(ended) or error}"
            raise RunEnded("env_fail", told, ended.tail, "survey") from error
        finally:
            self._bench.remove(side)

    def _trained(self) -> Handed:
        side = self._bench.side(RunFile.TREE)
        self._bench.say("train.py")
        clock = TrainingClock(self._bench, side.out / hooks.STARTED, self._spec)
        ended = self._bench.run(
            side, self._hooked("train", str(side.out)), seconds=clock.most_seconds, log=True, watch=clock.watch
        )
        self._figures |= clock.figures()
        if ended.timed_out:
            raise clock.late()
        if ended.exit_code != 0:
            outcome = "oom" if ended.out_of_memory or "OutOfMemory" in ended.tail else "crashed"
            told = f"train.py ended with exit code {ended.exit_code}. {_last(ended)}".rstrip()
            raise RunEnded(outcome, told, ended.tail, "exit_code")
        self._bench.require_unchanged(side)
        handed = take(side.out, self._shelf)
        if self._task.audit == TRY and clock.training < EARLY * self._spec.budget_seconds:
            raise hooks.OtherOrder("evaluate_bpb is called long before TIME_BUDGET is over, so more than once")
        self._bench.remove(side)
        return handed

    def _claims(self, survey: Survey) -> NDArray[np.float32]:
        """-log p of every target in nats, float32 [R, T], from logits of a replica that has the inputs alone."""
        nats = np.empty(survey.inputs.shape, dtype=np.float32)
        side, worker = self._replica("the replica's logits")
        for at in range(0, len(nats), survey.batch):
            rows = survey.inputs[at : at + survey.batch]
            logits = self._asked(worker, rows, None, len(survey.sizes))
            for row, targets, told in zip(nats[at : at + len(rows)], survey.targets[at:], logits, strict=False):
                row[:] = audit.negative_log_likelihood(told, targets)
        self._end(side, worker)
        if not np.isfinite(nats).all():
            raise RunEnded("invalid", "The model's logits are not finite numbers for every token.", cause="metric")
        return nats

    def _audit(self, survey: Survey, claims: NDArray[np.float32]) -> None:
        """Ask a second replica at secret positions, with other text behind them. Raises RunEnded: it says otherwise."""
        surprise = audit.surprise(survey.training, survey.rows)
        everywhere = np.ones(claims.shape, dtype=np.bool_)
        evidence = audit.Evidence(claims, survey.rows, everywhere, surprise, survey.training, survey.bos)
        random = np.random.default_rng()
        count = min(AUDITS * self._spec.audit_factor, claims.size)
        probes = audit.draw(evidence, count, survey.batch, random)
        side, worker = self._replica("the audit")
        answers = np.empty(len(probes.cuts))
        for batch in probes.batches:
            full = np.resize(batch, survey.batch)
            logits = self._asked(worker, probes.inputs[full], probes.cuts[full], len(survey.sizes))[: len(batch)]
            targets = survey.rows[probes.rows[batch], probes.cuts[batch] + 1]
            answers[batch] = audit.negative_log_likelihood(logits, targets)
        self._end(side, worker)
        self._figures["audits"] = len(answers)
        claimed = claims[probes.rows, probes.cuts]
        device = "cuda" if list(Path("/dev").glob("nvidia[0-9]*")) else "cpu"
        if objection := audit.objection(claimed, answers, probes.weights, device):
            told = objection.replace("claims", "the model's answers", 1)
            raise RunEnded("invalid", f"The audit failed: {told} Does it see later tokens?", cause=AUDIT_FAILED)

    def _replica(self, what: str) -> tuple[Side, Worker]:
        self._bench.enter("evaluating", self._spec.evaluation_seconds)
        self._bench.say(what)
        side = self._bench.side(RunFile.TREE)
        words = (str(self._shelf / hooks.WEIGHTS), str(self._shelf / hooks.HANDED))
        return side, self._bench.worker(side, _EAGER + self._hooked("replica", *words))

    def _end(self, side: Side, worker: Worker) -> None:
        worker.close()
        self._bench.end_all()
        self._bench.remove(side)

    def _asked(
        self, worker: Worker, rows: NDArray[np.uint16], cuts: NDArray[np.int64] | None, vocabulary: int
    ) -> NDArray[np.float32]:
        """Logits, float32 [rows, T, V], or [rows, V] at the cuts."""
        question = {"rows": rows.tolist(), "cuts": None if cuts is None else cuts.tolist()}
        seconds = self._spec.setup_seconds + self._spec.evaluation_seconds
        try:
            reply = worker.ask(json.dumps(question).encode(), seconds=seconds)
        except RunEnded as ended:
            raise RunEnded(ended.outcome, _of_replica(ended.reason), ended.traceback, ended.cause) from ended
        shape = (*rows.shape, vocabulary) if cuts is None else (len(rows), vocabulary)
        return _logits(reply.answer, worker.folder / hooks.LOGITS, shape)


def _logits(answer: bytes, path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        told = json.loads(answer)
        problem = str(told["problem"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunEnded("invalid", "The replica of train.py's model answered with something else than JSON.") from error
    if problem:
        raise hooks.OtherOrder(problem)
    if told.get("shape") != list(shape):
        raise hooks.OtherOrder(f"model(x) gives values of the shape {told.get('shape')} and not {list(shape)}")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            values = np.fromfile(file, dtype=np.float32, count=int(np.prod(shape)))
        return values.reshape(shape)
    except (OSError, ValueError) as error:
        raise RunEnded("invalid", f"The logits of train.py's model cannot be read: {error}.") from error


def _of_replica(reason: str) -> str:
    return reason.replace("The worker", "The replica of train.py's model", 1)


def _last(ended: Ended) -> str:
    lines = [line.strip() for line in ended.tail.splitlines() if line.strip()]
    return f"Its last line: {lines[-1][:300]}" if lines else ""
