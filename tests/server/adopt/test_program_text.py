"""program.md as it is written is read as it was meant, whatever the answers hold."""

from pathlib import Path

import pytest

from server.adopt.program_text import program_text
from server.adopt.task_fields import changed
from server.task.program import load

FIELDS = {"name": "a: b # c", "command": "bash bench.sh", "editable": ["src/**", "*.sql"]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"command": "echo 'METRIC ms=1' | sed \"s/1/2/\" # {out} é 🦀 \t%d"},
        {"command": "a\nb: c\n---\nd", "checks": "null", "build": "- x"},
        {"metric": {"name": "p.95-µs", "unit": '°C, "x"', "source": "wall"}, "direction": "higher", "scale": "log"},
        {
            "editable": ["[ab].c", "a,b/**", "{x}.py", "12", "null", "é.py"],
            "off_limits": ["- a", "#b"],
            "link": [".venv"],
        },
        {"paired": True, "repeats": 8, "network": True, "home": True, "stop": {"hours": 8}, "budget_seconds": 0.5},
    ],
)
def test_what_is_written_is_what_is_read(tmp_path: Path, more: dict[str, object]) -> None:
    task = changed(None, **{**FIELDS, **more})
    (tmp_path / "program.md").write_text(program_text(task, "Make it faster."), encoding="utf-8")
    found = load(tmp_path / "program.md")
    assert found.task.terms() == task.terms()
    for name in ("name", "direction", "off_limits", "link", "stop", "budget_seconds"):
        assert getattr(found.task, name) == getattr(task, name)
    assert found.gist == "a: b # c"
    assert found.body.endswith("Make it faster.")


def test_every_field_has_its_comment_above_it() -> None:
    task = changed(None, **FIELDS, paired=True, repeats=4)
    lines = program_text(task, "Go.").splitlines()
    fields = lines[2 : lines.index("---", 1)]
    assert all(line.startswith("# ") for line in fields[::2])
    assert [line.partition(":")[0] for line in fields[1::2]][:3] == ["name", "command", "metric"]
    told = program_text(task, "Go.", "A night sees 2 %.")
    assert "\n# How many pairs of runs make one score.\n# A night sees 2 %.\nrepeats: 4\n" in told
