"""The first lines of a report: its title, and the study in a paragraph of numbers with their errors."""

from datetime import datetime, timedelta

from server.metric import Metric
from server.reporting.bill import time_in_words
from server.reporting.morning.contents import Number, Words
from server.reporting.morning.measured import value_with_error, with_error
from server.reporting.view_model import Headline, Standing, StudyState, Summary
from server.text import shorten

_DESCRIPTION = 90  # bytes of a change in the paragraph
_LARGE = 0.25  # share of the whole gain that is worth a clause
_SMALL_HOURS = (0, 5)
_NAME = 40  # bytes of an agent's
_FINDERS = 4


def title(summary: Summary) -> str:
    """The night or the study, and its day."""
    try:
        start = datetime.fromisoformat(summary.study.started).astimezone()
        end = start + timedelta(seconds=summary.study.elapsed)
    except (ValueError, OverflowError):
        return f"The study {summary.study.tag}"
    midnight = (start + timedelta(days=1)).replace(hour=_SMALL_HOURS[1], minute=0)
    night = start.hour < _SMALL_HOURS[1] or end >= midnight - timedelta(hours=_SMALL_HOURS[1] - 1)
    return f"The {'night' if night else 'study'} of {start.day} {start:%B %Y}"


def summary_paragraph(summary: Summary, metric: Metric) -> list[Words]:
    """The study in a few sentences."""
    counts, headline = summary.counts, summary.headline
    if not counts.experiments or headline is None:
        return [Words(text=_nothing(summary))]
    words = [Words(text=f"In {time_in_words(summary.study.elapsed)} {_tried(summary)}. ")]
    words += _gain(headline, metric) if counts.kept else _no_gain(summary, metric)
    if counts.kept:
        words += [*_parts(summary, metric), *_finders(summary)]
    return [*words, *_after(summary, metric)]


def changes(summary: Summary) -> int:
    """How many were tried: the baseline is none, however often it failed."""
    counts = summary.counts
    measured = counts.kept + counts.discarded + counts.open + counts.revoked
    return max(counts.experiments - 1, 0) if measured or summary.headline else 0


def _tried(summary: Summary) -> str:
    """What was tried, and what became of it."""
    counts, many = summary.counts, changes(summary)
    if not many:
        runs = summary.headline.baseline.runs if summary.headline else 0
        often = f" {runs} times" if runs > 1 else ""
        return f"the baseline was measured{often}, and no change was tried"
    who = f"{len(summary.agents)} agents" if summary.agents else "the agent"
    if many == 1:
        became = "it was kept" if counts.kept else "it has no score" if counts.failed else "it was not kept"
        return f"{who} tried 1 change; {became}"
    kept = f"{counts.kept or 'none'} {'were' if counts.kept > 1 else 'was'} kept"
    failed = f", and {counts.failed} {'has' if counts.failed == 1 else 'have'} no score" if counts.failed else ""
    return f"{who} tried {many} changes; {kept}{failed}"


def _nothing(summary: Summary) -> str:
    if summary.study.state is StudyState.RUNNING:
        return "The first run is running: nothing was measured yet."
    failed = summary.counts.failed
    runs = "1 run has" if failed == 1 else f"{failed} runs have"
    return f"Nothing was measured: {runs} no score." if failed else "Nothing was measured."


def _gain(headline: Headline, metric: Metric) -> list[Words]:
    before, after = headline.baseline.value, headline.best.value
    way = f"{metric.number(before, 4)} to {metric.number(after, 4)}"
    unit = f" {metric.unit}" if metric.places is None and metric.unit not in ("", metric.name) else ""
    size = with_error(metric, metric.sign * headline.change, headline.error).lstrip("+-")
    share = "" if headline.percent is None or metric.scale == "log" else f" ({abs(headline.percent):.1f} %)"
    verb = "fell" if after < before else "rose"
    if not headline.better:
        worse = headline.error is not None and metric.sign * headline.change < -2 * headline.error
        told = f"{metric.name} {verb if worse else 'went'} from {way}{unit}, "
        noise = "which the noise may explain" if headline.error is not None else "and no noise is known yet"
        return [Words(text=told, strong=True), Words(text=f"{'which is worse' if worse else noise} ({size}). ")]
    return [
        Words(text=f"{metric.name} {verb} from {way}{unit}, by ", strong=True),
        Words(text=size, strong=True, gain=True),
        Words(text=f"{share}. ", strong=True),
    ]


def _no_gain(summary: Summary, metric: Metric) -> list[Words]:
    headline, noise = summary.headline, summary.noise
    assert headline
    best = value_with_error(metric, headline.baseline.value, headline.baseline.error)
    words = [Words(text=f"The baseline stands at {metric.name} {best}. ", strong=True)]
    if noise and noise.sigma:
        size = _size(metric, noise.smallest)
        words.append(Words(text=f"Gains below {size} would hardly be seen, because single runs vary. "))
    return words


