"""Every error the server raises on purpose.

AutoresearchError
├── Refusal                 the agent can fix it; it reads the message and goes on
│   ├── PatchRefused        the patch does not apply, or would break a rule
│   ├── StaleText           the patch was written against another version of train.py
│   ├── WrongPhase          this move is not legal now
│   ├── AlreadyMeasured     this code was run before
│   ├── TextEnded           a run of this code failed its audit
│   ├── NightOver           a limit was reached, or the operator stopped or paused the study
│   ├── UnknownExperiment   no experiment has this number
│   ├── UnknownLane         nobody has opened a lane of this name
│   ├── UnknownVerdict      no run can have this verdict
│   ├── UnknownNote         no open idea has this number
│   └── UnknownDocument     the library has no such document, or the document no such section
└── Unavailable             only the operator can fix it
    ├── WorkspaceUnusable   not a git repository we can work in, or not in a state to start from
    ├── SourceUnreadable    a page, a paper or a file has no text that the library can read
    ├── SourceUnreachable   a page or a repository cannot be fetched, or may not be
    ├── WorkspaceBusy       another server holds this workspace
    ├── ProgramInvalid      program.md is missing or its front matter is wrong
    ├── HeadMoved           somebody else moved our branch or refs
    ├── LedgerUnavailable   the history cannot be read or written
    │   └── LedgerDamaged   because the file is no longer a ledger
    │       └── ChainBroken  because somebody else edited the chain over its rows
    ├── LibraryUnavailable  the reference library cannot be searched
    └── RunnerUnavailable   a run cannot be started
        ├── DatasetMissing  because the text to train on was not prepared
        ├── DeviceBusy      because another run is active on the device
        └── GpuHeld         because a process of the last run still holds the GPU

What a run does (crash, time-out, out of memory) is an outcome in the ledger, never an exception.
"""

from typing import cast


class AutoresearchError(Exception):
    """Something went wrong. The message says what to do next.

    `problem`: what is wrong, in one sentence. `next_step`: what to do next, in one sentence.
    """

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem} {next_step}")
        self.problem = problem
        self.next_step = next_step


class Refusal(AutoresearchError):
    """The agent can fix this by itself."""


class PatchRefused(Refusal):
    """The patch does not apply, or would break a rule; nothing was changed."""


class StaleText(Refusal):
    """The patch was written against another version of train.py."""


class WrongPhase(Refusal):
    """This move is not legal now."""


class AlreadyMeasured(Refusal):
    """This code was run before."""


class TextEnded(Refusal):
    """A run of this code has failed its audit: it is not run again."""


class NightOver(Refusal):
    """No new runs: a limit of program.md was reached, or the operator stopped or paused the study."""


class UnknownExperiment(Refusal):
    """No experiment has this number."""


class UnknownLane(Refusal):
    """Nobody has opened a lane of this name."""


class UnknownVerdict(Refusal):
    """No run can have this verdict."""


class UnknownNote(Refusal):
    """No open idea has this number."""


class UnknownDocument(Refusal):
    """The library has no such document, or the document no such section."""


class Unavailable(AutoresearchError):
    """Only the operator can fix this."""


class WorkspaceUnusable(Unavailable):
    """The directory is not a repository we can work in."""


class SourceUnreadable(Unavailable):
    """A page, a paper or a file has no text that the reference library can read."""


class SourceUnreachable(Unavailable):
    """A page, a file or a repository cannot be fetched for the reference library, or may not be."""


class WorkspaceBusy(Unavailable):
    """Another server holds this workspace."""


class ProgramInvalid(Unavailable):
    """program.md is missing, or its front matter is wrong."""


class HeadMoved(Unavailable):
    """Somebody else moved our branch or one of our refs."""


class LedgerUnavailable(Unavailable):
    """The history cannot be read or written."""


class LedgerDamaged(LedgerUnavailable):
    """The file is no longer a ledger: a server rebuilds it from the copies in git."""


class ChainBroken(LedgerDamaged):
    """Somebody else edited the chain over the rows, so the file no longer shows which rows are genuine."""


class LibraryUnavailable(Unavailable):
    """The reference library cannot be searched; it can be read."""


class RunnerUnavailable(Unavailable):
    """A run cannot be started."""


class DatasetMissing(RunnerUnavailable):
    """The text to train on was not prepared."""


class DeviceBusy(RunnerUnavailable):
    """Another run is active on the device: of another tag, of another repository, or after the study."""


class GpuHeld(RunnerUnavailable):
    """A process of the last run cannot be ended, and keeps the GPU."""


def only_cause(error: BaseException) -> BaseException:
    """The exception in a group that holds a single one, at any depth; the group itself if it holds several."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return only_cause(group.exceptions[0]) if len(group.exceptions) == 1 else group
