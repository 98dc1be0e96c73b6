"""Turning a constant by its name."""

import pytest

from server.errors import PatchRefused
from server.source.python_source import set_knob

TEXT = """\
# π first
LR = 0.02  # a rate
BETAS = (
    0.8,
    0.95,
)
DEPTH, WIDTH = SIZES['cpu']
NAME: str = 'é'  # ok"""


@pytest.mark.parametrize(
    ("name", "value", "before", "after"),
    [
        ("LR", "3e-2", "LR = 0.02  #", "LR = 3e-2  #"),
        ("BETAS", "(0.9, 0.99)", "(\n    0.8,\n    0.95,\n)", "(0.9, 0.99)"),
        ("DEPTH", "4", "SIZES['cpu']\n", "SIZES['cpu']\nDEPTH = 4\n"),
        ("LR", "0.3 if GPU else 0.1", "LR = 0.02  #", "LR = 0.3 if GPU else 0.1  #"),
        ("NAME", "'ü'", "'é'  #", "'ü'  #"),
    ],
)
def test_a_constant_is_turned_and_all_else_stays(name: str, value: str, before: str, after: str) -> None:
    assert before in TEXT and set_knob(TEXT, name, value) == TEXT.replace(before, after)
    assert set_knob(f"\ufeff{TEXT}", name, value) == "\ufeff" + TEXT.replace(before, after)


def test_a_constant_in_the_first_line_is_turned_behind_a_byte_order_mark() -> None:
    assert set_knob("\ufeffLR = 1\n", "LR", "2") == "\ufeffLR = 2\n"


def test_a_constant_of_a_last_line_without_an_end_gets_its_own_line() -> None:
    assert set_knob("A, B = 1, 2", "B", "3") == "A, B = 1, 2\nB = 3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NONE", "1"),
        ("LR", "os.system('ls')"),
        ("LR", "1; import os"),
        ("LR", ""),
        ("LR", "1 if f() else 2"),
        ("LR", "x if GPU else 2"),
    ],
)
def test_what_is_no_constant_or_no_literal_is_refused(name: str, value: str) -> None:
    with pytest.raises(PatchRefused):
        set_knob(TEXT, name, value)


@pytest.mark.parametrize("mark", ["\f", "\v", "\x1c", "\x85", "\u2028"])
def test_what_is_no_line_end_to_python_moves_no_constant(mark: str) -> None:
    """str.splitlines() ends lines at more characters than the parser."""
    text = f"A = 'x'  # {mark}\n\f\nLR = 0.02\nA, B = 1, 2\nC = 3\n"
    assert set_knob(text, "LR", "0.04") == text.replace("0.02", "0.04")
    assert set_knob(text, "B", "5") == text.replace("1, 2\n", "1, 2\nB = 5\n")
