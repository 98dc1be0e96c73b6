"""program.md: what is written in it counts, or the file is refused with line and reason; nothing is passed over."""

from pathlib import Path

import pytest

from server.api import views
from server.cli.doctor import examine
from server.errors import ProgramInvalid
from server.serve_options import ServeOptions
from server.study.study import Study
from server.task.definition import Task
from server.task.program import load
from tests.support.lifecycle import kept_baseline
from tests.support.repositories import PROGRAM

TEXT = "---\nname: t\nbudget_seconds: 7\nstop: {experiments: 2}\n---\nDo research.\n"


def read(folder: Path, text: str | bytes) -> Task:
    path = folder / "program.md"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert load(path).text.encode() == path.read_bytes()
    return load(path).task


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        "\ufeff" + TEXT.replace("\n", "\r", 3),
        "\n  \n" + TEXT,
        TEXT.replace("---", "---  "),
        TEXT.replace("---", "-----"),
        TEXT.replace("---\nDo", "...\nDo"),
        TEXT.replace(": 7", ": '7'"),
        TEXT.replace(": 7", ": 0.7e1"),
        TEXT.replace(": 7", ": 07"),
    ],
)
def test_a_front_matter_is_read_as_what_it_means_however_it_was_saved(tmp_path: Path, text: str) -> None:
    task = read(tmp_path, text)
    assert (task.name, task.budget_seconds, task.stop.experiments) == ("t", 7, 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<!-- mine -->\n" + TEXT, 2),
        ("# mine\n\n" + TEXT, 3),
        (" " + TEXT, 1),
        ("".join(f"  {line}" for line in TEXT.splitlines(keepends=True)), 1),
        (TEXT.replace("---", "--- # the task", 1), 1),
        (TEXT.removeprefix("---\n"), 1),
        (TEXT.replace("---", "+++").replace(":", " ="), 1),
        (TEXT.replace("---", "\u2014"), 1),
        ("```yaml\n" + TEXT + "```\n", 1),
        ("\u200b" + TEXT, 1),
        ("Do this.\n\n" + TEXT, 3),
        ('{\n  "budget_seconds": 30,\n  "name": "x"\n}\n\nDo research.\n', 1),
        ('{"budget_seconds": 30}\n\nDo research.\n', 1),
        ('```json\n{\n  "budget_seconds": 30\n}\n```\nDo research.\n', 1),
        (';;;\n{\n  "budget_seconds": 30\n}\n;;;\nDo research.\n', 1),
        ("budget_seconds=30\n\nDo research.\n", 1),
        ("budget_seconds:30\n\nDo research.\n", 1),
        ("+++\nbudget_seconds=30\n+++\nDo research.\n", 1),
        ("- budget_seconds: 30\n- name: x\n\nDo research.\n", 1),
        ("# Task\n\n* budget_seconds: 30\n\nDo research.\n", 1),
        *((TEXT.replace("---", fence), 1) for fence in (";;;", "***", "===", "___", "=====")),
        ("---\nname: t\n---\n" + TEXT, 4),
        ("---\nname: t\n---\nbudget_seconds: 7\n\nDo research.\n", 4),
    ],
)
def test_a_front_matter_where_it_would_not_be_read_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    with pytest.raises(ProgramInvalid, match=f"line {line}: the fields from here on would not be read"):
        read(tmp_path, text)


