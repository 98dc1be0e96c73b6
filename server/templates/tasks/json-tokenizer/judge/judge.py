"""Draws JSON documents, and checks the tokens of an answer. Each document is written together with its tokens."""

import random
from collections.abc import Iterator

from trainer.judging import WrongAnswer

CASES = 100  # documents in one pass
SIZE = 60_000  # characters in a document, about
SPACES = ("", " ", "  ", "\n", "\r\n", "\t", "\n        ")
LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGH 0123456789 {}[]:,'/#-. éßñ漢字🙂\u00a0\u2028"
ESCAPES = ('\\"', "\\\\", "\\/", "\\b", "\\n", "\\t", "\\u00e9", "\\uD83D", "\\u2028")
# Each of these begins no token, also where it is not at once seen.
FAULTS = (
    "'a'",
    "#",
    "nul",
    "True",
    "+1",
    ".5",
    "-",
    "-x",
    "\u00a0",
    "\u0663",
    '"a\tb"',
    '"\\x41"',
    '"\\u12G4"',
    '"a\n',
)


class Document:
    """A text and its tokens, [kind, start, end] each, up to the first fault."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.parts, self.tokens, self.at = draw, [], [], 0
        self.spaces = draw.choices(SPACES, k=draw.randint(1, 4))
        self.weights = [draw.random() + 0.1 for _ in range(5)]
        self.longest, self.escaped = draw.choice((4, 12, 40, 200)), draw.choice((0.0, 0.02, 0.2))
        self.fault = draw.randint(SIZE // 2, SIZE) if draw.random() < 0.3 else -1

    def write(self) -> tuple[str, list]:
        self.put("[")
        while self.at < SIZE:
            self.value(depth=1)
            self.put(",")
        self.put("null", "word")
        self.put("]")
        return "".join(self.parts), self.tokens

    def put(self, text: str, kind: str = "") -> None:
        space = self.draw.choice(self.spaces)
        self.parts += (space, text)
        start = self.at + len(space)
        self.at = start + len(text)
        if not self.tokens or self.tokens[-1][0] != "error":
            self.tokens.append([kind or text, start, start if kind == "error" else self.at])

    def value(self, depth: int) -> None:
        if self.at > self.fault > 0:
            self.fault = -1
            return self.put(self.draw.choice(FAULTS), "error")
        kinds = (self.string, self.number, self.word, self.array, self.object)
        kinds[self.draw.choices(range(5), self.weights if depth < 8 else [1, 1, 1, 0, 0])[0]](depth + 1)

    def string(self, _: int) -> None:
        letters = self.draw.choices(LETTERS, k=self.draw.randrange(self.longest))
        told = [self.draw.choice(ESCAPES) if self.draw.random() < self.escaped else letter for letter in letters]
        self.put('"' + "".join(told) + '"', "string")

    def number(self, _: int) -> None:
        whole = str(self.draw.randrange(10 ** self.draw.randint(1, 9)))
        part = f".{self.draw.randrange(10**6)}" if self.draw.random() < 0.4 else ""
        power = self.draw.choice(("e5", "E-07", "e+12")) if self.draw.random() < 0.2 else ""
        self.put(self.draw.choice(("", "-")) + whole + part + power, "number")

    def word(self, _: int) -> None:
        self.put(self.draw.choice(("true", "false", "null")), "word")

    def array(self, depth: int) -> None:
        self.put("[")
        for place in range(self.draw.randrange(6)):
            if place:
                self.put(",")
            self.value(depth)
        self.put("]")

    def object(self, depth: int) -> None:
        self.put("{")
        for place in range(self.draw.randrange(6)):
            if place:
                self.put(",")
            self.string(depth)
            self.put(":")
            self.value(depth)
        self.put("}")


def cases(seed: int) -> Iterator[tuple[str, list]]:
    """Documents of all shapes; about three of ten have a fault."""
    draw = random.Random(seed)
    for _ in range(CASES):
        yield Document(draw).write()


def score(answer: object, truth: list) -> None:
    """Every token must be right. The number of this task is the CPU time, which the referee reads."""
    if not isinstance(answer, list):
        raise WrongAnswer("the answer is no list of tokens")
    for place, (told, right) in enumerate(zip(answer, truth, strict=False)):
        if told != right:
            raise WrongAnswer(f"token {place} is {str(told)[:80]}, and {right} is right")
    if len(answer) != len(truth):
        raise WrongAnswer(f"the answer has {len(answer)} tokens, and the document {len(truth)}")
