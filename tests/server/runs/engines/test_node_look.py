"""What a node says of itself, and what makes it unfit: each is one clear sentence."""

from pathlib import Path

import pytest

from server.errors import RunnerUnavailable
from server.runs.engines import node_look
from server.runs.engines.node_look import NodeLook, doubts


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> NodeLook:
    """This machine."""
    found = node_look.look("token", tmp_path_factory.mktemp("looked"), quick=True)
    return found.model_copy(update={"node": "n1", "torch": "2.9.0"})


def test_a_node_like_this_machine_is_fit(own: NodeLook) -> None:
    assert doubts(own, own, (own.time - 1, own.time + 1)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"token": "another"}, "n1 did not read the file that this machine wrote"),
        ({"trainer": "another"}, "n1 has another version of autoresearch than this machine"),
        ({"torch": None}, "n1 has no torch"),
        ({"torch": "0.1"}, "n1 has torch 0.1, this machine 2.9.0"),
        ({"torch_problem": "no driver"}, "torch does not work on n1: no driver"),
        ({"time": 100.0}, "the clock of n1 differs from this machine's by 900 s"),
        ({"time": 2000.0}, "the clock of n1 differs from this machine's by 999 s"),
        ({"free_gb": {"/shared": 0.1}}, "0.1 GB are free in /shared on n1"),
    ],
)
def test_what_makes_a_node_unfit_is_one_clear_sentence(own: NodeLook, change: dict[str, object], told: str) -> None:
    node = own.model_copy(update={"time": 1000.5, "free_gb": {"/shared": 9.0}, **change})
    ((found, remedy),) = doubts(node, own, (1000.0, 1001.0))
    assert found == told and remedy


def test_a_task_that_needs_no_torch_is_not_asked_for_it(own: NodeLook) -> None:
    assert doubts(own.model_copy(update={"torch": None}), own, (own.time, own.time), torch=False) == []


def test_an_answer_is_read_once_it_is_there_and_another_versions_is_told_as_such(own: NodeLook, tmp_path: Path) -> None:
    assert node_look.read(tmp_path) is None and node_look.read(tmp_path / "none") is None
    (tmp_path / node_look.ANSWER).write_text(own.model_dump_json(), encoding="utf-8")
    assert node_look.read(tmp_path) == own
    (tmp_path / node_look.ANSWER).write_text('{"node": "n1", "new": 1}', encoding="utf-8")
    with pytest.raises(RunnerUnavailable, match="A node has another version of autoresearch"):
        node_look.read(tmp_path)
