"""Code is the same, or it is not, however it is written down."""

import pytest

from server.source.python_source import code_lines, fingerprint

CODE = 'def f(x):\n    """Double."""\n    print(x)\n    return 2 * x\n'


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return 2 * x  # twice\n",
        "def f(\n    x,\n):\n\n    return (2 * x)\n",
        "torch.manual_seed(137)\ndef f(x):\n    return 2 * x\n",
        'def f(x):\n    print("now", x)\n    return 2*x\n',
    ],
)
def test_comments_layout_docstrings_prints_and_seeds_change_nothing(other: str) -> None:
    assert fingerprint(other) == fingerprint(CODE) and code_lines(other) == code_lines(CODE)


@pytest.mark.parametrize("other", ["def f(x):\n    return 3 * x\n", "def f(y):\n    return 2 * y\n", "print(f(1))\n"])
def test_a_constant_a_name_or_a_statement_is_another_code(other: str) -> None:
    assert fingerprint(other) != fingerprint(CODE)


def test_a_body_that_only_prints_is_still_a_body() -> None:
    assert fingerprint("if x:\n    print(1)\nelse:\n    print(2)\n") == fingerprint("if x:\n    pass\n")
    assert code_lines("def f():\n    print(1)\n") == 2
    assert code_lines("try:\n    print(1)\nexcept ValueError:\n    print(2)\n") == 4


@pytest.mark.parametrize("work", ["print(y := x @ x)", "print((yield))", "print([z := x])"])
def test_a_print_that_does_more_is_code(work: str) -> None:
    more = f"def f(x):\n    {work}\n    return 2 * x\n"
    assert fingerprint(more) != fingerprint(CODE) and code_lines(more) > code_lines(CODE)
