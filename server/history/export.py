"""The history in formats that other tools read: results.tsv and JSON lines.

results.tsv on disk is written whole after every move, but a line is made anew only while its row can still change.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from server import lm_names
from server.files import write_whole
from server.history.ledger import Ledger
from server.records import Experiment, Figures, Verdict, decision_name

_HEADER = f"commit\t{lm_names.COLUMN}\tmemory_gb\tstatus\tdescription\n"
_STATUS = {"kept": "keep", "discarded": "discard"}


def tsv(experiments: Iterable[Experiment]) -> str:
    """results.tsv, in the five columns of karpathy/autoresearch. A missing score is an empty field, never 0."""
    return tsv_table(map(tsv_line, experiments))


def tsv_table(lines: Iterable[str]) -> str:
    """results.tsv of the lines of its experiments."""
    return _HEADER + "".join(lines)


def tsv_line(experiment: Experiment) -> str:
    """One line of results.tsv.

    Empty for what the preflight refused and for runs that judged another experiment: they were no experiments.
    """
    if experiment.verdict == Verdict.REFUSED or experiment.attempt.of is not None:
        return ""
    score = "" if experiment.value is None else f"{experiment.value:.6f}"
    figures = experiment.result.figures if experiment.result else Figures()
    memory = figures.peak_memory_mb or figures.told_peak_memory_mb
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
    return "".join(json.dumps(_document(experiment)) + "\n" for experiment in experiments)


def _document(experiment: Experiment) -> dict[str, Any]:
    told: dict[str, Any] = {**experiment.model_dump(mode="json", exclude_none=True), "trust": experiment.trust}
    if experiment.score:  # as it is stored, and by the names that every metric has
        told["result"]["score"] |= dict(experiment.score)
    return told


def _status(experiment: Experiment) -> str:
    # Upstream knows keep, discard and crash; a run without a score that counts is a crash to it, whatever was decided.
    if experiment.result is not None and experiment.value is None:
        return "crash"
    return _STATUS.get(decision_name(experiment), decision_name(experiment))


class ResultsFile:
    """A row is final once the row of a later new train.py follows it: only what came since is read again.

    The exception is a row that is revoked: then all lines are made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._final = 0  # the last number whose line on disk never changes again
        self._lines = ""  # up to that one
        self._revoked: list[int] = []  # when it was written

    def restore(self, ledger: Ledger) -> None:
        """Bring the file up to date, unless it is newer than the ledger and has a line for each experiment.

        Raises:
            LedgerUnavailable, OSError.
        """
        if not self._whole(ledger):
            self.write(ledger)

    def write(self, ledger: Ledger) -> None:
        """Bring the file up to date.

        Raises:
            LedgerUnavailable, OSError: the file is as it was; the next call makes up for it.
        """
        if (revoked := [row.number for row in ledger.revoked()]) != self._revoked:
            self._final, self._lines, self._revoked = 0, "", revoked
        lines = [(row.number, tsv_line(row)) for row in ledger.all(after=self._final)]
        write_whole(self._path, tsv_table([self._lines, *(line for _, line in lines)]))
        measured = ledger.measured()
        self._final = measured.number - 1 if measured else 0
        self._lines += "".join(line for number, line in lines if number <= self._final)

    def _whole(self, ledger: Ledger) -> bool:
        """Whether the file is newer than the ledger, and has as many lines as it must."""
        if not self._path.exists() or self._path.stat().st_mtime_ns <= ledger.written_ns:
            return False
        text = self._path.read_text(encoding="utf-8", errors="replace")
        return text.startswith(_HEADER) and text.endswith("\n") and text.count("\n") == 1 + ledger.experiments()
