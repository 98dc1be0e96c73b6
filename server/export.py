"""The history in the formats other tools read. Pure."""

import json
from collections.abc import Iterable

from server.experiment import Experiment, Verdict
from server.replies import decision

_HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
_STATUS = {"kept": "keep", "discarded": "discard"}


def tsv(experiments: Iterable[Experiment]) -> str:
    """results.tsv, in the five columns of karpathy/autoresearch. A missing score is an empty field, never 0."""
    return table(map(line, experiments))


def table(lines: Iterable[str]) -> str:
    """results.tsv of the lines of its experiments."""
    return _HEADER + "".join(lines)


def line(experiment: Experiment) -> str:
    """One line of results.tsv.

    Empty for what the preflight refused and for runs that judged another experiment: they were no experiments.
    """
    if experiment.verdict == Verdict.REFUSED or experiment.attempt.of is not None:
        return ""
    score = "" if experiment.value is None else f"{experiment.value:.6f}"
    memory = experiment.result.figures.peak_memory_mb if experiment.result else None
    fields = (
        experiment.commit[:7],
        score,
        "" if memory is None else f"{memory / 1024:.1f}",
        _status(experiment),
        " ".join(experiment.attempt.description.split()),
    )
    return "\t".join(fields) + "\n"


def jsonl(experiments: Iterable[Experiment]) -> str:
    """One experiment a line, everything the ledger knows."""
    return "".join(
        json.dumps({**experiment.model_dump(mode="json", exclude_none=True), "trust": experiment.trust}) + "\n"
        for experiment in experiments
    )


def _status(experiment: Experiment) -> str:
    # Upstream knows keep, discard and crash; a run without a score is a crash to it, whatever was decided.
    if experiment.result is not None and experiment.val_bpb is None:
        return "crash"
    return _STATUS.get(decision(experiment), decision(experiment))
