"""Draws log lines from the hidden forms, each with values of its own, and scores what the rules found in them."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from trainer.judging import WrongAnswer

CASES = 16  # batches in one pass
LINES = 40  # of a batch
FIELDS = ("ip", "user", "status", "took")
_FORMS = Path(__file__).parents[1] / "data" / "hidden" / "forms.jsonl"
_NAMES = ("alice", "bob", "carol.diaz", "d.evans", "eve_42", "frank", "grace-h", "root", "svc-backup", "u1047", "zoë")


def cases(seed: int) -> Iterator[tuple[list[str], list[dict]]]:
    """Batches of lines, with the values that are in them, of each field one or none."""
    draw = random.Random(seed)
    forms = [json.loads(line) for line in _FORMS.read_text(encoding="utf-8").splitlines()]
    for _ in range(CASES):
        batch = [_line(draw, draw.choice(forms)) for _ in range(LINES)]
        yield [line for line, _ in batch], [values for _, values in batch]


def score(answer: object, truth: list[dict]) -> dict[str, float]:
    """F1 over all values of a batch; with precision and recall."""
    if not isinstance(answer, list) or len(answer) != len(truth):
        raise WrongAnswer(f"the answer is no list of {len(truth)} lines")
    found = {(place, *one) for place, told in enumerate(answer) for one in _pairs(told)}
    wanted = {(place, *one) for place, values in enumerate(truth) for one in values.items()}
    right = len(found & wanted)
    precision, recall = right / max(1, len(found)), right / max(1, len(wanted))
    return {"score": 2 * right / max(1, len(found) + len(wanted)), "precision": precision, "recall": recall}


def _pairs(told: object) -> Iterator[tuple[str, str]]:
    """What was found in one line, {field: [value, ...]}. Every value that is no right one costs precision."""
    if not isinstance(told, dict) or not all(isinstance(values, list) for values in told.values()):
        raise WrongAnswer("what was found in a line is no list of values for each field")
    yield from ((field, str(value)) for field, values in told.items() for value in values)


def _line(draw: random.Random, form: str) -> tuple[str, dict]:
    """A line of this form. Capitals are what may be found, small names are noise around it."""
    values = {}

    def fill(place: re.Match) -> str:
        name = place[1]
        value = _value(draw, name.lower())
        if name.isupper():
            values[name.lower()] = value
        return value

    return re.sub(r"\{(\w+)\}", fill, form), values


def _value(draw: random.Random, name: str) -> str:
    number, pick = draw.randrange(1, 10 ** draw.randint(1, 5)), draw.choice
    hour = f"{draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}"
    makers = {
        "ip": lambda: _address(draw),
        "user": lambda: pick(_NAMES) + pick(("", "", str(number))),
        "status": lambda: pick(("200", "201", "204", "301", "304", "400", "401", "403", "404", "418", "500", "503")),
        "took": lambda: pick((f"{number}ms", f"{number / 100:.2f}s", f"{number}us", f"{number // 60}m{number % 60}s")),
        "time": lambda: f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}T{hour}Z",
        "clock": lambda: f"{pick(('Jan', 'Jul', 'Nov'))} {draw.randint(10, 28)} {hour}",
        "version": lambda: ".".join(str(draw.randrange(30)) for _ in range(4)),
        "path": lambda: pick(("/api/v2/items/", "/login?next=/u/", "/static/")) + str(draw.randrange(100, 999)),
        "number": lambda: str(number),
        "hex": lambda: f"{draw.getrandbits(48):012x}",
    }
    return makers[name]()


def _address(draw: random.Random) -> str:
    if draw.random() < 0.2:
        return "2001:db8::" + ":".join(f"{draw.getrandbits(16):x}" for _ in range(draw.randint(1, 4)))
    return ".".join(str(draw.randrange(1, 255)) for _ in range(4))
