"""From the session's state to the replies an agent reads."""

import math

from server import curfew, evidence, recall, sweep
from server.agenda import next_calls
from server.change import change
from server.contrast import Contrast, contrast
from server.errors import PatchRefused
from server.experiment import Experiment, Purpose
from server.fence import fence
from server.lessons import nearest
from server.memory import fit, memory
from server.past import brief
from server.phase import Move, Phase, require
from server.replies import (
    DecisionReply,
    NoiseReply,
    PatchReply,
    Reply,
    Running,
    RunReply,
    Standing,
    StatusReply,
    TextReply,
    decision,
    standing,
)
from server.session import Session
from server.structure import fingerprint, sha256

_SEEN = 2.0  # sigmas that the rule finds three times in four (benchmarks/keep_rules.py)
_WAIT = "About {:.0f} s of training remain, then the evaluation. There is nothing else to do: call wait_experiment()."


def status(session: Session) -> StatusReply:
    """The snapshot."""
    last, incumbent = session.settle(), session.ledger.incumbent()
    task, counts, baseline = session.program().task, session.ledger.counts(), session.ledger.baseline()
    reply = StatusReply(
        next_actions=next_calls(session),
        task=brief(task.name),
        metric=task.metric,
        direction=task.direction,
        editable_file=task.editable,
        budget_seconds=session.budget_seconds,
        tag=session.workspace.tag,
        branch=session.workspace.branch,
        phase=session.phase(),
        experiments=evidence.experiments(session.ledger),
        counts=counts,
        incumbent=_standing(session),
        baseline_val_bpb=baseline.val_bpb if baseline else None,
        noise=_noise(session, incumbent) if incumbent else None,
        running=_running(session, last) if last and last.running else None,
        limits=task.stop.progress(curfew.facts(session.workspace.state, session.ledger)),
        over=curfew.ended(session),
        head_moved=session.head_moved,
        profile=session.profile,
        dataset=str(session.dataset),
        guards=last.result.guards if last and last.result else {},
        memory=memory(session.ledger, session.notebook),
        environment=session.hardware,
        program=brief(session.program().gist),
        program_sha256=session.program().sha256,
        candidate_sha256=session.workspace.candidate_sha256(),
    )
    return fit(reply)


def program(session: Session) -> TextReply:
    """program.md as it is now."""
    return _numbered(session, session.program().text, 1, 0)


def train(session: Session, start_line: int, end_line: int) -> TextReply:
    """Lines of the candidate; `end_line` 0 is the last."""
    return _numbered(session, session.workspace.candidate(), start_line, end_line)


def patched(session: Session, text: str, base_sha256: str, number: int) -> PatchReply:
    """Apply a patch, or an earlier attempt's. Raises Refusal."""
    sweep.require_free(session)
    if bool(text) == bool(number):
        raise PatchRefused("Nothing was changed.", "Give either a patch, or the number of an experiment to do again.")
    if number and session.ledger.get(number) is None:
        raise recall.unknown(session, number)
    diff = session.apply_patch(text, base_sha256, number)
    after = session.workspace.candidate()
    note = f"+{_count(diff, '+')} -{_count(diff, '-')} lines against the incumbent."
    if diff and (same := session.ledger.same_code(fingerprint(after))):
        note += f" But for comments, layout, prints and seeds this is experiment {same.number}: {same.verdict}."
    return PatchReply(
        next_actions=next_calls(session),
        diff=diff,
        sha256=sha256(after),
        lines=len(after.splitlines()),
        note=note if diff else "The candidate is identical to the incumbent again.",
        similar=nearest(session.ledger, change(session.incumbent_text(), after)) if diff else [],
    )


def started(session: Session, description: str, hypothesis: str) -> RunReply:
    """Start a run."""
    sweep.require_free(session)
    curfew.require_open(session)
    return _run(session, session.run(description, hypothesis))


def swept(session: Session, description: str, changes: list[dict[str, str]]) -> RunReply:
    """Start a sweep."""
    sweep.begin(session, description, changes)
    return run(session)


def run(session: Session, number: int = 0) -> RunReply:
    """A run, under way or over; 0 is the last one. Raises WrongPhase when there was none."""
    last = session.settle()
    require(session.phase(), Move.WAIT_EXPERIMENT)
    assert last is not None
    return _run(session, (session.ledger.get(number) if number else None) or last)


def cancelled(session: Session, reason: str) -> Reply:
    """Ask for the end of the run."""
    swept = session.queue.active
    session.queue.end(f"cancelled: {reason}")
    if swept is None or session.phase() is Phase.RUNNING:
        session.cancel(reason)
    return Reply(next_actions=next_calls(session))


