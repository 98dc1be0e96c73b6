"""The text of a page, a paper or a file as Markdown, read in a confined process: foreign bytes can do no harm."""

import json
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from server.errors import SourceUnreadable
from server.library.document import Extract, Fetched, Kind
from server.library.extraction.confinement import Ended, run_confined
from server.library.extraction.text.kinds import UnknownKind, is_plain_name, kind_of
from server.library.extraction.text.reasons import SENTENCES, Reason

_PROGRAM = ("-m", "server.library.extraction.child")
_MOST_BYTES = 20_000_000
_MOST_OUTPUT = 12_000_000  # an agent reads the first 2 MB of a document
_SECONDS = 600.0  # of the clock, on a busy machine; what computes or hangs ends earlier, by its CPU seconds
_NAME = 200  # characters of a source in a sentence
_LIBRARIES = ("trafilatura", "readability", "pypdfium2")  # of the extra: pages and papers need them


def extract(fetched: Fetched) -> Extract:
    """Read the text of what a source answered.

    Raises:
        SourceUnreadable: it has none, or none that can be read; the sentence says why, and what to do.
    """
    if not fetched.data.strip(b" \t\r\n\0"):
        raise _refusal(fetched, Reason.EMPTY)
    if len(fetched.data) > _MOST_BYTES:
        raise _refusal(fetched, Reason.LARGE, f"it has more than {_MOST_BYTES // 1_000_000} MB")
    try:
        kind = kind_of(fetched.data, fetched.content_type, fetched.final_url or fetched.source)
    except UnknownKind as unknown:
        raise _refusal(fetched, Reason.BINARY, str(unknown)) from None
    answer = _ask(fetched, kind)
    if "refused" in answer:
        raise _refusal(fetched, Reason(answer["refused"]), str(answer["detail"]))
    try:
        return Extract.model_validate(answer)
    except ValueError:
        raise _refusal(fetched, Reason.CRASHED, "its answer makes no sense") from None


def require_extra(name: str) -> None:
    """Refuse what is to be fetched and cannot be read afterwards.

    Args:
        name: of a source. Markdown and text need nothing, where their name tells what they are.

    Raises:
        SourceUnreadable: a library of the extra is missing.
    """
    missing = next((one for one in _LIBRARIES if find_spec(one) is None), "")
    if missing and not is_plain_name(name):
        problem, step = SENTENCES[Reason.NO_EXTRA]
        raise SourceUnreadable(problem.format(detail=missing), step)


def _ask(fetched: Fetched, kind: Kind) -> Mapping[str, Any]:
    told = {"kind": kind, "charset": fetched.charset, "url": fetched.final_url or fetched.source}
    try:
        head = json.dumps(told).encode() + b"\n"
        ended = run_confined(_PROGRAM, fetched.data, _SECONDS, _MOST_OUTPUT, head)
    except OSError as error:
        raise SourceUnreadable(
            f"No process can be started to read {_name(fetched)}: {error.strerror or error}.",
            "Run `autoresearch doctor`.",
        ) from error
    if ended.code == 0:
        try:
            return json.loads(ended.output)
        except ValueError:
            raise _refusal(fetched, Reason.CRASHED, "its answer cannot be read") from None
    raise _of_end(fetched, ended)


def _of_end(fetched: Fetched, ended: Ended) -> SourceUnreadable:
    """Why the process gave no answer."""
    if ended.problem == "output":
        return _refusal(fetched, Reason.LARGE, f"its text has more than {_MOST_OUTPUT // 1_000_000} MB")
    if ended.problem == "time":
        return _refusal(fetched, Reason.TIME, f"more than {_SECONDS:.0f} seconds")
    if ended.code == -signal.SIGXCPU:
        return _refusal(fetched, Reason.TIME, "the limit of CPU seconds is reached")
    last = (ended.errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
    if ended.code == -signal.SIGKILL or last.startswith("MemoryError"):  # the first by the kernel, out of memory
        return _refusal(fetched, Reason.MEMORY)
    if ended.code is not None and ended.code < 0:
        return _refusal(fetched, Reason.CRASHED, signal.Signals(-ended.code).name)
    return _refusal(fetched, Reason.CRASHED, (last or f"exit code {ended.code}")[:_NAME])


def _refusal(fetched: Fetched, reason: Reason, detail: str = "") -> SourceUnreadable:
    problem, step = SENTENCES[reason]
    return SourceUnreadable(problem.format(source=_name(fetched), detail=detail), step)


def _name(fetched: Fetched) -> str:
    name = " ".join(fetched.source.split())
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
