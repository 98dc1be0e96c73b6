"""Where everything of a repository's studies is. Each name stands here and nowhere else.

The server's lock is in .git, where no `git clean` comes: `server.locks.lock_path` finds it. The files inside a run's
folder are named in `trainer.contract`.
"""

from dataclasses import dataclass
from pathlib import Path

HOME = ".autoresearch"
CHART = "progress.png"  # written where `export png` is called
LOCK = "autoresearch.lock"
TOKEN = "token"
_PAGE_TOKEN = "page-token"
_ADDRESS = "http.json"
LIBRARY_INDEX = ".index.sqlite"  # in the folder of the library
_LEDGER = "ledger.sqlite3"


@dataclass(frozen=True)
class Home:
    """What the studies of one repository share, below `.autoresearch`."""

    root: Path  # of the repository

    @property
    def folder(self) -> Path:
        return self.root / HOME

    @property
    def data(self) -> Path:
        """Folder of tokenised data."""
        return self.folder / "data"

    @property
    def library(self) -> Path:
        """Folder of the reference library: Markdown, beside program.md."""
        return self.root / "library"

    @property
    def token(self) -> Path:
        """The bearer token over HTTP."""
        return self.folder / TOKEN

    @property
    def page_token(self) -> Path:
        """The secret that the link to the live page is made of."""
        return self.folder / _PAGE_TOKEN

    @property
    def address(self) -> Path:
        """Where a server over HTTP listens, and its pid."""
        return self.folder / _ADDRESS

    @property
    def notify(self) -> Path:
        """Where messages to the operator go: a file that its owner alone can read."""
        return self.folder / "notify.toml"

    @property
    def drive(self) -> Path:
        """Folder of the clients that are started headless."""
        return self.folder / "drive"

    def drive_log(self, client: str) -> Path:
        """What such a client prints."""
        return self.drive / f"{client}.log"

    @property
    def node_looks(self) -> Path:
        """What nodes of an engine have said of themselves."""
        return self.folder / "nodes"

    def study(self, tag: str) -> "StudyPaths":
        return StudyPaths(self.folder / tag)

    def studies(self, tag: str = "") -> list["StudyPaths"]:
        """Those that have a ledger: all, or the one of this tag. Reads the disk."""
        return [StudyPaths(path.parent) for path in self.folder.glob(f"{tag or '*'}/{_LEDGER}")]


@dataclass(frozen=True)
class StudyPaths:
    """What one study has, in its state folder."""

    state: Path

    @property
    def tag(self) -> str:
        return self.state.name

    @property
    def home(self) -> Home:
        return Home(self.state.parent.parent)

    @property
    def ledger(self) -> Path:
        return self.state / _LEDGER

    @property
    def worktree(self) -> Path:
        """A git worktree on the study's branch: the candidate's text."""
        return self.state / "worktree"

    @property
    def lanes(self) -> Path:
        """A folder for each lane; of main, it has no worktree."""
        return self.state / "lanes"

    def lane_worktree(self, lane: str) -> Path:
        """A git worktree on no branch: the candidate's text in a lane that is not main."""
        return self.lanes / lane / "worktree"

    def lane_base(self, lane: str) -> Path:
        """Names the commit that a lane's candidate was built on, once the incumbent has moved on without it."""
        return self.lanes / lane / "base"

    @property
    def runs(self) -> Path:
        """A folder for each run."""
        return self.state / "runs"

    @property
    def kernels(self) -> Path:
        """What the baseline compiled."""
        return self.state / "kernels"

    @property
    def reruns(self) -> "StudyPaths":
        """Where runs after the study have their folders."""
        return StudyPaths(self.state / "reruns")

    @property
    def notes(self) -> Path:
        return self.state / "notes.json"

    @property
    def sweep(self) -> Path:
        return self.state / "sweep.json"

    @property
    def tasks(self) -> Path:
        """The MCP tasks that clients have asked for."""
        return self.state / "tasks.json"

    @property
    def results(self) -> Path:
        return self.state / "results.tsv"

    @property
    def request(self) -> Path:
        """The operator's request to pause or stop."""
        return self.state / "operator"

    @property
    def pulse(self) -> Path:
        """Touched by a server that lives."""
        return self.state / "pulse"

    @property
    def hours(self) -> Path:
        return self.state / "hours.json"

    @property
    def bill(self) -> Path:
        """What the agent's client has reported of tokens and money."""
        return self.state / "bill.json"

    @property
    def report(self) -> Path:
        """The report that is written at the end of the study."""
        return self.state / "report.html"

    @property
    def notified(self) -> Path:
        """What was sent to the operator."""
        return self.state / "notified.json"

    @property
    def front_matter(self) -> Path:
        """Says that program.md has had a front matter."""
        return self.state / "front-matter"

    @property
    def engine(self) -> Path:
        """On what the study runs, where that is not this machine."""
        return self.state / "engine.json"

    @property
    def lost(self) -> Path:
        """Says what git has lost for good."""
        return self.state / "lost"
