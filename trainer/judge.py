"""The process of a judge: `python -P -m trainer.judge`. It runs the author's judge.py and never code of the candidate.

A request is one line of JSON on standard input, its reply one on standard output. What judge.py prints goes to
standard error. Answers come as the bytes that a worker wrote: they are parsed here, as strictly as JSON allows, and
what cannot be parsed is a wrong answer.

    load    {"judge": path, "editable": [glob],                  case_seconds, case_cpu_seconds, total, converses
             "off_limits": [glob], "source": str}
    begin   {"seed": int, "stream": str}                         nothing: a stream of cases begins, or begins anew
    case    {"stream": str, "side": str}                         question, or null after the last; fresh
    score   {"answer": str, "side": str, "counts": bool, "back": n}   score, figures; of the case n before the last
    total   {"side": str, "without": k, "of": n}                 score, figures

A judge whose cases() reads the answers converses: each side has a stream of its own, which is told that side's answer
when its next case is asked for. Else all sides share one.

Every reply may instead be {"wrong": why} or {"failed": what, "line": int, "traceback": str}.
"""

import ast
import json
import math
import os
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from trainer.commands.own_imports import CandidateImported, OwnImports
from trainer.contract import MetricSource
from trainer.judging import NEW_WORKER, WrongAnswer

_CASE_SECONDS = 10.0
_BUSY = 5.0  # seconds on the wall for a CPU second, on a machine with much else to do
_LARGEST = int(sys.float_info.max)  # an integer beyond breaks the arithmetic of an honest judge
_DEEPEST = 200
_REMEMBERED = 8  # cases whose truth is kept: workers practise on the same ones several times
_MOST_FIGURES = 50
# Names of figures that records keep as whole numbers, or as words.
_TAKEN = frozenset("steps tokens parameters audits audit_factor threads gpu_clock_mhz gpu_celsius".split())
_TAKEN |= frozenset("device torch compiler data unkillable gpu_held driver".split())
_LONGEST_NAME = 60
_NO_ANSWER = object()


class Nonsense(Exception):
    """judge.py gave something that no judge may give."""


