"""What a candidate is asked about its code, whichever language each of its files is in."""

import pytest

from server.errors import PatchRefused
from server.source import patch
from server.source.candidate import Candidate, language_of
from server.source.language import Language
from server.source.python_source import code_lines, code_tokens, describe_change, fingerprint, set_knob
from tests.support.builders import only

CODE = "LR = 0.02\ndef f(x):\n    print(x)\n    return 2 * x\n"
WORDS = "# Plan\n\nFirst, learn  slowly.\nThen stop.\n"
PYTHON = language_of("parts/model.py")
TEXT = language_of("notes.md")
DEEP = "x = " + " + ".join(["1"] * 5000) + "\n"


def test_the_path_says_which_language_it_is() -> None:
    assert language_of("train.py") is PYTHON and language_of("train.pyx") is language_of("Makefile") is TEXT


def test_python_says_of_one_file_what_rows_of_old_studies_have() -> None:
    one, other = only(CODE), only(CODE.replace("0.02", "0.03"))
    assert one.fingerprint == fingerprint(CODE) == PYTHON.fingerprint(CODE)
    assert PYTHON.size(CODE) == (code_lines(CODE), code_tokens(CODE)) and code_lines(CODE) == 3
    assert other.changed_from(one) == describe_change(CODE, CODE.replace("0.02", "0.03"))
    assert one.with_knobs("train.py", {"LR": "0.03"}) == only(set_knob(CODE, "LR", "0.03")) == other


def test_text_is_the_same_whatever_its_line_ends_and_trailing_space() -> None:
    assert TEXT.fingerprint(WORDS) == TEXT.fingerprint(WORDS.replace("\n", " \r\n") + "\n\n")
    assert TEXT.fingerprint(WORDS) != TEXT.fingerprint(WORDS.replace("slowly", "fast"))
    assert TEXT.fingerprint("a b") != TEXT.fingerprint("ab")


def test_text_is_measured_in_words_and_signs() -> None:
    assert TEXT.size("") == TEXT.size("  \n") == (0,)
    assert TEXT.size(WORDS) == TEXT.size(WORDS.replace("  ", "\n")) == (10,)


def test_a_change_of_text_is_its_lines() -> None:
    made = TEXT.change(WORDS, WORDS.replace("slowly", "fast"))
    assert not made.knobs and len(made.places) == 2 and made.category == "other"
    assert TEXT.change(WORDS, WORDS.replace("Then stop.\n", "")).category == "simplification"
    assert TEXT.change(WORDS, WORDS.replace("\n", "  \n")).places == []


def test_text_has_no_constants_to_set() -> None:
    with pytest.raises(PatchRefused, match=r"notes\.md has no constants.*apply_patch"):
        Candidate({"notes.md": "LR = 1\n"}).with_knobs("notes.md", {"LR": "2"})


@pytest.mark.parametrize("text", ["x = = 1\n", "x = 1\0\n", DEEP, "(" * 5000 + ")" * 5000])
def test_python_that_cannot_be_read_is_refused_by_every_hook(text: str) -> None:
    hooks = (
        lambda: PYTHON.check(text, "train.py"),
        lambda: PYTHON.fingerprint(text),
        lambda: PYTHON.size(text),
        lambda: PYTHON.change(CODE, text),
        lambda: PYTHON.set_knob(text, "train.py", "LR", "1"),
    )
    for hook in hooks[: 4 if text is DEEP else 5]:  # a constant beside deep code can be set
        with pytest.raises(PatchRefused, match=r"train\.py would not parse.* apply it again|apply the patch again"):
            hook()


@pytest.mark.parametrize("language", [PYTHON, TEXT])
def test_an_empty_text_is_a_text(language: Language) -> None:
    language.check("", "x")
    assert language.fingerprint("") == language.fingerprint("\n")
    assert language.change("", "").category == "other"


def test_several_files_are_the_same_code_if_each_is() -> None:
    both = Candidate({"train.py": CODE, "notes.md": WORDS})
    assert both.fingerprint == both.with_file("train.py", f"{CODE}# a comment\n").fingerprint
    assert both.fingerprint != both.with_file("notes.md", "other\n").fingerprint
    assert both.fingerprint != Candidate({"other.py": CODE, "notes.md": WORDS}).fingerprint