def _parts(summary: Summary, metric: Metric) -> list[Words]:
    """What the gain is made of."""
    counts, rows = summary.counts, summary.rows
    headline = summary.headline
    assert headline
    words: list[Words] = []
    gains = [
        (metric.sign * change, place)
        for place, change in enumerate(rows.change)
        if change is not None and rows.standing[place] and rows.comparable[place]
        if summary.standings[rows.standing[place]] != Standing.BASELINE
    ]
    whole = metric.sign * headline.change
    if len(gains) > 1 and headline.better and (largest := max(gains))[0] >= _LARGE * whole:
        share = min(largest[0] / whole, 1.0)
        words.append(Words(text=f"{100 * share:.0f} % of it came from one change, "))
        words.append(Words(text=shorten(rows.description[largest[1]], _DESCRIPTION), quoted=True))
        words.append(Words(text="; " if counts.kept > 1 else ". "))
    if counts.kept > 1:
        told = _standing(counts.sure, counts.kept - counts.sure)
        words.append(Words(text=f"{told if words else told[0].upper() + told[1:]} "))
    return words


def _finders(summary: Summary) -> list[Words]:
    """Who has kept how many, of several agents."""
    found = [one for one in summary.agents if one.kept]
    if not found:
        return []
    told = ", ".join(f"{shorten(one.name or 'clients without a name', _NAME)} {one.kept}" for one in found[:_FINDERS])
    more = f" and {len(found) - _FINDERS} others" if len(found) > _FINDERS else ""
    return [Words(text=f"Kept changes by agent: {told}{more}. ")]


def _standing(sure: int, unsure: int) -> str:
    if not unsure:
        return f"{'both' if sure == 2 else 'all'} kept changes are larger than the noise."
    if not sure:
        return "no change is larger than the noise by itself."
    are = "is" if sure == 1 else "are"
    return f"{sure} change{'' if sure == 1 else 's'} {are} larger than the noise, {unsure} not by {_self(unsure)}."


def _self(count: int) -> str:
    return "itself" if count == 1 else "themselves"


def _after(summary: Summary, metric: Metric) -> list[Words]:
    """What else a reader must know: text that scored nothing, a best that was not measured again, why it ended."""
    headline, words = summary.headline, list[Words]()
    if headline and headline.provisional and summary.counts.kept:
        by = "runs that decided it" if headline.best.confirmations else "run that selected it"
        little = "a little " * bool(headline.best.confirmations)
        words.append(Words(text=f"The best was measured only by the {by}, so its score is probably {little}too good. "))
    if hidden := summary.hidden:
        size = with_error(metric, metric.sign * hidden.change, hidden.error)
        words.append(Words(text=f"On held-out text the change is {minus(size)}. "))
    study = summary.study
    if study.state in (StudyState.RUNNING, StudyState.IDLE, StudyState.PAUSED):
        words.append(Words(text="The study is not over. "))
    elif study.state in (StudyState.OVER, StudyState.STOPPED) and study.why:
        words.append(Words(text=f"It ended because {study.why}."))
    return words


def minus(text: str) -> str:
    """With the typographer's minus."""
    return text.replace("-", "−")


def _size(metric: Metric, size: float) -> str:
    return f"{100 * size:.2g} %" if metric.scale == "log" else metric.number(size, 4)


def numbers(summary: Summary, metric: Metric) -> list[Number]:
    """Five of the six figures; the last one is the bill's."""
    counts, headline = summary.counts, summary.headline
    tried = changes(summary)
    found: list[Number] = []
    if headline:
        best = headline.best
        error = f"± {_error(metric, best.value, best.error)}" if best.error else ""
        more = _count(best.confirmations, "confirmation") if best.confirmations else "not measured again"
        by = _count(best.runs, "fresh run") if best.runs else more
        found.append(Number(name="best", value=metric.number(best.value, 4), more=", ".join(filter(None, (error, by)))))
    else:
        found.append(Number(name="best", value="none", more="nothing was measured"))
    found.append(Number(name="changes tried", value=str(tried), more=_count(counts.runs, "run")))
    share = f"{100 * counts.kept / tried:.0f} %, " if tried else ""
    found.append(Number(name="kept", value=str(counts.kept), more=f"{share}{counts.sure} beyond noise"))
    found.append(Number(name="failed", value=str(counts.failed), more="no score"))
    return found


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _error(metric: Metric, value: float, error: float) -> str:
    told = value_with_error(metric, value, error)
    return told.partition(" ± ")[2] or "0"