class Judge:
    """An author's judge.py, at work on one run."""

    def __init__(self) -> None:
        self._module = ModuleType("judge")
        self._path = Path()
        self._imports = OwnImports(self._path, [], [])
        self._needs_score = True
        self._converses = False
        self._stream = ""  # that the last case was of
        self._seeds: dict[str, int] = {}
        # By stream and side; where all sides share a stream, the side is "".
        self._streams: dict[tuple[str, str], Iterator[Any]] = {}
        self._answers: dict[tuple[str, str], Any] = {}  # that the stream was not told yet
        self._truths: dict[str, deque[Any]] = {}  # by side
        self._scores: dict[str, list[Any]] = {}
        self._forms: set[str] = set()  # of the answers that were scored

    def load(self, judge: str, editable: list[str], off_limits: list[str], source: str) -> dict[str, Any]:
        """Run the text of judge.py."""
        self._path = Path(judge)
        self._imports = OwnImports(self._path, editable, off_limits)
        self._module.__file__ = judge
        sys.modules[self._path.stem] = sys.modules["judge"] = self._module
        self._imports.begin()
        # At the end: no file beside the judge, and none of the candidate's, takes the place of a standard module.
        sys.path.append(str(self._path.parent))
        exec(compile(self._path.read_bytes(), judge, "exec"), vars(self._module))
        self._require_functions()
        self._imports.require_own()
        self._needs_score = source == MetricSource.SCORE
        self._converses = any(map(_reads_answers, [self._path, *map(Path, self._imports.files())]))
        cpu_seconds = self._seconds("CASE_CPU_SECONDS", None)
        return {
            "case_seconds": self._seconds("CASE_SECONDS", _CASE_SECONDS + _BUSY * (cpu_seconds or 0.0)),
            "case_cpu_seconds": cpu_seconds,
            "total": self._total is not None,
            "converses": self._converses,
        }

    def begin(self, seed: int, stream: str) -> dict[str, Any]:
        """Begin a stream of new cases; what was scored is kept."""
        for known in (self._streams, self._answers):
            for key in [key for key in known if key[0] == stream]:
                del known[key]
        self._seeds[stream] = seed
        if not self._converses:
            self._streams[stream, ""] = iter(self._module.cases(seed))
        self._imports.require_own()
        return {}

    def case(self, stream: str, side: str) -> dict[str, Any]:
        """Draw the next case of a stream, or of a side's own one."""
        self._stream, whose = stream, self._whose(side)
        if (stream, whose) not in self._streams:
            self._streams[stream, whose] = iter(self._module.cases(self._seeds[stream]))
        try:
            drawn = _resumed(self._streams[stream, whose], self._answers.pop((stream, whose), _NO_ANSWER))
        except StopIteration:
            return {"question": None}
        fresh = isinstance(drawn, tuple | list) and len(drawn) == 3 and drawn[2] == NEW_WORKER
        if not isinstance(drawn, tuple | list) or len(drawn) - fresh != 2:
            raise Nonsense(f"cases() yields {_shown(drawn)}: a case is a pair (question, truth)")
        if fresh and not self._converses:
            raise Nonsense("cases() asks for a NEW_WORKER, and reads no answer: `answer = yield question, truth`")
        question, truth = drawn[:2]
        self._truths.setdefault(whose, deque(maxlen=_REMEMBERED)).append(truth)
        try:
            return {"question": json.dumps(question, allow_nan=False), "fresh": fresh}
        except (TypeError, ValueError, RecursionError) as error:
            raise Nonsense(f"cases() yields a question that is no JSON value: {error}") from error

    def score(self, answer: str, side: str, counts: bool, back: int) -> dict[str, Any]:
        """Score one answer to the case that was drawn last, or so many before it."""
        parsed, whose = parse(answer.encode("latin-1")), self._whose(side)
        form = _form(parsed)
        try:
            given = self._module.score(parsed, self._truths[whose][-1 - back])
        except WrongAnswer:
            raise
        except Exception as error:
            if self._forms and form not in self._forms:  # others were scored: it is the answer that is at fault
                told = f"score() cannot read it ({type(error).__name__}: {error}), and it has another form than others"
                raise WrongAnswer(f"{told}: {form}") from error
            raise
        self._imports.require_own()
        self._forms.add(form)
        if self._converses:
            self._answers[self._stream, whose] = parsed
        if counts:
            self._scores.setdefault(side, []).append(given)
        if self._total is not None and self._needs_score:  # what `total` reads is its own affair
            return {"score": None, "figures": {}}
        return self._told(given, "score()", self._needs_score)

    def total(self, side: str, without: int = 0, of: int = 0) -> dict[str, Any]:
        """One score from all of a side; `of` > 0: from those whose place, divided by it, leaves another rest."""
        kept = [given for place, given in enumerate(self._scores[side]) if not of or place % of != without]
        if self._total is None:
            told = [self._told(given, "score()", self._needs_score) for given in kept]
            return {"score": sum(one["score"] or 0.0 for one in told) / max(1, len(told)), "figures": {}}
        return self._told(self._total(kept), "total()", self._needs_score)

    @property
    def _total(self) -> Any:
        return getattr(self._module, "total", None)

    def _require_functions(self) -> None:
        for name, arguments in (("cases", "seed"), ("score", "answer, truth")):
            if not callable(getattr(self._module, name, None)):
                raise Nonsense(f"it defines no function {name}({arguments})")

    def _whose(self, side: str) -> str:
        return side if self._converses else ""

    def _seconds(self, name: str, usual: float | None) -> float | None:
        told = getattr(self._module, name, usual)
        if told is None:
            return None
        if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= 86400:
            raise Nonsense(f"{name} is {_shown(told)}: give seconds, above 0 and at most 86400")
        return float(told)

    def _told(self, given: Any, who: str, needed: bool) -> dict[str, Any]:
        figures = given if isinstance(given, dict) else {"score": given}
        score = figures.get("score")
        if needed or score is not None:
            score = _number(score, f"{who} gives")
        others = {name: _number(value, f"{who} gives {name!r} =") for name, value in figures.items() if name != "score"}
        if taken := _TAKEN.intersection(others):
            raise Nonsense(
                f"{who} gives a figure named {min(taken)!r}, which is a name of the referee's: choose another"
            )
        named = all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in others)
        if not named or len(others) > _MOST_FIGURES:
            raise Nonsense(f"{who} gives figures that are too many ({_MOST_FIGURES} at most) or have no short names")
        return {"score": score, "figures": others}


def _reads_answers(path: Path) -> bool:
    """Whether some generator in this file does something with what a `yield` gives back."""
    with suppress(OSError, SyntaxError, ValueError, RecursionError):
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
        ignored = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        return any(isinstance(node, ast.Yield) and id(node) not in ignored for node in nodes)
    return False


