"""What is said of an experiment and of a study in words, with numbers as people read them. Pure."""

import math
from collections.abc import Sequence

from server.metric import Metric
from server.records import Verdict
from server.reporting.view_model import (
    Counts,
    Fact,
    Headline,
    Health,
    Hidden,
    Kind,
    Lane,
    LaneState,
    NoiseView,
    Standing,
)
from server.reporting.view_rows import Line, Scale
from server.text import printable, shorten

_SEALED = {
    "sealed": (True, "The code under test was sealed off from what scores it"),
    "judged": (True, "A judge outside the reach of the code under test has measured it"),
    "audited": (False, "The referee has measured it, but not every guard held"),
    "printed": (False, "The code under test has printed its own score"),
    "unconfined": (False, "No guard held: the code could do what the operator's account can"),
}
KEPT = {
    Standing.BASELINE: "baseline",
    Standing.SURE: "kept",
    Standing.NOISE: "kept, within the noise",
    Standing.PROVISIONAL: "kept, provisional",
}
_WORDS = 100  # bytes of a description
_LISTED = 8  # numbers of experiments in a sentence


def shown_change(metric: Metric, change: float, places: int = 4) -> str:
    """A change on the scale with its sign; on a log scale in per cent."""
    if metric.scale == "log":
        return f"{100 * math.expm1(change):+.2f} %".replace("-", "−")
    return metric.number(change, places, "+").replace("-", "−")


def shown_size(metric: Metric, size: float, places: int = 4) -> str:
    """An error or another size on the scale; on a log scale in per cent."""
    return f"{100 * size:.2g} %" if metric.scale == "log" else metric.number(size, places)


def shown_amount(metric: Metric, change: float, places: int = 4) -> str:
    """How large a change on the scale is, without its sign; on a log scale in per cent of what was before."""
    return shown_change(metric, change, places)[1:]


def headline_words(metric: Metric, headline: Headline) -> str:
    """How far a study has come, in a line: the best by the runs that did not select it, beside the best single one."""
    best, unit = headline.best, f" {metric.unit}" if metric.places is None and metric.unit != metric.name else ""
    error = "" if best.error is None else f" ± {shown_size(metric, best.error)}"
    value = f"{metric.number(best.value, 4)}{error}{unit.rstrip()}"
    if best.number == headline.baseline.number:
        return f"{value} by {_runs(best.runs)}, the baseline; nothing better was kept so far"
    off = "" if headline.error is None else f" ± {shown_size(metric, headline.error)}"
    way = f"{metric.number(headline.baseline.value, 4)} → {value} ({shown_change(metric, headline.change)}{off})"
    again = "a provisional value: not measured again since it was kept"
    again = again if headline.provisional else f"measured again by {_runs(best.runs)}"
    return f"{way}, {again}; the best single score of a keep was {metric.number(headline.single.value, 4)}"


def lanes_in_words(lanes: Sequence[Lane], slots: int) -> list[str]:
    """How many slots are busy, and where each lane is, a line each; nothing where there is one of each."""
    if not lanes:
        return []
    busy = sum(lane.state is LaneState.RUNNING for lane in lanes)
    return [f"{busy} of {slots} slot{'' if slots == 1 else 's'} busy", *map(_lane, lanes)]


def _lane(lane: Lane) -> str:
    by = f" of {lane.agent}" if lane.agent and lane.agent != lane.name else ""
    if lane.state is LaneState.IDLE or lane.number is None:
        return printable(f"lane {lane.name}{by}: no run")
    states = {LaneState.QUEUED: f"waits at place {lane.place}", LaneState.OPEN: "waits for a decision"}
    what = states.get(lane.state) or (lane.now.stage if lane.now else "running")
    return printable(f"lane {lane.name}{by}: {lane.number}, {what}: {shorten(lane.description, _WORDS)}")


