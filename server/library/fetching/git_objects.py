"""Repositories read without a checkout: a commit, its files, their bytes. Nothing of theirs is run.

Git gets no configuration of the user's, no hooks, no filters, no submodules, no credentials, and no way out but https
through our tunnel. A repository on this machine is read where it is; another is fetched, one commit deep, without what
is large.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGXFSZ
from typing import IO, NamedTuple

from server.errors import SourceUnreachable
from server.library.fetching.reach import Deadline, Reach
from server.library.fetching.sources import Source, SourceKind
from server.library.fetching.tunnel import Tunnel

MOST_BLOB = 200_000  # bytes of a file
_LIMIT = MOST_BLOB + 1  # of git's filter: the first size that is left behind
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.askPass": "",
    "core.bigFileThreshold": "1m",  # what is large goes to the disk and not to memory
    "credential.helper": "",
    "fetch.unpackLimit": "1",
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.emptyAuth": "false",
    "http.followRedirects": "initial",
    "pack.threads": "1",
    "protocol.version": "2",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
}
_FROM_OUTSIDE = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH")
# The kernel holds what a git may write and take of memory: a small pack may stand for gigabytes.
_LIMITED = 'ulimit -f "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; shift 2; exec git "$@"'
_MEMORY_KB = 4 << 20
_MOST_ERRORS = 4000
_MOST_TEXT = 32_000_000  # bytes of a listing: a tree may name itself many times over
_MOST_CONTENTS = 64_000_000
_LONGEST = 3600.0
_LOCAL_SECONDS = 60.0
_CLONE = "Clone it yourself, and name the folder."
_SAID = {  # what git says, and what it means
    ("could not read Username", "Authentication failed", "terminal prompts disabled", "error: 401", "error: 403"): (
        "does not exist, or asks for a login",
        f"Correct the address; of a private one: {_CLONE[0].lower()}{_CLONE[1:]}",
    ),
    ("not found", "error: 404"): ("is not a repository", "Correct the address."),
    ("couldn't find remote ref", "no such remote ref", "not our ref"): (
        "has no such branch, tag or commit",
        "Correct what follows the @: a branch, a tag, or all 40 digits of a commit.",
    ),
    ("certificate", "SSL", "gnutls"): ("is not safe to connect to", "Look at it in a browser."),
    ("dubious ownership",): ("belongs to another user", "Add it as that user, or from a copy of your own."),
    ("File too large",): ("is too large", "Clone the part that you need yourself, and name the folder."),
}


@dataclass(frozen=True)
class GitLimits:
    """How much a repository may take."""

    seconds: float = 300
    most_bytes: int = 200_000_000  # received, and of each file that git writes


class Blob(NamedTuple):
    """A regular file of the commit."""

    path: str  # as git has it: it may be hostile
    oid: str
    size: int


class Repository:
    """One commit of a repository."""

    def __init__(self, git: "_Git", name: str, ref: str) -> None:
        self._git = git
        self.commit = git.run("rev-parse", "--revs-only", "--end-of-options", f"{ref}^{{commit}}").strip()
        if not re.fullmatch(r"[0-9a-f]{40,64}", self.commit):
            raise SourceUnreachable(f"{name} has no commit yet.", "Commit the files to read there.")

    def files(self) -> list[Blob]:
        """Its regular files of at most MOST_BLOB bytes: no links, no submodules, nothing that was left behind."""
        listed = self._git.run("ls-tree", "-r", "-z", "--full-tree", self.commit).split("\0")
        found: list[tuple[str, str]] = []
        for line in listed:
            about, _, path = line.partition("\t")
            mode, kind, oid = (*about.split(" "), "", "")[:3]
            if kind == "blob" and mode in ("100644", "100755"):
                found.append((path, oid))
        sizes = self._sizes({oid for _, oid in found})
        return [Blob(path, oid, sizes[oid]) for path, oid in found if sizes.get(oid, MOST_BLOB + 1) <= MOST_BLOB]

    def _sizes(self, oids: set[str]) -> dict[str, int]:
        told = self._git.run("cat-file", "--batch-check", input="".join(f"{oid}\n" for oid in sorted(oids)))
        lines = [line.split(" ") for line in told.splitlines()]
        return {line[0]: int(line[2]) for line in lines if len(line) == 3 and line[1] == "blob"}

    def contents(self, oids: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of files, by their object's name."""
        asked = "".join(f"{oid}\n" for oid in dict.fromkeys(oids))
        data = self._git.run_bytes("cat-file", "--batch", input=asked, most=_MOST_CONTENTS)
        found, at = dict[str, bytes](), 0
        while at < len(data):
            end = data.index(b"\n", at)
            head = data[at:end].decode("ascii", "replace").split(" ")
            at = end + 1
            if len(head) == 3 and head[2].isdecimal():
                found[head[0]] = data[at : at + int(head[2])]
                at += int(head[2]) + 1
        return found


