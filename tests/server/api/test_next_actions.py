"""Next actions are values: an agent reads sentences made of them, and no code reads the sentences."""

import ast
from contextlib import closing
from pathlib import Path

import pytest

from server.api import views
from server.api.next_actions import next_calls, sentences
from server.clients.tool_call import described
from server.serve_options import ServeOptions
from server.study.phase import NextAction, Phase, call, next_actions
from server.study.study import Study
from tests.support.lanes import HeldExecutor, end, patched
from tests.support.lifecycle import improved, kept_baseline
from tests.support.repositories import HARDLY_LEARNS, git, make_repository

SERVER = Path(__file__).parents[3] / "server"
SHOWN = {"server/api/schemas.py", "server/api/next_actions.py", "server/api/views.py", "server/api/history_views.py"}
RENDERING = {"server/api/next_actions.py", "server/study/phase.py", "server/study/sweep.py"}  # two of them in refusals


def test_an_action_is_shown_as_a_call_or_as_a_notice() -> None:
    assert call("keep", "makes it the incumbent", "reason").sentence() == "keep(reason): makes it the incumbent"
    given = NextAction(tool="apply_patch", arguments={"experiment": 3, "base_sha256": None}, why="again")
    assert given.sentence() == "apply_patch(experiment=3, base_sha256): again"
    assert NextAction(tool="", why="ask the operator").sentence() == "ask the operator"


@pytest.mark.parametrize("phase", Phase)
def test_an_action_names_a_tool_and_arguments_that_it_has(phase: Phase) -> None:
    for action in next_actions(phase):
        assert not action.tool or set(action.arguments) <= set(described()[action.tool][1]["properties"])


def test_status_names_the_tool_of_each_sentence(study: Study) -> None:
    improved(study)
    status = views.status(study)
    assert status.next_actions == sentences(next_calls(study))
    assert status.next_tools == ["keep", "discard"]


def test_a_baseline_that_cannot_work_is_told_before_it_runs(repository: Path) -> None:
    (repository / "train.py").write_text("from prepare import evaluate_bpb\n", encoding="utf-8")
    git(repository, "commit", "--all", "--quiet", "-m", "upstream's")
    with closing(Study(repository, "t1", ServeOptions(profile="smoke"))) as study:
        notice, baseline = next_calls(study)
    assert "the four calls of trainer.session" in notice.why and not notice.tool
    assert baseline.tool == "run_experiment"


def test_what_only_the_operator_can_do_has_no_tool(study: Study) -> None:
    baseline = kept_baseline(study)
    study.workspace.refs.swap(f"refs/heads/{study.workspace.branch}", baseline.attempt.parent, baseline.commit)
    status = views.status(study)
    assert status.head_moved and status.next_actions[0].endswith(status.head_moved)
    calls = next_calls(study)
    assert not calls[0].tool and status.next_tools == [action.tool for action in calls[1:]] and all(status.next_tools)


def test_no_code_reads_the_sentences() -> None:
    """They are made in one place, shown in the answers, and named nowhere else: neither as a field nor as a key."""
    for path in SERVER.rglob("*.py"):
        name, nodes = str(path.relative_to(SERVER.parent)), list(ast.walk(ast.parse(path.read_text("utf-8"))))
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        keys = {node.value for node in nodes if isinstance(node, ast.Constant)}
        assert "next_actions" not in attributes | keys, name
        assert "sentence" not in attributes or name in RENDERING, name
        given = {node.arg for node in nodes if isinstance(node, ast.keyword)}
        assert "next_actions" not in given or name in SHOWN, name


def test_of_two_candidates_to_confirm_the_better_one_comes_first_with_its_score(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    (root / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"), HeldExecutor)) as study:
        for number, score in enumerate((2.0, 2.002, 1.998), 1):
            study.run("the baseline")
            end(study, number, score)
        for number, (lane, score) in enumerate((("a", 1.95), ("b", 1.9), ("c", 1.93)), 4):
            patched(study, f"x_{lane} = 1", lane)
            study.run(lane, lane=lane)
            end(study, number, score)
        calls = [
            action for action in next_calls(study) if action.tool == "run_experiment" and "lane" in action.arguments
        ]
    assert [action.arguments["lane"] for action in calls] == ["b", "c", "a"]
    assert "its first score is 1.900000" in calls[0].why
