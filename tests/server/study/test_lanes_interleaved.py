"""Any interleaving of the moves of four lanes, with servers that die in between: one chain of incumbents."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from server.errors import Refusal
from server.serve_options import ServeOptions
from server.study.background import dispatch, hand_over
from server.study.phase import Phase
from server.study.study import Study
from tests.support.countdown import Countdown
from tests.support.lanes import HeldExecutor, TwoSlots, end, end_unseen, patched
from tests.support.lifecycle import measured
from tests.support.repositories import HARDLY_LEARNS, git, make_repository

LANES = ("main", "b", "c", "d")
_PLACES = ("model =", "RATE =", "tokens =", "session.submit")
_CHANGING = """
    study/study study/verdicts study/lane study/background starting/slots history/ledger history/export
    vcs/workspace vcs/worktree vcs/refs vcs/objects vcs/editing files
""".split()


# A server that dies while it reads from git leaves a stream half read, which complains when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore:.*_CatFileContentStream:pytest.PytestUnraisableExceptionWarning")


class Killed(BaseException):
    """The server dies here."""


def _die() -> None:
    raise Killed


class Walk:
    """A study under random moves. What was acknowledged is remembered."""

    def __init__(self, folder: Path, seed: int, engine: type[HeldExecutor]) -> None:
        self.chance, self.engine, self.ideas = Random(seed), engine, 0
        self.root = make_repository(folder / "work", HARDLY_LEARNS)
        self.study = self.opened()
        self.told: dict[int, str] = {}  # rows by number: the commit that was run
        self.kept: set[int] = set()
        self.study.run("the baseline")
        end(self.study, 1, 2.0)

    def opened(self) -> Study:
        return Study(self.root, "t1", ServeOptions(profile="smoke"), self.engine)

    def step(self) -> None:
        """One move, which the server may not survive."""
        lane = self.chance.choice(LANES)
        legal: dict[Phase, list[Callable[[str], None]]] = {
            Phase.IDLE: [self.patch, self.patch, self.patch, self.run],
            Phase.PATCHED: [self.run, self.run, self.patch],
            Phase.RUNNING: [self.end, self.end, self.cancel],
            Phase.QUEUED: [self.end, self.end, self.cancel],
            Phase.IMPROVED: [self.keep, self.keep, self.discard],
            Phase.FAILED: [self.run, self.patch, self.discard],
            Phase.STALE: [self.run, self.run, self.patch, self.discard],
        }
        every = [self.patch, self.run, self.end, self.keep, self.discard, self.cancel]
        moves = every if self.chance.random() < 0.1 else legal.get(self.study.phase(lane), [self.discard])
        with self.dying() if self.chance.random() < 0.3 else suppress(Refusal):
            self.chance.choice(moves)(lane)
            dispatch(self.study)
        self.check()

    @contextmanager
    def dying(self) -> Generator[None]:
        """The server dies at a random line of the move; the next one takes up what it has left."""
        sys.settrace(Countdown(_CHANGING, self.chance.randrange(1, 400), _die).trace)
        try:
            with suppress(Refusal, Killed):
                yield
        finally:
            sys.settrace(None)
            self.study.close()
            self.study = self.opened()

    def patch(self, lane: str) -> None:
        self.ideas += 1
        patched(self.study, f"X{self.ideas} = 1", lane, self.chance.choice(_PLACES))

    def run(self, lane: str) -> None:
        row = self.study.run(f"idea {self.ideas}", lane=lane)
        self.told[row.number] = row.attempt.commit

    def end(self, lane: str) -> None:
        running = [row for row in self.study.ledger.unfinished() if not row.queued]
        if running:
            number = self.chance.choice(running).number
            folder = self.study.runs.path(number)
            folder.mkdir(parents=True, exist_ok=True)  # of one that was killed before its folder was there
            best = min(row.value for row in self.study.ledger.kept() if row.value is not None)
            score = best + self.chance.choice((-0.001, -0.001, 0.1))
            if self.chance.random() < 0.4:  # the next one begins before this one's score is imported
                end_unseen(self.study, number, measured(score))
                hand_over(self.study)
            else:
                end(self.study, number, None if self.chance.random() < 0.2 else score)

    def keep(self, lane: str) -> None:
        self.kept.add(self.study.keep("better", lane).number)

    def discard(self, lane: str) -> None:
        self.study.discard("no", lane)

    def cancel(self, lane: str) -> None:
        if self.chance.random() < 0.3:
            self.study.cancel("no", lane)

    def check(self) -> None:
        study = self.study
        study.settle()
        rows = list(study.ledger.all())
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert self.told.items() <= {row.number: row.attempt.commit for row in rows}.items(), "a run is gone"
        kept = [row for row in rows if row.kept]
        assert self.kept <= {row.number for row in kept}, "a keep was not a keep"
        assert [row.attempt.parent for row in kept[1:]] == [row.commit for row in kept[:-1]], "kept on another parent"
        line = git(self.root, "rev-list", "--first-parent", "--reverse", study.workspace.branch).split()
        assert line == [kept[0].attempt.parent, *(row.commit for row in kept)], "the branch is not what was kept"
        unfinished = study.ledger.unfinished()
        lanes = [row.attempt.lane for row in unfinished]
        assert len(lanes) == len(set(lanes)), "two runs of one lane"
        assert sum(not row.queued for row in unfinished) <= self.engine.count
        for row in rows:
            assert study.workspace.recorded(row.number) == row.commit, row.number
        for lane in study.lanes.all():
            self.check_lane(lane.id, kept[-1].commit)

    def check_lane(self, name: str, tip: str) -> None:
        """What an idle lane has is the incumbent; what is under way in another is what its row says."""
        lane = self.study.lanes.at(name)
        phase, root = lane.phase(), lane.measured()
        if phase is Phase.IDLE:
            assert lane.candidate() == self.study.workspace.files(tip)
        if phase is Phase.IMPROVED:
            assert root and root.attempt.parent == tip
        if phase in (Phase.IMPROVED, Phase.STALE, Phase.WORSE):
            assert root and lane.holds(root)

    def finish(self) -> None:
        """Nothing waits for ever: whatever is queued is started and ends."""
        while self.study.ledger.unfinished():
            dispatch(self.study)
            self.end("main")
        self.check()
        self.study.close()


def _walked(folder: Path, seed: int, moves: int) -> Walk:
    walk = Walk(folder, seed, TwoSlots if seed % 2 else HeldExecutor)
    for _ in range(moves):
        walk.step()
    while not walk.kept:  # the moves are drawn; what is tried here needs a keep
        walk.step()
    walk.finish()
    return walk


@pytest.mark.parametrize("seed", [6, 7])
def test_any_interleaving_keeps_one_chain(tmp_path: Path, seed: int) -> None:
    assert len(_walked(tmp_path, seed, 25).told) > 1


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(10, 30))
def test_many_interleavings_keep_one_chain(tmp_path: Path, seed: int) -> None:
    assert _walked(tmp_path, seed, 120).kept