def kept(session: Session, reason: str) -> DecisionReply:
    """Keep the candidate."""
    sweep.require_free(session)
    return _decided(session, session.keep(reason))


def discarded(session: Session, reason: str) -> DecisionReply:
    """Discard the candidate."""
    sweep.require_free(session)
    return _decided(session, session.discard(reason))


def _standing(session: Session) -> Standing | None:
    incumbent = session.ledger.incumbent()
    return standing(incumbent, *evidence.value(session.ledger, incumbent)) if incumbent else None


def _noise(session: Session, incumbent: Experiment) -> NoiseReply:
    found, runs = evidence.noise(session.ledger, incumbent), evidence.value(session.ledger, incumbent)[1]
    assumed = "assumed from published runs, not measured here" if not found.repeats else "measured"
    error, after = (found.sigma / math.sqrt(max(count, 1)) for count in (runs, runs + 1))
    return NoiseReply(
        sigma=found.sigma,
        repeats=found.repeats,
        smallest_effect=_SEEN * found.sigma,
        note=f"{assumed}; the incumbent is known to ±{error:.6f}, after one more run of it to ±{after:.6f}",
    )


def _count(diff: str, sign: str) -> int:
    return sum(line.startswith(sign) and not line.startswith(sign * 3) for line in diff.splitlines())


def _numbered(session: Session, text: str, start_line: int, end_line: int) -> TextReply:
    lines = text.splitlines()
    first = min(max(start_line, 1), max(len(lines), 1))
    last = min(end_line or len(lines), len(lines))
    return TextReply(
        next_actions=next_calls(session),
        text="\n".join(f"{number:>4}  {line}" for number, line in enumerate(lines[first - 1 : last], first)),
        sha256=sha256(text),
        lines=len(lines),
        first_line=first,
        last_line=last,
    )


def _running(session: Session, experiment: Experiment) -> Running:
    progress, budget = session.runner.progress(experiment.number), experiment.attempt.budget_seconds
    before = dict.fromkeys(("starting", "preflight", "setup"), budget)
    left = {**before, "training": budget - progress.elapsed_seconds}.get(progress.stage, 0)
    return Running(
        experiment=experiment.number,
        description=brief(experiment.attempt.description),
        stage=progress.stage,
        elapsed_seconds=progress.elapsed_seconds,
        remaining_seconds=round(max(left, 0.0), 1),
        steps=progress.steps,
        loss=progress.loss,
        gpu_strangers=progress.gpu_strangers,
    )


def _run(session: Session, experiment: Experiment) -> RunReply:
    running = RunReply(
        next_actions=next_calls(session),
        status="running",
        experiment=experiment.number,
        description=experiment.attempt.description,
        sweep=sweep.summary(session),
    )
    result, judgement = experiment.result, experiment.judgement
    if session.queue.active and result is not None:
        return running.model_copy(update={"why": session.queue.waits or None})  # between two runs of the sweep
    if result is None or judgement is None:
        now = _running(session, experiment)
        return running.model_copy(update={"running": now, "why": _WAIT.format(now.remaining_seconds)})
    # A run that confirms a candidate, or the incumbent beside it, is answered with what it made of the candidate.
    root = session.ledger.measured()
    helps = root is not None and experiment.attempt.of is not None and root.number <= experiment.number
    subject = root if root and helps and root.judgement and root.decision is None else experiment
    over = {
        "status": result.outcome.value,
        "verdict": subject.verdict,
        "why": subject.judgement.why if subject.judgement else judgement.why,
        "val_bpb": experiment.val_bpb,
        "delta": subject.judgement.delta if subject.judgement else None,
        "trust": experiment.trust,
        "figures": result.figures,
        "beside": _beside(session, experiment),
        "cause": result.cause,
        "traceback": fence(result.traceback, experiment.number),
    }
    return running.model_copy(update=over)


def _beside(session: Session, experiment: Experiment) -> Contrast | None:
    """The run's figures beside the incumbent's, and beside other runs of its own train.py."""
    if experiment.result is None or experiment.result.score is None:
        return None
    root, incumbent = experiment.attempt.of or experiment.number, session.ledger.incumbent()
    runs = [session.ledger.get(root), *(run for kind in Purpose for run in session.ledger.repeats(root, kind))]
    alike = [run.result.figures for run in runs if run and run.result and run.number != experiment.number]
    other = incumbent.result.figures if incumbent and incumbent.result and incumbent.number != root else None
    return contrast(experiment.result.figures, other, alike)


def _decided(session: Session, experiment: Experiment | None) -> DecisionReply:
    return DecisionReply(
        next_actions=next_calls(session),
        decision=decision(experiment) if experiment else "discarded",
        experiment=experiment.number if experiment else None,
        branch=session.workspace.branch,
        incumbent=_standing(session),
    )
