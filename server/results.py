"""results.tsv on disk, after every move: written whole, but with lines made anew only where a row can have changed."""

from pathlib import Path

from server import export
from server.files import write_whole
from server.ledger import Ledger


class Results:
    """A row is final once the row of a later new train.py follows it: only what came since is read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[int, str] = {}  # by the experiment's number, ascending
        self._final = 0  # the last number whose line on disk never changes again

    def write(self, ledger: Ledger) -> None:
        """Bring the file up to date.

        Raises:
            LedgerUnavailable, OSError: the file is as it was; the next call makes up for it.
        """
        self._lines.update((row.number, export.line(row)) for row in ledger.all(after=self._final))
        write_whole(self._path, export.table(self._lines.values()))
        measured = ledger.measured()
        self._final = measured.number - 1 if measured else 0