def kept_words(counts: Counts) -> str:
    """How many changes were kept, and how sure their gains are."""
    sure = f"{counts.sure} sure, {counts.noise} within the noise, {counts.provisional} provisional"
    return f"{counts.kept} kept ({sure})" if counts.kept else "none kept"


def verdict_words(line: Line, scale: Scale, cause: str = "", reason: str = "") -> tuple[str, str]:
    """The verdict as a headline and a sentence.

    Args:
        cause: of a failure, in a word. reason: what the run says of its end.
    """
    name = line.row.label.replace("_", " ").capitalize()
    if line.kind is Kind.RUNNING:
        return "Running", "Its verdict comes when the run is over."
    if line.kind in (Kind.FAILED, Kind.REFUSED):
        return f"{name} ({cause})" if cause and cause != line.row.label else name, reason
    if line.kind is Kind.REVOKED:
        by = f"experiment {line.row.revocation.by}" if line.row.revocation else "a later run"
        return "Revoked", f"It was kept until {by} failed its audit."
    if line.standing is Standing.BASELINE:
        return "The baseline", f"{_runs(line.runs)}; everything is compared with it."
    if line.change is None:
        return name, "It was not compared with anything."
    return _kept_words(line, scale) if line.kind is Kind.KEPT else _other_words(line, scale, line.change)


def _other_words(line: Line, scale: Scale, change: float) -> tuple[str, str]:
    """Of a change that was not kept, or not yet."""
    size, away, gain = shown_amount(scale.metric, change, 5), _away(line), scale.gain(change)
    shown = shown_change(scale.metric, change, 5)
    if line.kind is Kind.OPEN:
        return f"Better so far, by {size}" if gain > 0 else "Not better so far", f"{away}. It waits for a decision."
    if line.row.verdict == Verdict.GUARDRAIL:
        return "Out of bounds", f"A figure is beyond what program.md allows; {shown}."
    if line.row.verdict == Verdict.WORSE:
        return f"Worse by {size}", f"{away}. Discarded."
    better = gain > 0 and line.row.verdict == Verdict.IMPROVED
    return "Better, but not kept" if better else "No measurable difference", f"{shown}, {away}. Discarded."


def _kept_words(line: Line, scale: Scale) -> tuple[str, str]:
    size, away = shown_amount(scale.metric, line.change or 0.0, 5), _away(line)
    error = f" ± {shown_size(scale.metric, line.error, 5)}" if line.error is not None else ""
    if line.standing is Standing.SURE:
        more = f", confirmed by {_runs(line.confirmations, 'more ')}" if line.confirmations else ", in its first run"
        return f"Better by {size}{error}", f"{away}{more}. Kept."
    if line.row.verdict == Verdict.SIMPLER:
        return "Simpler, and no worse", f"Kept for having less code; {shown_change(scale.metric, line.change or 0, 5)}."
    if line.standing is Standing.PROVISIONAL:
        return f"Better by {size}{error}, once", f"{away}, by the run that selected it: it may be partly luck. Kept."
    twice = None if scale.sigma is None else shown_size(scale.metric, math.sqrt(2) * scale.sigma, 5)
    luck = f"Two runs of one text differ by {twice}: it may be luck." if twice else "It may be luck."
    return "Kept, within the noise", f"{shown_change(scale.metric, line.change or 0, 5)}, {away}. {luck}"


def _away(line: Line) -> str:
    if line.change is None or not line.error:
        return "Repeated runs are exactly alike" if line.error == 0 else "Its error is not known"
    return f"{abs(line.change) / line.error:.1f} standard errors"


def _runs(count: int, more: str = "") -> str:
    return f"{count} {more}run{'' if count == 1 else 's'}"


