"""What must hold of a study at any moment, whatever was kept and revoked and whenever its server was killed.

    python -m tests.support.kept_chain REPOSITORY

kills a server at every line of the move that revokes, each in a copy of the repository, in which a run under way has
left a result that refutes a keep; then a next server takes the study up, and all must hold.
"""

import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

from server.history import audit_failures
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.countdown import Countdown

# Where a study is changed.
CHANGING = (
    "study/study study/verdicts history/ledger history/export history/notes vcs/workspace vcs/worktree vcs/refs files"
).split()


def require_whole(study: Study) -> None:
    """The branch is the chain of what was kept and stands, nothing that an audit has refuted stands, no ref is lost."""
    study.settle()
    rows, kept = list(study.ledger.all()), study.ledger.kept()
    if not rows:
        return
    assert [row.number for row in kept] == [row.number for row in rows if row.kept]
    assert study.workspace.tip() == (kept[-1].commit if kept else rows[0].attempt.parent)
    assert [row.attempt.parent for row in kept[1:]] == [row.commit for row in kept[:-1]], "the chain is broken"
    lost = {row.commit for row in study.ledger.revoked()}
    for row in kept[1:]:
        assert not audit_failures.refutation(study.ledger, row), f"experiment {row.number} is refuted and stands"
        assert row.attempt.parent not in lost
    for row in study.ledger.revoked():
        assert row.decision and row.decision.kept and row.revocation
        by, of = study.ledger.get(row.revocation.by), study.ledger.get(row.revocation.of)
        assert by and audit_failures.refutes(by) and of and of.revocation
    listed = study.workspace.listed()
    assert listed.attempts == {row.number: row.commit for row in rows}, "a ref is lost"
    assert sorted(listed.rows) == [row.number for row in rows]
    assert not study.workspace.objects.lacking([*listed.attempts.values(), *(row.attempt.commit for row in rows)])
    notes = [note.text for note in study.notebook.notes if "failed its audit" in note.text]
    assert len(notes) == len(set(notes)) == len({row.revocation.by for row in study.ledger.revoked() if row.revocation})


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _taken_up(repository: Path, lines: int) -> None:
    """Take the study up, as a server does that is killed at the line of this number; 0: never."""
    sys.settrace(Countdown(CHANGING, lines, _die).trace)
    study = Study(repository, "t1", ServeOptions(profile="smoke"))
    sys.settrace(None)
    if lines == 0:
        require_whole(study)
        assert study.ledger.revoked(), "nothing was revoked"
    study.close()


def _in_a_child(repository: Path, lines: int) -> int:
    """The exit status of a process of its own that does this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            _taken_up(repository, lines)
        except BaseException:
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main() -> None:
    """See above."""
    whole, lines, step = Path(sys.argv[1]), 1, int(sys.argv[2])
    while True:
        with tempfile.TemporaryDirectory(dir=whole.parent) as folder:
            copy = Path(folder) / whole.name
            shutil.copytree(whole, copy, symlinks=True)
            died = _in_a_child(copy, lines)
            assert died in (0, signal.SIGKILL), (lines, died)
            assert _in_a_child(copy, 0) == 0, f"killed at line {lines}"
        if died == 0:
            break
        lines += step
    sys.stdout.write(f"{lines}\n")


if __name__ == "__main__":
    main()
