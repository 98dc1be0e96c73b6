"""Where a study stands, for whoever shows no rows: headline, noise, and how sure each keep is. Only keeps are read."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Experiment, Purpose
from server.reporting.view_model import Counts, Headline, Kind, NoiseView, Standing
from server.reporting.view_rows import Folded, Line, lines
from server.reporting.view_summary import headline_of, noise_of, scale_of


@dataclass(frozen=True)
class Position:
    """Where a study stands. Its numbers are those of a `Summary` of the same rows."""

    headline: Headline | None  # None: nothing was kept, or nothing by the last definition of the task
    noise: NoiseView | None
    kept: dict[int, Line]  # by number, the baseline as well

    @property
    def counts(self) -> Counts:
        """Of the keeps alone."""
        standings = [line.standing for line in self.kept.values()]
        sure, noise, once = map(standings.count, (Standing.SURE, Standing.NOISE, Standing.PROVISIONAL))
        return Counts(kept=sure + noise + once, sure=sure, noise=noise, provisional=once)


_known: WeakKeyDictionary[Ledger, tuple[tuple[object, ...], Position]] = WeakKeyDictionary()


def position(ledger: Ledger, metric: Metric) -> Position:
    """Where the study of this ledger stands; read anew after each write.

    Args:
        metric: of the last run's measurement.

    Raises:
        LedgerUnavailable, OSError.
    """
    now = (metric, ledger.written_ns, ledger.last(), tuple(ledger.counts().items()))
    known = _known.get(ledger)
    if known is None or known[0] != now:
        _known[ledger] = known = (now, _read(ledger, metric))
    return known[1]


def _read(ledger: Ledger, metric: Metric) -> Position:
    kept = ledger.kept()
    roots = {row.number: row for row in kept}
    for number in {row.judgement.incumbent for row in kept if row.judgement} - roots.keys():  # revoked since
        if number is not None and (row := ledger.get(number)):
            roots[number] = row
    after = {number for row in kept if (number := _next_new(ledger, row))}
    repeats = {number: _repeats(ledger, number) for number in roots}
    folded = Folded([roots[number] for number in sorted(roots)], repeats, sorted(roots.keys() | after))
    scale = scale_of(ledger, metric)
    told = {line.row.number: line for line in lines(folded, scale) if line.kind is Kind.KEPT}
    return Position(headline_of(ledger, folded, scale), noise_of(ledger, scale), told)


def _repeats(ledger: Ledger, number: int) -> list[Experiment]:
    runs = [run for purpose in (Purpose.CONFIRM, Purpose.REFERENCE) for run in ledger.repeats(number, purpose)]
    return sorted(runs, key=lambda run: run.number)


def _next_new(ledger: Ledger, row: Experiment) -> int | None:
    """The next experiment after a keep and its further runs; None: there is none."""
    number = row.number + 1
    while (after := ledger.get(number)) is not None and after.attempt.of is not None:
        number += 1
    return after.number if after else None