def trust_facts(
    scale: Scale, noise: NoiseView | None, headline: Headline | None, told: list[Line], hidden: Hidden | None
) -> list[Fact]:
    """How far the study can be trusted, the most important first; what concerns the machine is `machine_facts`."""
    facts = [_noise_fact(scale.metric, noise)] if noise else []
    facts += [_best_fact(scale, headline)] if headline else []
    facts += _kept_facts(told)
    if hidden:
        error = "" if hidden.error is None else f" ± {shown_size(scale.metric, hidden.error)}"
        good = scale.gain(hidden.change) > SURE_HIDDEN * (hidden.error or 0.0)
        text = f"On hidden text: {shown_change(scale.metric, hidden.change)}{error}"
        facts.append(Fact(good=good, text=text, more="Baseline and best, trained again and scored on new text."))
    return facts


SURE_HIDDEN = 2.0  # standard errors


def _noise_fact(metric: Metric, noise: NoiseView) -> Fact:
    sigma, least = shown_size(metric, noise.sigma), shown_size(metric, noise.smallest)
    if not noise.sigma:
        return Fact(good=True, text="Repeated runs are exactly alike", more="Any gain counts that a second run finds.")
    if not noise.repeats:
        more = f"No run was repeated yet: this is assumed. A change of {least} would be found three times in four."
        return Fact(good=False, text=f"One run scatters by some σ = {sigma}", more=more)
    more = f"From {_runs(noise.repeats, 'repeated ')}; a change of {least} is found three times in four."
    return Fact(good=True, text=f"One run scatters by σ = {sigma}", more=more)


def _best_fact(scale: Scale, headline: Headline) -> Fact:
    best, single, metric = headline.best, headline.single, scale.metric
    value = metric.number(best.value, 4)
    if headline.provisional:
        by = f"the {_runs(best.confirmations)} that confirmed it" if best.confirmations else "the run that selected it"
        more = f"{value} comes from {by}, so it is probably {'a little ' * bool(best.confirmations)}too good."
        return Fact(
            good=False,
            text="The best has a provisional value: not measured again since it was kept",
            more=more,
        )
    error = "" if best.error is None else f" ± {shown_size(metric, best.error)}"
    luck = scale.between(single.value, best.value)
    told = f"{value}{error}."
    if luck is not None and scale.gain(luck) > 0:
        told += f" The best single score, {metric.number(single.value, 4)}, was {shown_amount(metric, luck)} too good."
    return Fact(good=True, text=f"The best was measured again by {_runs(best.runs)}", more=told)


def _kept_facts(told: list[Line]) -> list[Fact]:
    kept = [one for one in told if one.kind is Kind.KEPT and one.standing is not Standing.BASELINE]
    if not kept:
        return []
    noise = [one.row.number for one in kept if one.standing is Standing.NOISE]
    once = [one.row.number for one in kept if one.standing is Standing.PROVISIONAL]
    sure = len(kept) - len(noise) - len(once)
    facts = [Fact(good=not noise and not once, text=f"{sure} of {_kept(len(kept))} sure by the noise")]
    if noise:
        facts.append(Fact(good=False, text="Kept within the noise", more=_many(noise), numbers=noise[:_LISTED]))
    if once:
        text = "Kept by the run that selected them alone"
        facts.append(Fact(good=False, text=text, more=_many(once), numbers=once[:_LISTED]))
    return facts


def _kept(count: int) -> str:
    return "1 kept change is" if count == 1 else f"{count} kept changes are"


def _many(numbers: list[int]) -> str:
    return f"and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""


def machine_facts(health: Health, of_models: bool) -> list[Fact]:
    """What guards, audits and the machine say."""
    facts: list[Fact] = []
    if health.trust in _SEALED:
        good, text = _SEALED[health.trust]
        held = ", ".join(f"{name} {state}" for name, state in health.guards.items())
        facts.append(Fact(good=good, text=text, more=held))
    if of_models and not health.problems:
        facts.append(Fact(good=True, text="No audit has failed"))
    facts += [Fact(good=False, text=problem) for problem in health.problems]
    if health.disturbed:
        text = f"{_runs(health.disturbed)} disturbed by heat, a lack of power or another process"
        facts.append(Fact(good=False, text=text, more="A disturbed run is not judged: it is run again."))
    return facts
