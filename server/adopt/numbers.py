"""Which of the numbers that a command printed is the metric, and what its name says of it: proposals."""

import re
from collections.abc import Sequence
from typing import Literal

from server.metric import Direction, Scale
from server.records import Figures, Value
from trainer.contract import PRINTED

Source = Literal["printed", "cpu", "wall", "memory"]
_TIMES = "ms s sec secs second seconds us µs μs ns min minutes milliseconds microseconds nanoseconds".split()
_TIME_WORDS = {
    *_TIMES,
    *"time elapsed latency duration runtime total mean median avg average wall cpu p50 p90 p95 p99 took".split(),
}
_RATES = {
    *"ops rps qps tps fps throughput rate mops mflops gflops bandwidth speed".split(),
    *"op/s ops/s req/s mb/s mib/s gb/s gib/s kb/s it/s items/s rows/s /s".split(),
}
_GOOD = {
    *"score accuracy acc f1 precision recall auc bleu rouge passed hits coverage reward points solved correct".split(),
}
_BAD = {
    *"loss error errors err size bytes kb mb misses cost memory rss perplexity mse rmse mae wer failures bpb".split()
}
_OF_ANYTHING = {"total", "mean", "median", "avg", "average"}  # words of results that say nothing of their direction
_UNIT_OF = {"milliseconds": "ms", "seconds": "s", "secs": "s", "sec": "s", "microseconds": "µs"}
_WORDS = re.compile(r"[A-Za-zµμ]+[0-9]*|[0-9]+")


class Number(Value):
    """A number with a name, as the command printed it."""

    form: str  # METRIC, json or line
    name: str
    unit: str
    value: float


class Guess(Value):
    """A metric, as far as its name tells."""

    name: str
    unit: str
    source: Source
    direction: Direction
    scale: Scale
    sure: bool  # whether name or source say the direction


def printed_numbers(figures: Figures) -> list[Number]:
    """The numbers among the figures of a run whose task wanted all of them, in the order in which they count."""
    found = list[Number]()
    for name, value in (figures.model_extra or {}).items():
        mark, _, rest = name.partition(" ")
        if mark == PRINTED and len(words := rest.split(" ")) in (2, 3):
            found.append(Number(form=words[0], name=words[1], unit="".join(words[2:]), value=value))
    return found


def choose(numbers: Sequence[Number]) -> Number | None:
    """The one that is most likely meant; None: none of the lines says that it is a result.

    That is the first METRIC line; else in a JSON object the first usual name, or the first name; else of other lines
    the first with a usual name or unit, or one that stands alone.
    """
    marked = [one for one in numbers if one.form == "METRIC"]
    usual = [one for one in numbers if _is_usual(one)]
    told = [*marked, *(one for one in usual if one.form == "json"), *(one for one in numbers if one.form == "json")]
    found = [*told, *usual]
    return found[0] if found else numbers[0] if len(numbers) == 1 else None


def of_number(number: Number) -> Guess:
    """What the name and unit of a printed number say of it."""
    return guess(number.name, number.unit, above_zero=number.value > 0)


def guess(name: str, unit: str = "", above_zero: bool = True) -> Guess:
    """What name and unit of a printed metric say of it."""
    words = _words(name)
    rate = _is_rate(words, unit)
    unit = unit or ("" if rate else _unit_in(words))
    time = not rate and (unit in _TIMES or bool({*_TIMES} & {*words}) or words[-1:] == ["time"])
    lower = not rate and (time or bool((_BAD | _TIME_WORDS) & {*words} - _OF_ANYTHING))
    higher = rate or (not lower and bool(_GOOD & {*words}))
    return Guess(
        name=name,
        unit=unit,
        source="printed",
        direction="higher" if higher else "lower",
        scale="log" if above_zero and (time or rate) else "linear",
        sure=higher or lower,
    )


def of_referee(cpu_seconds: float, wall_seconds: float) -> Guess:
    """What the referee reads itself: CPU time where one processor did the work, else the time that passed.

    On a machine that others use, too, the work of a second takes several.
    """
    alone = 0.15 * wall_seconds <= cpu_seconds <= 1.15 * wall_seconds
    return read_by_referee("cpu" if alone else "wall", "ms" if wall_seconds < 1 else "s")


def read_by_referee(source: Source, unit: str = "") -> Guess:
    """A metric that the referee reads, by where it comes from."""
    unit = unit or ("MB" if source == "memory" else "s")
    name = {"cpu": "cpu_time", "wall": "wall_time", "memory": "peak_memory"}[source]
    return Guess(name=name, unit=unit, source=source, direction="lower", scale="log", sure=True)


def _is_rate(words: list[str], unit: str) -> bool:
    """Whether it counts something in a stretch of time."""
    per_time = words[-2:-1] == ["per"] and words[-1] in _TIMES
    return per_time or unit.endswith("/s") or bool(_RATES & {*words, unit.lower()})


def _is_usual(number: Number) -> bool:
    words = {*_words(number.name), number.unit.lower()} - {""}
    return bool(words & (_TIME_WORDS | _RATES | _GOOD | _BAD)) or number.unit in _TIMES


def _words(name: str) -> list[str]:
    """The words of a name, also of camelCase, in small letters."""
    return [word.lower() for word in _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))]


def _unit_in(words: Sequence[str]) -> str:
    """The last unit of time among the words of a name."""
    units = [_UNIT_OF.get(word, word) for word in words]
    return next((unit for unit in reversed(units) if unit in ("ms", "s", "us", "µs", "ns")), "")
