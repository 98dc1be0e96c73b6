"""The message of a commit on the branch: what was changed, why, and as trailers what it was measured to bring. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from server.finalize.effect import Effect
from server.metric import Metric
from server.records import Experiment
from server.text import printable, shorten

_SUBJECT = 72  # characters


class Measured(NamedTuple):
    """A kept experiment, and what it brought."""

    row: Experiment
    effect: Effect


class Facts(NamedTuple):
    """What all commits of a branch have in common."""

    metric: Metric
    tag: str


def subject(steps: Sequence[Measured]) -> str:
    """The first line, also of a chain."""
    told = [printable(step.row.attempt.description) for step in steps]
    joined = "; ".join(dict.fromkeys(told))
    if len(joined) <= _SUBJECT or len(steps) == 1:
        return shorten(joined, _SUBJECT)
    return f"{shorten(told[0], _SUBJECT - 16)} and {len(steps) - 1} more"


def message(steps: Sequence[Measured], effect: Effect, facts: Facts, more: Sequence[str] = ()) -> str:
    """All of it.

    Args:
        steps: the experiments of the commit, at least one. effect: of all together. more: further trailers.
    """
    metric, last = facts.metric, steps[-1].row
    body = [subject(steps)]
    if len(steps) == 1:
        whole = printable(last.attempt.description)
        body += [whole] if whole != body[0] else []
        body += [printable(last.attempt.hypothesis)]
    else:
        lines = (f"- {step.row.number}: {_line(step, metric)}" for step in steps)
        body.append("\n".join(lines))
    numbers = ", ".join(str(step.row.number) for step in steps)
    trailers = [
        f"Experiment: {last.number}",
        f"Effect: {metric.name} {effect.text(metric)}{_behind(effect, metric)}",
        f"Metric: {_score(last, metric)} ({metric.direction} is better)",
        *([f"Trust: {last.trust}"] if last.trust else []),
        f"Steps: {numbers}",
        f"Study: {facts.tag}",
        *more,
    ]
    return "\n\n".join([*filter(None, body), "\n".join(map(printable, trailers))]) + "\n"


def _line(step: Measured, metric: Metric) -> str:
    return f"{shorten(printable(step.row.attempt.description), _SUBJECT)} ({step.effect.text(metric)})"


def _behind(effect: Effect, metric: Metric) -> str:
    """What the effect rests on."""
    if effect.gain is None:
        return ""
    count = effect.confirmations
    told = [f"{count} confirmation{'' if count == 1 else 's'}" if count else "no confirmation"]
    if effect.sigma is not None:
        told.append(f"sigma {metric.shown_error(effect.sigma)}")
    return f" ({', '.join(told)})"


def _score(row: Experiment, metric: Metric) -> str:
    if row.score is None or row.value is None:
        return metric.name
    return metric.word(row.value) if row.score.name == metric.name else f"{row.score.name} {row.value:g}"
