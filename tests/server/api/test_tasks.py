"""A study of a task that is no language model's speaks of its own files, its own runs and its own number."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from mcp import Client
from pydantic import TypeAdapter

from server.api import history_views, views
from server.api.app import INSTRUCTIONS, create, instructions, start
from server.api.schemas import RunReply
from server.api.tools import Tools
from server.records import Experiment, Purpose, Score, Trust, Verdict
from server.reporting.summary import TableRow, table_row
from server.serve_options import ServeOptions
from server.study.study import Study
from server.task.definition import Task
from server.task.task_words import words_of
from server.task.words import in_words
from tests.support.builders import enter, experiment, of_task
from tests.support.repositories import git

PROGRAM = """\
---
name: sorting
command: bash bench.sh
metric: {name: latency, unit: ms}
direction: higher
editable: sort.py
---
Sort faster.
"""


@pytest.fixture
def sorting(tmp_path: Path) -> Generator[Study]:
    """A study of it, nothing run yet."""
    root = tmp_path / "sorting"
    root.mkdir()
    for name, text in {"program.md": PROGRAM, "bench.sh": "echo METRIC latency=3\n", "sort.py": "x = 1\n"}.items():
        (root / name).write_text(text, encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "start")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as study:
        yield study


async def test_nothing_that_a_client_is_told_speaks_of_a_language_model(sorting: Study) -> None:
    async with Client(create(sorting)) as client:
        tools = (await client.list_tools()).tools
        said = [client.instructions or ""]
        said += [
            f"{tool.description} {[one.get('description') for one in tool.input_schema['properties'].values()]}"
            for tool in tools
        ]
        said += [f"{one.title} {one.description}" for one in (await client.list_resources()).resources]
        said += [
            f"{one.title} {one.description}" for one in (await client.list_resource_templates()).resource_templates
        ]
        said.append(str(await client.get_prompt("start", {"tag": "t1"})))
        status = (await client.call_tool("status", {})).structured_content
    said.append(
        str(status and [status[name] for name in ("next_actions", "each_run", "metric", "editable_file", "referee")])
    )
    for text in said:
        assert not [word for word in ("train.py", "val_bpb", "630 lines", "loss", "validation") if word in text], text
    assert len(tools) == 12 and "sort.py" in said[0]


def test_a_command_that_runs_a_train_py_is_told_as_it_is() -> None:
    words = words_of(Task.model_validate({"command": "uv run train.py", "editable": ["model/**"]}))
    assert in_words("Commit the candidate and train it for the fixed budget.", words).endswith(
        "runs `uv run train.py`."
    )
    model = words_of(Task.model_validate({"editable": "model.py"}))
    assert in_words("runs with other seeds of train.py", model) == "runs with other seeds of train.py"


async def test_the_status_says_what_is_measured_where_and_how(sorting: Study) -> None:
    async with Client(create(sorting)) as client:
        told = (await client.call_tool("status", {})).structured_content
    assert told
    assert (told["metric"], told["unit"], told["direction"]) == ("latency", "ms", "higher")
    assert told["referee"] == "command, because program.md names a command"
    assert (told["each_run"], told["editable_file"]) == ("runs `bash bench.sh`", "sort.py")
    assert told["next_actions"] == ["run_experiment(description): measures the baseline, the unmodified sort.py"]


def test_the_instructions_say_what_a_run_does_and_which_way_is_better() -> None:
    assert instructions(Task()) == INSTRUCTIONS and "train.py" in start()
    task = Task.model_validate(
        {
            "judge": "judge/judge.py",
            "worker": "./serve",
            "editable": ["src/**"],
            "off_limits": ["src/gen/*"],
            "metric": {"name": "f1"},
            "direction": "higher",
            "paired": True,
        }
    )
    told = instructions(task)
    assert (
        "You change src/** (not src/gen/*)." in told
        and "f1, the judge's score of the answers; higher is better" in told
    )
    assert "starts `./serve`, and judge/judge.py asks it secret cases" in told and "in turns with the incumbent" in told
    assert "printed" not in told
    assert "`printed`" in instructions(Task.model_validate({"command": "make bench", "editable": "a.c"}))
    assert "a.c" in start("", words_of(Task.model_validate({"command": "make bench", "editable": "a.c"})))


def test_what_a_task_lacks_is_told_before_the_baseline_runs(sorting: Study) -> None:
    git(sorting.workspace.root, "rm", "--quiet", "bench.sh")
    git(sorting.workspace.root, "commit", "--quiet", "-m", "no bench")
    notice, baseline = views.status(sorting).next_actions
    assert notice.startswith("The baseline cannot work: command: git has no bench.sh (commit bench.sh")
    assert baseline.startswith("run_experiment")


def test_a_score_of_a_task_is_answered_as_value_with_its_unit_and_a_language_models_as_ever(sorting: Study) -> None:
    row = of_task(experiment(1, Verdict.BASELINE, 3.5, kept=True), "latency")
    task = sorting.program().task.sha256
    enter(sorting.ledger, row.model_copy(update={"attempt": row.attempt.model_copy(update={"task": task})}))
    (row,) = history_views.list_experiments(sorting, 20, 0, "").model_dump(mode="json")["rows"]
    assert (row["val_bpb"], row["value"], row["trust"]) == (None, 3.5, "printed")
    assert history_views.list_experiments(sorting, 20, 0, "").model_dump()["unit"] == "ms"
    status = views.status(sorting).model_dump(mode="json")
    assert (status["baseline"], status["incumbent"]["value"], status["unit"]) == (3.5, 3.5, "ms")
    run = views.show_run(sorting).model_dump(mode="json")
    assert (run["val_bpb"], run["value"], run["unit"]) == (None, 3.5, "ms")
    assert "latency 3.5 ms" in str(sorting.program().task.measure.word(3.5))


def test_the_answers_for_a_language_model_are_the_ones_of_before_and_read_under_both_names() -> None:
    row = table_row(experiment(1, Verdict.BASELINE, 2.0, kept=True))
    told = row.model_dump(mode="json")
    assert told["val_bpb"] == 2.0 and not {"value", "unit"} & set(told)
    assert TableRow.model_validate(told) == row and TableRow.model_validate(told).value == 2.0
    assert "first_score" not in told
    reply = RunReply.model_validate(
        {"next_actions": [], "status": "finished", "experiment": 1, "description": "", "val_bpb": 2.0}
    )
    assert reply.value == 2.0
    task = table_row(of_task(experiment(1, Verdict.BASELINE, 2.0, kept=True)))
    assert TableRow.model_validate(task.model_dump(mode="json")) == task


def test_a_row_that_was_confirmed_has_its_first_score_beside_the_mean_of_its_confirmations() -> None:
    row = experiment(2, Verdict.IMPROVED, 1.9, kept=True)
    assert row.judgement
    told = table_row(row.model_copy(update={"judgement": row.judgement.model_copy(update={"value": 1.95})}))
    assert (told.value, told.first_score) == (1.95, 1.9)
    assert told.model_dump(mode="json")["first_score"] == 1.9


def test_the_schema_of_answers_admits_scores_and_figures_of_any_name() -> None:
    schema = TypeAdapter(Experiment).json_schema(mode="serialization")
    model, other = schema["$defs"]["Score"]["anyOf"]
    assert set(model["required"]) == {"val_bpb", "val_tokens", "val_bytes"}
    told = Score(name="ms", value=-1.5, unit="ms", trust=Trust.JUDGED, details={"pairs": 3}).model_dump(mode="json")
    assert set(told) == set(other["properties"]) and not other["additionalProperties"]
    assert schema["$defs"]["Figures"]["additionalProperties"] == {"type": "number"}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("apply_patch", {"patch": "x"}), ("keep", {"reason": "good"}), ("discard", {"reason": "bad"})],
)
async def test_a_refusal_speaks_of_the_studys_files(sorting: Study, tool: str, arguments: dict[str, str]) -> None:
    async with Client(create(sorting)) as client:
        answered = await client.call_tool(tool, arguments)
    (text,) = (getattr(block, "text", "") for block in answered.content)
    assert answered.is_error and "the first run is the unmodified sort.py" in text and "train.py" not in text


def test_other_editable_files_in_mid_study_are_told_to_wait_for_a_new_server(sorting: Study) -> None:
    for text, told in ((PROGRAM, 0), (PROGRAM.replace("sort.py", "'*.py'"), 1), (PROGRAM + "Faster.\n", 0)):
        sorting.workspace.program.write_text(text, encoding="utf-8")
        calls = views.status(sorting).next_actions
        assert sum("restarts the server; until then the editable files are sort.py" in call for call in calls) == told
        assert calls[-1].startswith("run_experiment(description)")


def test_the_status_has_no_number_of_another_task(sorting: Study) -> None:
    row = of_task(experiment(1, Verdict.BASELINE, 3.5, kept=True), "another")
    enter(sorting.ledger, row)
    told = views.status(sorting)
    assert (told.baseline, told.noise, told.incumbent) == (None, None, None)
    task = sorting.program().task.sha256
    again = of_task(experiment(2, Verdict.REFERENCE, 80.0), "latency")
    about = {"task": task, "of": 1, "purpose": Purpose.REFERENCE}
    enter(sorting.ledger, again.model_copy(update={"attempt": again.attempt.model_copy(update=about)}))
    told = views.status(sorting)
    assert told.baseline is None and told.incumbent and told.incumbent.value == 80
    assert told.noise and told.noise.sigma == pytest.approx(0.05 * 80) and told.noise.note.startswith("assumed, not")


async def test_a_refusal_keeps_the_name_of_a_file_that_is_called_train_py(sorting: Study) -> None:
    async with Client(create(sorting)) as client:
        answered = await client.call_tool("read_train", {"path": "train.py"})
    (text,) = (getattr(block, "text", "") for block in answered.content)
    assert answered.is_error and "There is no train.py in the candidate." in text


def test_the_tools_of_several_files_name_none_of_them() -> None:
    words = words_of(Task.model_validate({"command": "make bench", "editable": ["src/**"]}))
    told = in_words(Tools.read_train.__doc__ or "", words)
    assert told.startswith("Read the candidate: the files that program.md calls editable.")
