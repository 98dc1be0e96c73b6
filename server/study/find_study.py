"""Which study is meant when none is named, and the operator's request to pause or stop it.

The request comes from another terminal: it is one small file beside the ledger.
"""

import time
from contextlib import closing
from datetime import date
from enum import StrEnum
from pathlib import Path

from server.errors import LedgerUnavailable
from server.files import write_whole
from server.locks import lock_holder
from server.paths import Home, StudyPaths

RESUME_HOURS = 3.0  # after which a night that rests is over, and another one begins


def tag_to_serve(workspace: Path) -> str:
    """The tag to serve: the latest night's while it goes on; else today's date.

    A server or a client that is started again after midnight must not begin another night. A night goes on for as long
    as it is paused, or has a run whose result was not looked at; else for three hours after its last row, or after the
    operator's word: what is started the evening after `stop` is a new night.
    """
    try:
        study = latest_study(workspace, "")
    except LedgerUnavailable:
        return date.today().isoformat()
    recent = time.time() - _last_changed(study) < 3600 * RESUME_HOURS
    return study.tag if recent or _is_unfinished(study) else date.today().isoformat()


def latest_study(workspace: Path, tag: str) -> StudyPaths:
    """The study `tag`, or the one that is served here, or the last one; it has a ledger. Raises LedgerUnavailable."""
    served = None if tag else lock_holder(workspace)
    if served and (study := Home(workspace).study(served.tag)).ledger.exists():
        return study
    found = sorted(Home(workspace).studies(tag), key=_last_changed)
    if not found:
        from server.vcs.repository_checks import studies_in_git

        if kept := [name for name in studies_in_git(workspace) if tag in ("", name)]:
            raise LedgerUnavailable(
                f"{workspace.resolve()} has no ledger of the study {' or '.join(kept)}, but git has its rows.",
                f"Run `autoresearch serve --tag {kept[-1]}`: the server makes the ledger from them, and goes on.",
            )
        raise LedgerUnavailable(
            f"No study{f' {tag}' if tag else ''} found in {workspace.resolve()}.",
            "Start a client in the workspace, or run `autoresearch drive CLIENT`. For another workspace, give "
            "--workspace.",
        )
    return found[-1]


def study_to_watch(workspace: Path, tag: str) -> StudyPaths:
    """The study `tag`, or the latest; before there is any, the one that a server would begin."""
    try:
        return latest_study(workspace, tag)
    except LedgerUnavailable:
        return Home(workspace).study(tag or tag_to_serve(workspace))


def _last_changed(study: StudyPaths) -> float:
    """When a night last had a row or a word, in seconds since the epoch: to open a ledger writes nothing."""
    return max(entry.stat().st_mtime for entry in (study.ledger, study.request) if entry.exists())


def _is_unfinished(study: StudyPaths) -> bool:
    """Whether a night is paused, or has a run whose result was not looked at, or waits and was not stopped."""
    if (word := read_request(study.state)) is OperatorRequest.PAUSE:
        return True
    from server.history.ledger import Ledger

    try:
        with closing(Ledger(study.ledger, read_only=True)) as ledger:
            return any(word is None or not row.queued for row in ledger.unfinished())
    except LedgerUnavailable:
        return False


class OperatorRequest(StrEnum):
    """Nothing new is started after either; a run under way goes on."""

    PAUSE = "pause"
    STOP = "stop"


def write_request(state: Path, word: OperatorRequest | None) -> None:
    """Leave a word for the night in folder `state`; None takes it back. Raises OSError."""
    if word is None:
        StudyPaths(state).request.unlink(missing_ok=True)
        return
    try:
        write_whole(StudyPaths(state).request, f"{word}\n")
    except (OSError, ValueError):
        if word is not OperatorRequest.STOP:
            raise
        StudyPaths(state).request.write_bytes(b"")  # takes no space on a full disk, and is heard as a stop


def read_request(state: Path) -> OperatorRequest | None:
    """The operator's last word; what cannot be read is a stop: somebody wanted something."""
    try:
        told = StudyPaths(state).request.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return OperatorRequest.STOP
    return OperatorRequest(told) if told in {word.value for word in OperatorRequest} else OperatorRequest.STOP