def _resumed(stream: Iterator[Any], answer: Any) -> Any:
    """The next case of a stream that is told the last answer, if it listens. Raises StopIteration."""
    inner: Any = stream
    while (deeper := getattr(inner, "gi_yieldfrom", None)) is not None:
        inner = deeper
    listens = answer is not _NO_ANSWER and hasattr(inner, "send")
    return cast("Any", stream).send(answer) if listens else next(stream)


def parse(answer: bytes) -> Any:
    """The JSON value of an answer. Raises WrongAnswer: it is none, or one that would mislead a judge."""
    try:
        value = json.loads(
            answer.decode(), parse_constant=_constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object
        )
        if _depth(value) > _DEEPEST:
            raise WrongAnswer(f"the answer is nested more than {_DEEPEST} times")
        if b"\\u" in answer:  # an escape may name half of a character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise WrongAnswer("the answer is no text in UTF-8, or holds half of a character") from None
    except RecursionError:
        raise WrongAnswer(f"the answer is nested more than {_DEEPEST} times") from None
    except ValueError as error:
        raise WrongAnswer(f"the answer is no JSON value: {error}") from None
    return value


def _constant(name: str) -> Any:
    raise WrongAnswer(f"the answer holds {name}, which is no JSON")


def _float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise WrongAnswer(f"the answer holds {text[:40]}, which is too large for a number")
    return number


def _int(text: str) -> int:
    if len(text) > 400 or abs(number := int(text)) > _LARGEST:
        raise WrongAnswer(f"the answer holds an integer of {len(text)} digits")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise WrongAnswer("the answer holds an object with the same key twice")
    return made


def _depth(value: Any) -> int:
    """How deep a JSON value is nested, counted level by level."""
    depth, level = 0, [value]
    while level := [
        inner
        for one in level
        if isinstance(one, dict | list)
        for inner in (one.values() if isinstance(one, dict) else one)
    ]:
        depth += 1
        if depth > _DEEPEST:
            break
    return depth


def _form(value: Any) -> str:
    """What kind of value it is: the kinds inside of it as well, of a list those of the first ones."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key[:40]}: {type(value[key]).__name__}" for key in sorted(value)[:20]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(sorted({type(one).__name__ for one in value[:1000]})) + "]"
    return type(value).__name__


def _number(value: Any, gives: str) -> float:
    try:
        number = float(value) if not isinstance(value, str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Nonsense(f"{gives} {_shown(value)}, which is no finite number")
    return number


def _shown(value: Any) -> str:
    try:
        return repr(value)[:80]
    except Exception as error:
        return f"a {type(value).__name__} whose repr raises {type(error).__name__}"


def _reply(judge: Judge, request: dict[str, Any]) -> dict[str, Any]:
    do = request.pop("do")
    try:
        return getattr(judge, do)(**request)
    except WrongAnswer as error:
        return {"wrong": str(error) or "the judge gives no reason"}
    except (Nonsense, CandidateImported) as error:
        return {"failed": str(error), "line": 0, "traceback": ""}
    except BaseException as error:  # SystemExit too: whatever judge.py raises is told, and the referee ends the run
        return {"failed": _raised(do, error), "line": _line(error), "traceback": traceback.format_exc()[-4000:]}


def _raised(do: str, error: BaseException) -> str:
    who = {"load": "", "begin": "cases() ", "case": "cases() ", "score": "score() ", "total": "total() "}[do]
    said = f": {error}" if str(error) else ""
    return f"{who or 'its text '}raised {type(error).__name__}{said}"[:500]


def _line(error: BaseException) -> int:
    """The last line of judge.py that the exception came through; 0: none."""
    judge = getattr(sys.modules.get("judge"), "__file__", "")
    if isinstance(error, SyntaxError) and error.filename == judge:
        return error.lineno or 0
    return next(
        (frame.lineno or 0 for frame in reversed(traceback.extract_tb(error.__traceback__)) if frame.filename == judge),
        0,
    )


def main() -> None:
    """Reply to requests until there are no more."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    judge = Judge()
    with open(requests, "rb") as lines, open(replies, "wb") as out:
        for line in lines:
            out.write(json.dumps(_reply(judge, json.loads(line))).encode() + b"\n")
            out.flush()


if __name__ == "__main__":
    main()
