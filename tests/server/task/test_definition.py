"""The definition of a task: every rule of program.md's fields, with the line and the words that an operator reads."""

from dataclasses import fields
from pathlib import Path

import pytest

from server.errors import ProgramInvalid
from server.records import Figures, lm_names
from server.task.definition import Task
from server.task.program import load
from trainer.contract import MetricSource, Referee, TaskSpec

COMMAND = "---\ncommand: bash bench.sh\neditable: [src/**]\n---\nMake it fast.\n"
JUDGED = "---\njudge: judge/judge.py\nworker: '{python} judge/worker.py'\neditable: src/solve.py\n---\nGo.\n"
PLAIN = "---\nname: t\n---\nGo.\n"


def read(folder: Path, text: str) -> Task:
    (folder / "program.md").write_text(text, encoding="utf-8")
    return load(folder / "program.md").task


def with_line(text: str, *lines: str) -> str:
    """The file with further lines at the end of its front matter, the first of them line 4, or 5 of a judged task."""
    head, _, body = text.rpartition("---\n")
    return "".join([head, *(f"{line}\n" for line in lines), "---\n", body])


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        (PLAIN, Referee.SEALED, "program.md names neither a command nor a judge"),
        (COMMAND, Referee.COMMAND, "program.md names a command"),
        (JUDGED, Referee.JUDGED, "program.md names a judge"),
        (with_line(COMMAND, "referee: command"), Referee.COMMAND, "program.md names it"),
        (with_line(JUDGED, "referee: judged"), Referee.JUDGED, "program.md names it"),
        (with_line(PLAIN, "referee: sealed"), Referee.SEALED, "program.md names it"),
    ],
)
def test_the_referee_is_found_by_what_is_there_and_says_why(tmp_path: Path, text: str, kind: Referee, why: str) -> None:
    task = read(tmp_path, text)
    assert (task.kind, task.kind_reason) == (kind, why)
    assert (task.terms() is None) == (task.sha256 is None) == (kind is Referee.SEALED)


@pytest.mark.parametrize(
    ("told", "measure", "source"),
    [
        ("metric: ms", ("ms", "lower", "", "linear"), MetricSource.PRINTED),
        ("metric: {name: ms, unit: ms, source: cpu}", ("ms", "lower", "ms", "linear"), MetricSource.CPU),
        ("metric: {unit: points}\ndirection: higher", ("metric", "higher", "points", "linear"), MetricSource.PRINTED),
        ("metric: total_µs\nscale: log", ("total_µs", "lower", "", "log"), MetricSource.PRINTED),
        ("metric: {source: memory}", ("metric", "lower", "", "linear"), MetricSource.MEMORY),
    ],
)
def test_a_metric_is_a_name_or_a_mapping(
    tmp_path: Path, told: str, measure: tuple[str, ...], source: MetricSource
) -> None:
    task = read(tmp_path, with_line(COMMAND, *told.splitlines()))
    found = task.measure
    assert ((found.name, found.direction, found.unit, found.scale), task.source) == (measure, source)


def test_the_number_of_a_judged_task_is_the_judges_where_nothing_else_is_said(tmp_path: Path) -> None:
    assert read(tmp_path, JUDGED).source is MetricSource.SCORE


def test_a_language_model_is_measured_by_one_name_in_one_direction(tmp_path: Path) -> None:
    told = ("referee: sealed", f"metric: {lm_names.NAME}", "direction: lower", "scale: linear", "paired: false")
    for text in (PLAIN, with_line(PLAIN, *told), with_line(PLAIN, "editable: model.py")):
        measure = read(tmp_path, text).measure
        assert (measure.name, measure.direction, measure.unit) == (lm_names.NAME, "lower", lm_names.UNIT)


