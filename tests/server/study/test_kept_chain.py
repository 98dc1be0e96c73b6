"""Whatever is called in which order, and killed at any line: the branch is what was kept and stands, no ref is lost."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import Refusal
from server.study.phase import Phase
from tests.support.countdown import Countdown
from tests.support.failing_audits import INVALID, LINE, opened, patch
from tests.support.kept_chain import CHANGING, require_whole
from tests.support.lifecycle import begin, leave_result, ran

SETTINGS = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OFTEN = ["improve", "improve", "improve", "fail", "return_to"]
MOVES = [*OFTEN, "patch", "run", "keep", "discard", "again", "restart"]


class Killed(BaseException):
    """What a kill is in this process: nothing of the move that it ends is run any more but what cleans up."""


def die() -> None:
    raise Killed


class Agent:
    """Calls whatever it likes; each call may be its server's last."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study, self.count = folder, opened(folder, "any"), 0
        ran(self.study, 2.0)

    def patch(self, _which: int) -> None:
        self.count += 1
        line = next(line for line in self.study.lane.candidate().text.splitlines() if line.startswith("model = "))
        self.study.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{self.count})", line))

    def improve(self, which: int) -> None:
        if self.study.phase() in (Phase.WORSE, Phase.FAILED, Phase.INVALID):
            self.study.discard("")
        if self.study.phase() is not Phase.IMPROVED:
            self.patch(which)
            self.run(which)
        self.keep(which)

    def run(self, _which: int) -> None:
        if self.study.phase() in (Phase.PATCHED, Phase.IDLE):
            ran(self.study, 2.0 - self.count / 100)

    def fail(self, _which: int) -> None:
        if self.study.phase() in (Phase.PATCHED, Phase.IDLE):
            ran(self.study, INVALID)

    def keep(self, _which: int) -> None:
        self.study.keep("better")

    def discard(self, _which: int) -> None:
        self.study.discard("not this")

    def again(self, which: int) -> None:
        rows = list(self.study.ledger.all())
        self.study.apply_patch("", number=rows[which % len(rows)].number)

    def return_to(self, which: int) -> None:
        """To the text of an earlier keep, which may be refuted by now: the next run may refute it."""
        if self.study.phase() is Phase.IDLE:
            kept = [row for row in self.study.ledger.all() if row.decision and row.decision.kept]
            self.study.replace(self.study.workspace.files(kept[which % len(kept)].commit))

    def restart(self, _which: int) -> None:
        self.study.close()
        self.study = opened(self.folder, "any")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # whoever is killed closes nothing
@SETTINGS
@given(
    st.lists(
        st.tuples(st.sampled_from(MOVES), st.integers(0, 9), st.sampled_from([0, 0, 0]) | st.integers(1, 400)),
        min_size=15,
        max_size=40,
    )
)
def test_no_sequence_of_calls_and_kills_breaks_the_chain_of_keeps(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, int]]
) -> None:
    agent = Agent(tmp_path_factory.mktemp("night") / "work")
    before = sys.gettrace()
    for move, which, lines in moves:
        try:
            if move != "restart":  # a server that starts is killed in the test below
                sys.settrace(Countdown(CHANGING, lines, die).trace)
            getattr(agent, move)(which)
        except Refusal:
            pass
        except Killed:
            sys.settrace(None)
            agent.restart(0)
        finally:
            sys.settrace(before)
        require_whole(agent.study)
    agent.study.close()


def refuted_under_way(folder: Path) -> Path:
    """A study of three keeps, and a run under way whose result, unread so far, refutes the second."""
    study = opened(folder, "any")
    ran(study, 2.0)
    for line, before, score in (("model = Bigram()", LINE, 1.9), ("RATE = 0.04", "RATE = 0.03", 1.8)):
        study.apply_patch(patch(line, before))
        ran(study, score)
        study.keep("better")
    study.replace(study.workspace.files(study.ledger.kept()[1].commit))
    run = begin(study, 4)
    study.close()
    leave_result(study, run.number, INVALID)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("step", [pytest.param(3, marks=pytest.mark.thorough), 200])
def test_a_server_killed_at_a_line_of_a_revocation_is_followed_by_one_that_finishes_it(
    tmp_path: Path, step: int
) -> None:
    repository = refuted_under_way(tmp_path / "work")
    command = [sys.executable, "-m", "tests.support.kept_chain", str(repository), str(step)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 200, "hardly a line was counted"
