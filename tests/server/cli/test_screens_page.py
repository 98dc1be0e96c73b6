"""docs/screens.md is what the commands print: its words are held, its figures are a machine's."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.screens import COLUMNS, COMMANDS, DEMO, comparable, demo, normalised, shown, study, written

CHEAP = ("History",)


def test_the_page_shows_what_the_commands_print_at_eighty_columns(tmp_path: Path) -> None:
    require_the_same(study(tmp_path / "night"), written(), CHEAP)


@pytest.mark.slow
def test_sentences_are_folded_between_words_wherever_they_are_printed(tmp_path: Path) -> None:
    workspace = study(tmp_path / "night")
    for words in ("report", "library list", "status --tag none", "call --list"):
        screen = shown(workspace, *words.split())
        wide = [line for line in screen.splitlines() if cell_len(line) > COLUMNS]
        assert not [line for line in wide if "/" not in line], screen  # a path is never broken


def require_the_same(workspace: Path, known: dict[str, str], names: Sequence[str]) -> None:
    for name in names:
        screen = normalised(shown(workspace, *COMMANDS[name].split()), workspace)
        assert comparable(screen) == comparable(known[name]), "python -m tests.support.screens"
        assert max(map(cell_len, screen.splitlines())) <= COLUMNS, screen


def test_every_screen_of_the_page_fits_a_terminal() -> None:
    known = written()
    assert known.keys() == {*COMMANDS, DEMO}
    for name, screen in known.items():
        wide = [line for line in screen.splitlines() if cell_len(line) > COLUMNS]
        assert not [line for line in wide if "/" not in line], (name, wide)  # a path is never broken
        assert len(screen.splitlines()) <= 45, name


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_the_page_shows_what_takes_longer_too(tmp_path: Path) -> None:
    workspace, known = study(tmp_path / "night"), written()
    pages = known["Doctor"], shown(workspace, "doctor")
    checks = [re.findall(r"^(?:ok|warning|fix) +(\S+?):", told, re.MULTILINE) for told in pages]
    assert checks[0] == checks[1]
    require_the_same(workspace, known, [name for name in COMMANDS if name not in (*CHEAP, "Doctor")])
    (tmp_path / "demo").mkdir()
    screen, plan = demo(tmp_path / "demo"), known[DEMO].partition("\n\n")[0]
    assert screen.partition("\n\n")[0] == plan
    assert comparable(screen)[-3:] == comparable(known[DEMO])[-3:]