BOTH = "give either `command`, or `judge` and `worker`"
REFUSED = [
    # Both referees, or half of one.
    (with_line(COMMAND, "judge: judge.py"), f"line 2, command: only the referee `command` reads it.*{BOTH}"),
    (with_line(COMMAND, "worker: w"), "line 2, command: .*`judged` .program.md names a worker."),
    (with_line(COMMAND, "referee: judged"), "line 2, command: .*this task has `judged`"),
    (with_line(JUDGED, "referee: command"), "line 2|line 3.*only the referee `judged` reads it"),
    (with_line(COMMAND, "referee: sealed"), "line 2, command: only the referee `command` reads it"),
    (with_line(PLAIN, "referee: command"), "command: the referee `command` needs it, but it is missing"),
    (with_line(PLAIN, "referee: judged"), "worker: the referee `judged` needs it"),
    (with_line(PLAIN, "worker: w"), "judge: the referee `judged` needs it, but it is missing .*names a worker"),
    (with_line(PLAIN, "judge: j.py"), "worker: the referee `judged` needs it"),
    (
        with_line(PLAIN, "referee: karpathy"),
        "there is no prepare.py with TIME_BUDGET, make_dataloader and evaluate_bpb",
    ),
    (with_line(PLAIN, "python: a"), "line 3, python: only the referee `karpathy` reads it"),
    (with_line(PLAIN, "referee: kaggle"), "line 3, referee: kaggle.? is not a referee; the referees are sealed, jud"),
    (with_line(PLAIN, "referee: 3"), "line 3, referee: 3 is not a referee"),
    (with_line(PLAIN, "referee: [command]"), "line 3, referee: .*is not a referee"),
    # Fields of another referee.
    (with_line(JUDGED, "checks: pytest -q"), "line 5, checks: .*a judge checks the answers itself"),
    (with_line(COMMAND, "hidden: [data/**]"), "line 4, hidden: only the referee `judged` reads it"),
    (with_line(COMMAND, "preflight: true"), "line 4, preflight: only the referee `sealed` reads it"),
    (with_line(COMMAND, "early_stop: true"), "line 4, early_stop: only the referee `sealed` reads it"),
    (with_line(COMMAND, "setup_seconds: 9"), "line 4, setup_seconds: only the referee `sealed` reads it"),
    (with_line(JUDGED, "evaluation_seconds: 9"), "line 5, evaluation_seconds: only the referee `sealed` reads it"),
    (with_line(COMMAND, "guardrails: {rss: {max: 3}}"), "line 4, guardrails: .*`metrics` bounds the figures of this"),
    (with_line(COMMAND, "guardrails: {peak_memory_mb: {max: 3}}"), "line 4, guardrails: .*`metrics` bounds"),
    (with_line(PLAIN, "metrics: {rss: {max: 3}}"), "line 3, metrics: .*`guardrails` bounds the figures of a language"),
    *(
        (
            with_line(PLAIN, f"{field}: {told}"),
            f"line 3, {field}: the referee `sealed` does not read it; it needs a `co",
        )
        for field, told in {
            "build": "make",
            "build_seconds": "9",
            "off_limits": "[a]",
            "link": "[.venv]",
            "scale": "log",
            "paired": "true",
            "repeats": "3",
            "least_effect": "0.1",
            "network": "true",
            "home": "yes",
        }.items()
    ),
    (with_line(PLAIN, "checks: make"), "line 3, checks: only the referee `command` reads it.*`sealed`"),
    (with_line(PLAIN, "hidden: [a]"), "line 3, hidden: only the referee `judged` reads it"),
    # The metric.
    (with_line(PLAIN, "direction: higher"), f"line 3, direction: lower is better for {lm_names.NAME}"),
    (with_line(PLAIN, "referee: sealed", "direction: higher"), "line 4, direction: lower is better"),
    (with_line(PLAIN, "metric: ms"), f"line 3, metric: the referee `sealed` measures only {lm_names.NAME}; for a"),
    (with_line(PLAIN, "metric: metric"), "line 3, metric: the referee `sealed` measures"),
    (with_line(PLAIN, f"metric: {{name: {lm_names.NAME}, unit: ms}}"), "line 3, metric: unit and source of"),
    (with_line(COMMAND, "metric: 5"), "line 4, metric: 5 is neither a name nor a mapping"),
    (with_line(COMMAND, "metric: [a, b]"), "line 4, metric: .* is neither a name nor a mapping"),
    (with_line(COMMAND, "metric: two words"), r"line 4, metric(\.name)?: 'two words? ?"),
    (with_line(COMMAND, "metric: {name: ''}"), r"line 4, metric\.name: '' is not a name"),
    (with_line(COMMAND, "metric: constructor"), "'constructor' is not a name"),
    (with_line(COMMAND, "metric: " + 61 * "a"), "is not a name: use at most 60"),
    (with_line(COMMAND, "metric: {nam: ms}"), r"line 4, metric\.nam: there is no such field, did you mean name"),
    (with_line(COMMAND, "metric: {source: sealed}"), r"line 4, metric\.source: .*'printed'.*got 'sealed'"),
    (
        with_line(COMMAND, "metric: {source: score}"),
        r"line 4, metric\.source: the referee `command` has no source `score`; .*cpu",
    ),
    (with_line(JUDGED, "metric: {source: printed}"), r"metric\.source: the referee `judged` has no source `printed`"),
    (with_line(COMMAND, 'metric: {unit: "m\\ns"}'), r"line 4, metric\.unit: .*control character"),
    (with_line(COMMAND, "metric: {unit: " + 41 * "m" + "}"), r"line 4, metric\.unit: .*at most 40"),
    (with_line(COMMAND, "direction: down"), "line 4, direction: .*'lower' or 'higher', got 'down'"),
    (with_line(COMMAND, "scale: logarithmic"), "line 4, scale: .*got 'logarithmic'"),
    # Paths and globs.
    (COMMAND.replace("editable: [src/**]\n", ""), "editable: it is missing: name the files that the agent may change"),
    (COMMAND.replace("[src/**]", "[]"), "line 3, editable: .*at least 1"),
    (COMMAND.replace("[src/**]", ""), "line 3, editable: .*list, got None"),
    (COMMAND.replace("[src/**]", "{a: b}"), "line 3, editable: .*list"),
    (COMMAND.replace("[src/**]", "[5]"), r"line 3, editable\.0: .*string, got 5"),
    (COMMAND.replace("[src/**]", "[a, '']"), r"line 3, editable\.1: '' is empty"),
    (COMMAND.replace("[src/**]", "\n- a\n- ' b'"), r"line 5, editable\.1: ' b' is empty, or has spaces around it"),
    (COMMAND.replace("[src/**]", "[a, b, a]"), r"line 3, editable\.2: 'a' is given twice"),
    (COMMAND.replace("[src/**]", "[../x]"), r"line 3, editable\.0: '../x' is outside the repository"),
    (COMMAND.replace("[src/**]", "[src/../../x]"), "is outside the repository"),
    (COMMAND.replace("[src/**]", "[/etc/passwd]"), "is outside the repository"),
    (COMMAND.replace("[src/**]", "[~/x]"), "is outside the repository"),
    (COMMAND.replace("[src/**]", r"['src\x.py']"), r"is a Windows path: write it with /"),
    (COMMAND.replace("[src/**]", "['C:/x.py']"), "is a Windows path"),
    (COMMAND.replace("[src/**]", "[src/]"), r"'src/' is a folder: write src/\*\* for all files below it"),
    (COMMAND.replace("[src/**]", "[./src/a.c]"), "has an empty part, or a part that is a dot"),
    (COMMAND.replace("[src/**]", "[src//a.c]"), "has an empty part"),
    (COMMAND.replace("[src/**]", "[.git/hooks/*]"), "is in a folder of git or of the server"),
    (COMMAND.replace("[src/**]", "[a/.GIT/b]"), "is in a folder of git"),
    (COMMAND.replace("[src/**]", "['[z-a].c']"), "is not a glob: a range"),
    (COMMAND.replace("[src/**]", "['[a-bz-c].c']"), "is not a glob: a range"),
    (COMMAND.replace("[src/**]", '["a\\nb"]'), "has a control character"),
    (COMMAND.replace("[src/**]", "[" + 501 * "a" + "]"), r"line 3, editable\.0: .*at most 500"),
    (with_line(COMMAND, "off_limits: [../x]"), r"line 4, off_limits\.0: .*outside the repository"),
    (with_line(COMMAND, "link: ['node_*']"), r"line 4, link\.0: 'node_\*' is a glob: name one file or folder"),
    (with_line(COMMAND, "link: [.venv/]"), r"line 4, link\.0: '.venv/' ends in /: leave that out"),
    (with_line(JUDGED, "hidden: [/data]"), r"line 5, hidden\.0: .*outside the repository"),
    (JUDGED.replace("judge/judge.py", "/judge.py"), "line 2, judge: '/judge.py' is outside the repository"),
    (JUDGED.replace("judge/judge.py", "judge/judge.sh"), "line 2, judge: 'judge/judge.sh' is not a Python file"),
    (JUDGED.replace("judge/judge.py", "../judge.py"), "line 2, judge: .*outside the repository"),
    (JUDGED.replace("judge/judge.py", "'*.py'"), r"line 2, judge: .*is a glob"),
    (JUDGED.replace("judge/judge.py", "''"), "line 2, judge: '' is empty"),
    # What measures is out of the agent's reach.
    (JUDGED.replace("src/solve.py", "judge/judge.py"), r"line 4, editable\.0: .*lets the agent change judge/judge.py"),
    (
        JUDGED.replace("src/solve.py", "[src/*, '**/*.py']"),
        r"editable\.1: .*change judge/judge.py.*add it to off_limits",
    ),
    (
        with_line(JUDGED.replace("src/solve.py", "'**/*.py'"), "off_limits: [judge/judge.py]"),
        r"line 4, editable\.0: .*lets the agent change the folder of the judge",
    ),
    (COMMAND.replace("[src/**]", "['**']"), r"line 3, editable\.0: '\*\*' lets the agent change program.md"),
    (COMMAND.replace("[src/**]", "['*.md']"), "lets the agent change program.md"),
    (JUDGED.replace("src/solve.py", "judge"), "'judge' lets the agent change judge/judge.py"),
    # Commands, times, counts.
    (COMMAND.replace("bash bench.sh", "''"), "line 2, command: '' is not a command"),
    (COMMAND.replace("bash bench.sh", "'  '"), "line 2, command: '  ' is not a command"),
    (COMMAND.replace("bash bench.sh", '"a\\0b"'), "line 2, command: .* is not a command"),
    (COMMAND.replace("bash bench.sh", "[bash, x]"), "line 2, command: .*string"),
    (COMMAND.replace("bash bench.sh", 4001 * "a"), "line 2, command: .*at most 4000"),
    (with_line(COMMAND, "build: ''"), "line 4, build: '' is not a command"),
    (with_line(COMMAND, "budget_seconds: 0"), "line 4, budget_seconds: .*greater than 0, got 0"),
    (with_line(COMMAND, "budget_seconds: -1"), "line 4, budget_seconds: .*greater than 0"),
    (with_line(COMMAND, "budget_seconds: 1e9"), "line 4, budget_seconds: .*less than or equal to 86400"),
    (with_line(COMMAND, "budget_seconds: .nan"), "line 4, budget_seconds"),
    (with_line(COMMAND, "build_seconds: 0"), "line 4, build_seconds: .*greater than 0"),
    (with_line(COMMAND, "repeats: 0"), "line 4, repeats: .*greater than or equal to 1"),
    (with_line(COMMAND, "repeats: 2.5"), "line 4, repeats: .*integer.*got 2.5"),
    (with_line(COMMAND, "least_effect: 1"), "line 4, least_effect: .*less than 1"),
    (with_line(COMMAND, "least_effect: -0.1"), "line 4, least_effect: .*greater than or equal to 0"),
    (with_line(COMMAND, "paired: maybe"), "line 4, paired: .*boolean.*got 'maybe'"),
    (with_line(PLAIN, "stop: {target: 0}"), r"line 3, stop\.target: it must be above 0, got 0"),
    (
        with_line(COMMAND, "scale: log", "stop: {target: -1}"),
        r"line 5, stop\.target: on a log scale it must be above 0",
    ),
    # Further figures.
    (with_line(COMMAND, "metrics: [rss]"), "line 4, metrics: .*dictionary"),
    (with_line(COMMAND, "metrics: {rss: 5}"), r"line 4, metrics\.rss: .*got 5"),
    (with_line(COMMAND, "metrics: {rss: {}}"), r"line 4, metrics\.rss: .*give min, max or share, or a weight"),
    (with_line(COMMAND, "metrics: {rss: {maximum: 3}}"), r"line 4, metrics\.rss\.maximum: .*did you mean max"),
    (with_line(COMMAND, "metrics: {rss: {min: 3, max: 2}}"), r"line 4, metrics\.rss: .*min is above max"),
    (with_line(COMMAND, "metrics: {rss: {share: 0}}"), r"line 4, metrics\.rss\.share: .*greater than 0"),
    (with_line(COMMAND, "metrics: {rss: {weight: -1}}"), r"line 4, metrics\.rss\.weight: .*greater than or equal to 0"),
    (with_line(COMMAND, "metrics: {rss: {weight: heavy}}"), r"line 4, metrics\.rss\.weight: .*got 'heavy'"),
    (with_line(COMMAND, "metrics: {a b: {max: 1}}"), r"line 4, metrics\.a b: 'a b' is not a name"),
    (with_line(COMMAND, "metrics: {loss: {max: 1}}"), r"line 4, metrics\.loss: the server itself uses this name"),
    (with_line(COMMAND, "metric: ms", "metrics: {ms: {max: 1}}"), r"line 5, metrics\.ms: this is the metric itself"),
    # Misspelt.
    (with_line(PLAIN, "comand: make"), "line 3, comand: there is no such field, did you mean command"),
    (with_line(COMMAND, "refree: command"), "line 4, refree: .*did you mean referee"),
    (with_line(COMMAND, "metrc: ms"), "line 4, metrc: .*did you mean metric"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_wrong_is_told_with_its_line_and_its_field(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ProgramInvalid, match=words) as refused:
        read(tmp_path, text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("metrics: {rss_mb: {share: 1.2}, peak_memory_mb: {max: 900}, seen: {weight: 2}, p95.ms: {min: 0, max: 3}}",),
        ("stop: {target: -4.5}", "direction: higher"),
        ("stop: {target: 0}",),
        ("link: [.venv, node_modules, a/b]", "network: true", "home: true"),
        ("off_limits: [src/generated/**, program.md]", "editable: ['**']"),
        ("preflight: off", "early_stop: no"),  # what is not wanted anyway
        ("paired: true", "repeats: 40", "least_effect: 0.01", "scale: log", "seeds: 2", "keep_rule: any"),
    ],
)
def test_what_can_be_meant_is_read(tmp_path: Path, lines: tuple[str, ...]) -> None:
    text = COMMAND.replace("editable: [src/**]\n", "") if any("editable" in line for line in lines) else COMMAND
    assert read(tmp_path, with_line(text, *lines)).kind is Referee.COMMAND


def test_the_figures_of_a_task_have_bounds_by_their_own_names(tmp_path: Path) -> None:
    task = read(tmp_path, with_line(COMMAND, "metrics: {rss_mb: {share: 1.2}, seen: {weight: 2}}"))
    before, after = (Figures.model_validate({"rss_mb": value, "seen": 1.0}) for value in (100.0, 130.0))
    assert "rss_mb is 130, 1.30 times" in task.complaint(after, before)
    assert task.complaint(before, before) == ""


def test_a_run_is_told_every_term_of_its_task(tmp_path: Path) -> None:
    told = {
        "command": "bash bench.sh",
        "build": "make",
        "checks": "make test",
        "metric": {"name": "ms", "unit": "ms", "source": "wall"},
        "direction": "higher",
        "scale": "log",
        "editable": ["src/**"],
        "link": [".venv"],
        "paired": True,
        "repeats": 7,
        "least_effect": 0.02,
        "metrics": {"rss": {"max": 3}},
        "network": True,
        "home": True,
        "build_seconds": 60,
        "checks_seconds": 70,
    }
    terms = Task.model_validate(told).terms(((".venv", "/somewhere"),))
    assert terms is not None
    assert (terms.metric, terms.unit, terms.source, terms.figures) == ("ms", "ms", "wall", ("rss",))
    assert (terms.build, terms.checks, terms.links) == ("make", "make test", ((".venv", "/somewhere"),))
    usual = {field.name for field in fields(TaskSpec) if getattr(terms, field.name) == field.default}
    # What a command has none of, and what was not told.
    assert usual == {"worker", "judge", "hidden", "off_limits", "home_links", "python", "audit"}


def test_the_hash_of_a_task_follows_what_changes_its_scores_and_nothing_else(tmp_path: Path) -> None:
    plain = read(tmp_path, COMMAND).sha256
    same = ["name: other", "budget_seconds: 9", "stop: {hours: 8}", "metrics: {rss: {max: 3}}", "build_seconds: 9"]
    same += ["metric: metric", "scale: linear", "referee: command", "repeats: 1"]
    assert {read(tmp_path, with_line(COMMAND, line)).sha256 for line in same} == {plain}
    other = ["metric: ms", "metric: {unit: s}", "metric: {source: cpu}", "direction: higher", "checks: make test"]
    other += ["build: make", "paired: true", "scale: log", "repeats: 2", "network: true", "link: [.venv]"]
    found = [read(tmp_path, with_line(COMMAND, line)).sha256 for line in other]
    changed = read(tmp_path, COMMAND.replace("bench", "bench2")).sha256
    judged = read(tmp_path, JUDGED).sha256
    # Links are where the machine has them, and no part of what is measured.
    assert found[-1] == plain and len({plain, changed, judged, *found[:-1]}) == len(found) + 2