@contextmanager
def opened(source: Source, reach: Reach, limits: GitLimits | None = None) -> Generator[Repository]:
    """The commit that a source names, while the block lasts.

    Raises:
        SourceUnreachable: it cannot be had, or is too large.
    """
    limits = limits or GitLimits()
    with tempfile.TemporaryDirectory(prefix="autoresearch-library-") as scratch:
        home = Path(scratch)
        if source.kind is SourceKind.FOLDER:
            git = _Git(home, Path(source.target), Deadline(_LOCAL_SECONDS), limits.most_bytes, source.name)
            _require_repository(git, source)
            yield Repository(git, source.name, source.ref or "HEAD")
        else:
            git = _Git(home, home / "repository.git", Deadline(limits.seconds), limits.most_bytes, source.name)
            _fetch(git, source, reach)
            yield Repository(git, source.name, "FETCH_HEAD")


def _require_repository(git: "_Git", source: Source) -> None:
    """Refuse a folder that is not the top of a repository: not one that some folder above it is."""
    top = git.run("rev-parse", "--show-prefix").strip("\n")
    if top:
        step = f"Name the top of the repository, and --include {top}** for this folder alone."
        raise SourceUnreachable(f"{source.name} is a folder inside a repository.", step)


def _fetch(git: "_Git", source: Source, reach: Reach) -> None:
    git.folder.mkdir()
    git.run("init", "--quiet", "--bare", "--template=", ".")
    tunnel = Tunnel(reach, git.deadline, git.most_bytes)
    try:
        options = (
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            f"--filter=blob:limit={_LIMIT}",
        )
        words = ("fetch", *options, "origin", source.ref or "HEAD")
        git.run_bytes(*words, most=git.most_bytes, proxy=tunnel.address, url=source.target)
    except SourceUnreachable as error:
        raise _named(source, tunnel.problem or error) from None
    finally:
        tunnel.close()
    for name in ("remote.origin.promisor", "remote.origin.partialclonefilter", "extensions.partialClone"):
        with suppress(SourceUnreachable):  # what was left behind is left there: nothing is asked for later
            git.run("config", "--unset-all", name)


def _named(source: Source, error: SourceUnreachable) -> SourceUnreachable:
    told = error.problem if source.name in error.problem else f"{source.name}: {error.problem}"
    return SourceUnreachable(told, error.next_step)


class _Git:
    """Git in one repository, with nothing of the user's, and within limits."""

    def __init__(self, home: Path, folder: Path, deadline: Deadline, most_bytes: int, name: str) -> None:
        self.folder, self.deadline, self.most_bytes = folder, deadline, most_bytes
        self._home, self._name = home, name

    def run(self, *words: str, input: str = "", most: int = _MOST_TEXT) -> str:
        """What a command prints. Raises SourceUnreachable: why it failed."""
        return self.run_bytes(*words, input=input, most=most).decode("utf-8", "surrogateescape")

    def run_bytes(self, *words: str, input: str = "", most: int = _MOST_TEXT, **settings: str) -> bytes:
        """The same, undecoded.

        Args:
            most: bytes that it may print, or write into a file. settings: `proxy` and `url`, for what may fetch.
        """
        command = ["/bin/sh", "-c", _LIMITED, "sh", str(most // 512 + 1), str(_MEMORY_KB), "--no-pager", *words]
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            told.write(input.encode())
            told.seek(0)
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(self._home, settings),
                stdin=told,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
            if code := self._end(process):
                raise self._failure(code, _start_of(errors, _MOST_ERRORS).decode("utf-8", "replace"))
            return _start_of(out, most)

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a git, or bring it about, with the helpers that it has started."""
        try:
            return process.wait(self.deadline.left(_LONGEST))
        except BaseException as error:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise SourceUnreachable(f"{self._name} takes too long to read.", _CLONE) from None
            raise

    def _failure(self, code: int, said: str) -> SourceUnreachable:
        if code in (-SIGXFSZ, 128 + SIGXFSZ):
            said = "File too large"
        for words, (problem, step) in _SAID.items():
            if any(word.lower() in said.lower() for word in words):
                return SourceUnreachable(f"{self._name} {problem}.", step)
        if "not a git repository" in said:
            return SourceUnreachable(
                f"{self._name} is a folder, but not a git repository.", "Name its files one by one."
            )
        lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:"))] or said.splitlines()
        told = re.sub(r"https?://\S+", "", lines[0]).strip(" .:'") if lines else f"git's exit code {code}"
        return SourceUnreachable(f"{self._name} cannot be read: {told[:300]}.", _CLONE)


def _start_of(file: IO[bytes], most: int) -> bytes:
    file.seek(0)
    return file.read(most)


def _environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    made = {name: os.environ[name] for name in _FROM_OUTSIDE if name in os.environ}
    made |= {
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": "https" if settings else "none",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }
    given = dict(_SETTINGS)
    if settings:
        given |= {"http.proxy": settings["proxy"], "remote.origin.url": settings["url"]}
    made["GIT_CONFIG_COUNT"] = str(len(given))
    for number, (key, value) in enumerate(given.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made
