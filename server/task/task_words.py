"""A task in words: what is changed, what a run does and what is measured, as agents and operators read it."""

import re

from server.metric import Metric
from server.records import lm_names
from server.task import upstream
from server.task.definition import Task
from server.task.words import LANGUAGE_MODEL, Words
from server.text import shorten
from trainer.contract import MetricSource, Referee

_COMMAND = 100  # bytes of a command in a sentence
# What a linked environment of Python needs in front of a command (server.foreign), and says nothing of the measurement.
_ENVIRONMENT = re.compile(r'\b(?:PATH|PYTHONPATH)="\$PWD[^\s"]*" |\bUV_(?:NO_SYNC|OFFLINE)=1 ')
_SOURCES = {
    MetricSource.PRINTED: "{name}, which the command prints",
    MetricSource.CPU: "{name}, the CPU time of all its processes as the referee reads it",
    MetricSource.WALL: "{name}, the time on the referee's clock",
    MetricSource.MEMORY: "{name}, the peak memory of all its processes as the referee reads it",
    MetricSource.SCORE: "{name}, the judge's score of the answers",
}


def words_of(task: Task) -> Words:
    """What the study's texts call things."""
    if task.kind is Referee.SEALED:
        return LANGUAGE_MODEL
    one = only_file(task)
    return Words(
        candidate=one or "the candidate",
        original=f"the unmodified {one or 'candidate'}",
        repair=f"{one or 'the editable files'}, or what measures them",
        invalid="was found invalid",
        run=run_in_words(task),
        repaired="or program.md: until something has a score, the next run measures the latest commit",
    )


def referee_in_words(task: Task) -> str:
    """Which referee scores the runs, and why; a language model's where nothing is said needs no reason."""
    if task.kind is Referee.SEALED and task.referee is None:
        return str(task.kind)
    return f"{task.kind}, because {task.kind_reason}"


def only_file(task: Task) -> str:
    """The one file that the agent may change; empty where there may be several."""
    one = task.editable[0]
    return one if len(task.editable) == 1 and not set("*?[") & set(one) else ""


def editable_in_words(task: Task) -> str:
    """The files that the agent may change."""
    told = ", ".join(task.editable)
    return f"{told} (not {', '.join(task.off_limits)})" if task.off_limits else told


def run_in_words(task: Task) -> str:
    """What a run does to the candidate."""
    if task.kind is Referee.KARPATHY:
        return upstream.run_in_words(task)
    steps = [f"builds it with `{_short(task.build)}`"] if task.build else []
    if task.kind is Referee.COMMAND:
        steps += [f"checks it with `{_short(task.checks)}` before and after"] if task.checks else []
        often = f" {task.repeats} times" if task.repeats > 1 else ""
        steps.append(f"runs `{_short(task.command)}`{often}")
    else:
        steps.append(f"starts `{_short(task.worker)}`, and {task.judge} asks it secret cases")
    told = steps[0] if len(steps) == 1 else f"{', '.join(steps[:-1])} and {steps[-1]}"
    return f"{told}{', in turns with the incumbent' if task.paired else ''}"


def metric_in_words(task: Task) -> str:
    """What is measured, where the number comes from, and which one is better."""
    if task.kind is Referee.KARPATHY:
        return upstream.metric_in_words(task)
    return f"{_SOURCES[task.source].format(name=with_unit(task.measure))}; {task.direction} is better"


def describe_metric(task: Task) -> str:
    """`metric_in_words`, and what it is for a language model."""
    if task.kind is Referee.SEALED:
        return f"{lm_names.NAME}, {lm_names.WORDS}; lower is better"
    return metric_in_words(task)


def with_unit(metric: Metric) -> str:
    """The metric's name, with its unit where that is another word."""
    return f"{metric.name} ({metric.unit})" if metric.unit not in ("", metric.name) else metric.name


def _short(command: str) -> str:
    return shorten(_ENVIRONMENT.sub("", command), _COMMAND)