def test_less_of_one_language_is_simpler_unless_there_is_more_of_another() -> None:
    both = Candidate({"train.py": CODE, "notes.md": WORDS})
    less = both.with_file("train.py", "LR = 0.02\n")
    assert less.simpler_than(both) and not both.simpler_than(less) and not both.simpler_than(both)
    assert not less.with_file("notes.md", f"{WORDS} And more.").simpler_than(both)
    moved = Candidate({"a.py": "x = 1\ny = 1\n", "b.py": "z = 1\n"})
    assert moved.with_file("a.py", "y = 1\n").with_file("b.py", "z = 1\nx = 1\n").simpler_than(moved) is False
    assert not only(f"exec({CODE!r})\n").simpler_than(only(CODE)), "fewer lines, as much to read"
    assert not only(DEEP).simpler_than(only(CODE)) and not only(CODE).simpler_than(only(DEEP))


def test_a_change_of_several_files_says_which_file_it_was() -> None:
    both = Candidate({"train.py": CODE, "notes.md": WORDS})
    made = both.with_file("train.py", CODE.replace("0.02", "0.03")).changed_from(both)
    assert made.knobs == {"train.py:LR": "0.02 → 0.03"} and made.category == "knob"
    made = both.with_file("notes.md", "Stop.\n").with_file("train.py", CODE.replace("2 *", "3 *")).changed_from(both)
    assert {place.partition(":")[0] for place in made.places} == {"train.py", "notes.md"}
    assert both.changed_from(both).places == []


def runs(text: str) -> dict[str, object]:
    """What the text leaves behind, compiled from its bytes as a run compiles it."""
    names: dict[str, object] = {}
    exec(compile(text.encode(), "train.py", "exec"), names)
    return names


@pytest.mark.parametrize(
    "text",
    [
        "# -*- coding: latin-1 -*-\nx = 'é'\n",
        "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nx = 'é'\n",
        "\n\x0c # coding=latin-1\nx = 'é'\n",
        "\r# coding: latin-1\nx = 'é'\n",
        "# coding: utf-7\n# +AAo-y = 1\n",
        "# coding: utf-7\nx = '+AOk-'\n",
        "# coding: ascii\nx = 'é'\n",
        "# coding: rot13\nx = 1\n",
        "# coding: utf-16\nx = 1\n",
        "# coding: nonsense\nx = 1\n",
        "\ufeff# coding: latin-1\nx = 1\n",
    ],
)
def test_a_text_that_would_run_as_another_one_is_refused(text: str) -> None:
    with pytest.raises(
        PatchRefused, match=r"train.py is UTF-8 and says that it is not \(.*coding.* Remove that comment"
    ):
        PYTHON.check(text, "train.py")


@pytest.mark.parametrize(
    "text",
    [
        "# -*- coding: utf-8 -*-\nx = 'é'\n",
        "\ufeff# coding: utf-8\nx = 'é'\n",
        "# coding: latin-1\nx = 'e'\n",
        "#\n#\n# coding: latin-1\nx = 'é'\n",
        "'''\n# coding: latin-1\n'''\nx = 'é'\n",
        "x = 'é'  # coding: latin-1\n",
        "x = 'é'\n\x0c\nif x:\n\x0c    y = 2\n",
        "x = '\x85\u2028'\ry = 2\r\n",
    ],
)
def test_what_is_parsed_is_what_runs(text: str) -> None:
    PYTHON.check(text, "train.py")
    ran = runs(text)
    assert ran["x"] in ("é", "e", "\x85\u2028") and ("y" in ran) == ("y = 2" in text)


def test_lines_are_counted_as_python_counts_them() -> None:
    patch.check(only("x = '\x85\u2028'\x0c\n" * 630))
    for end in ("\n", "\r", "\r\n"):
        with pytest.raises(PatchRefused, match="631 lines"):
            patch.check(only(f"x = 1{end}" * 631))