# As upstream's: a rule between two parts, and a summary of a run that is quoted.
PLAIN = """# autoresearch

The metric: lower is better.

---

stop: never. The human may be asleep.

name: what you like.

---

```
---
val_bpb:          0.997900
training_seconds: 300.1
```
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# autoresearch\n\nBe bold.\n",
        PLAIN,
        "# autoresearch\n---\n| name | what |\n|---|---|\n| a | b |\n---\n",
        f"# autoresearch\n\nA file may begin so:\n```\n{TEXT}```\n",
        f"<!--\n{TEXT}-->\n# autoresearch\n",
    ],
)
def test_a_program_md_without_front_matter_gets_the_defaults_also_with_rules_in_its_prose(
    tmp_path: Path, text: str
) -> None:
    assert read(tmp_path, text) == Task()


def test_the_program_md_that_comes_with_us_is_read() -> None:
    assert load(Path(__file__).parents[3] / "program.md").task.budget_seconds == 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("name: t", "name: t\nname: u"), "line 3, name: is given twice, first in line 2"),
        (TEXT.replace("2}", "2,\n  hours: 1, experiments: 3}"), "line 5, experiments: is given twice, first in line 4"),
        (TEXT.replace("stop:", "'budget_seconds': 9\nstop:"), "line 4, budget_seconds: is given twice"),
        (TEXT.replace("7", "5:00"), "line 3, budget_seconds: .*got '5:00'"),
        (TEXT.replace("7", "yes"), "line 3, budget_seconds: .*got 'yes'"),
        (TEXT.replace("7", "true"), "line 3, budget_seconds: .*got 'true'"),
        (TEXT.replace("2}", "on}"), r"line 4, stop\.experiments: .*got 'on'"),
        (TEXT.replace("2}", "true}"), r"line 4, stop\.experiments: .*got 'true'"),
        (TEXT.replace("budget_seconds", "budget"), "line 3, budget: .*did you mean budget_seconds"),
        (TEXT.replace("experiments", "experiment"), r"line 4, stop\.experiment: .*did you mean experiments"),
        (TEXT.replace("experiments", "runs"), r"stop\.runs: .*the fields are hours, experiments, target"),
        (TEXT.replace("stop", "knobs: {LR: {choices: [true, 2]}}\nstop"), "line 4, knobs.LR.*not a boolean"),
        (TEXT.replace("Do", "D\0"), "line 6: it has a NUL byte"),
        (TEXT.replace("7", "[" * 5000), "nested too deeply"),
        (TEXT.replace("name: t", "name: \a"), "line 2: the front matter is not YAML"),
        (TEXT.replace("7", "1" * 5000), "line 3.*(budget_seconds|4300 digits)"),
        (TEXT.replace("7", "0x" + "f" * 5000), "line 3: .* a number is too long"),
        (TEXT.replace("2}", "0x" + "f" * 5000 + "}"), r"line 4: .* a number is too long"),
        (TEXT.replace("name: t", "0x" + "f" * 5000 + ": t"), "line 2"),
        (TEXT.replace("7", "!!int 'x'"), "line 3: the front matter is not YAML: invalid literal"),
        (TEXT.replace("7", "!!int ''"), "line 3: the front matter is not YAML"),
        (TEXT.replace("7", "!!float 'x'"), "line 3: the front matter is not YAML"),
        (TEXT.replace("7", "!!bool 'x'"), "line 3: the front matter is not YAML"),
        (TEXT.replace("7", "!!timestamp 'x'"), "line 3: the front matter is not YAML"),
        (TEXT.replace("7", "!!timestamp '2026-13-45'"), "line 3: the front matter is not YAML"),
        (TEXT.replace("name: t", r'name: "\U00110000"'), "line 2: the front matter is not YAML"),
        (TEXT.encode("utf-16"), "is UTF-16"),
        (TEXT.encode("utf-16-be"), "line 1: it has a NUL byte"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_never_passed_over(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(ProgramInvalid, match=words):
        read(tmp_path, text)


def test_words_that_an_older_yaml_takes_for_booleans_numbers_and_dates_are_words(tmp_path: Path) -> None:
    knobs = "knobs: {LR: {choices: [1e-3, 0.5, 2, 1_000, off]}}"
    task = read(tmp_path, TEXT.replace("name: t", f"name: 2026-11-28\npreflight: off\nearly_stop: yes\n{knobs}"))
    assert (task.name, task.preflight, task.early_stop) == ("2026-11-28", False, True)
    assert task.knobs["LR"].choices == [0.001, 0.5, 2, 1000, "off"]


def test_a_front_matter_that_is_gone_is_refused_until_the_operator_says_that_the_defaults_are_meant(
    study: Study,
) -> None:
    kept_baseline(study)
    root, program = study.workspace.root, study.workspace.program
    assert study.budget_seconds() == 0.5
    program.write_text("Do research.\n", encoding="utf-8")
    with pytest.raises(ProgramInvalid, match="no longer has the front matter"):
        views.status(study)
    told = next(check for check in examine(root) if check.name == "program.md")
    assert told.state == "fix" and "no longer has the front matter" in told.detail
    study.close()
    with pytest.raises(ProgramInvalid, match="The operator must restore it"):
        Study(root, "t1", ServeOptions(profile="smoke"))
    program.write_text("---\n---\nDo research.\n", encoding="utf-8")
    assert study.budget_seconds() == 300
    program.write_text(PROGRAM, encoding="utf-8")
    assert study.budget_seconds() == 0.5


def test_a_study_that_never_had_a_front_matter_goes_on_without(study: Study) -> None:
    study.workspace.program.write_text(PLAIN, encoding="utf-8")
    kept_baseline(study)
    assert study.budget_seconds() == 300
    told = next(check for check in examine(study.workspace.root) if check.name == "program.md")
    assert told.state == "ok" and "no front matter, so these are the defaults" in told.detail
