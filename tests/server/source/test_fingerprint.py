"""Code is the same, or it is not, however it is written down."""

import ast
import hashlib

import pytest

from server.source.python_source import BOM, _strip, code_lines, fingerprint  # pyright: ignore[reportPrivateUsage]

CODE = 'def f(x):\n    """Double."""\n    print(x)\n    return 2 * x\n'


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return 2 * x  # twice\n",
        "def f(\n    x,\n):\n\n    return (2 * x)\n",
        "torch.manual_seed(137)\ndef f(x):\n    return 2 * x\n",
        'def f(x):\n    print("now", x)\n    return 2*x\n',
        "SEED = 7\ntorch.manual_seed(SEED)\ndef f(x):\n    return 2 * x\n",
        "base = 4\nseed = base * 2 + 1\ndef f(x):\n    torch.manual_seed(seed)\n    return 2 * x\n",
    ],
)
def test_comments_layout_docstrings_prints_and_seeds_change_nothing(other: str) -> None:
    assert fingerprint(other) == fingerprint(CODE) and code_lines(other) == code_lines(CODE)


@pytest.mark.parametrize(
    "other",
    [
        "SEED = 7\ntorch.manual_seed(SEED)\nstep = SEED\n",
        "SEED = 7\ntorch.manual_seed(SEED)\nprint(g(vars()['SEED']))\n",
        "SEED = 7\ntorch.manual_seed(SEED)\ndef f():\n    global SEED\n    SEED = 8\n",
        "SEED = draw()\ntorch.manual_seed(SEED)\n",
    ],
)
def test_a_value_that_more_than_a_seed_reads_is_code(other: str) -> None:
    assert fingerprint(other) != fingerprint(other.replace("SEED =", "SEED = 1 +", 1))


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print(1)\n",
        "pass; pass\n",
        "x = 1; y = 2  # both\n",
        "x = 1; y = '''a\nb'''; z = '''c\nd'''\nw = 2\n",
        "x = 1; \\\ny = 2\n",
        "x = 1; \\\n\\\ny = 2; z = 3\nw = 4\n",
        "if x: y = 1; \\\nz = 2\n",
        "x = 1\ry = '''a\r\nb'''\r\nz = 2",
        "x = 'a\x1cb\u2028'\n\x0cy = 2\n",
        "@one\n@two(\n    3\n)\nclass A:\n    '''Says so.'''\n",
        "\ufeffx = \\\n    1\n",
    ],
)
def test_statements_that_are_read_one_by_one_are_those_of_the_whole_text(text: str) -> None:
    whole = ast.parse(text.removeprefix(BOM))
    _strip(whole)
    assert fingerprint(text) == hashlib.sha256(ast.dump(whole).encode()).hexdigest()
