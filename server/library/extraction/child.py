"""What reads foreign bytes: `python -P -m server.library.extraction.child`, started confined.

Its standard input is one line of JSON (kind, charset, url) and the bytes of a source. It prints JSON: the fields of an
Extract, or `refused` with the reason. It bounds itself before it reads: hostile input may crash it, and nothing else.
"""

import json
import resource
import sys
from contextlib import suppress
from typing import Any

from server.library.document import Kind
from server.library.extraction.text.reasons import Reason, Unreadable

MEMORY = 2 << 30  # bytes of address space
CPU_SECONDS = 60
_RECURSION = 6000  # frames: a page is at most some hundred elements deep once it is flattened


def main() -> None:
    """Read one source, and print what was found."""
    _bound()
    first, _, data = sys.stdin.buffer.read().partition(b"\n")
    told = json.loads(first)
    try:
        answer = _read(Kind(told["kind"]), data, told)
    except Unreadable as refused:
        answer = {"refused": refused.reason, "detail": refused.detail}
    except ModuleNotFoundError as error:
        answer = {"refused": Reason.NO_EXTRA, "detail": error.name or ""}
    except MemoryError:
        answer = {"refused": Reason.MEMORY, "detail": ""}
    except RecursionError:
        answer = {"refused": Reason.DEEP, "detail": ""}
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    sys.stdout.flush()


def _bound() -> None:
    sys.setrecursionlimit(_RECURSION)
    limits = ((resource.RLIMIT_AS, MEMORY, 0), (resource.RLIMIT_CPU, CPU_SECONDS, 10), (resource.RLIMIT_CORE, 0, 0))
    for what, value, more in limits:  # a soft limit of CPU seconds ends by SIGXCPU, which tells it from other ends
        hard = resource.getrlimit(what)[1]
        most = value + more if hard == resource.RLIM_INFINITY else min(value + more, hard)
        with suppress(OSError, ValueError):  # macOS knows no bound of the address space
            resource.setrlimit(what, (min(value, most), most))


def _read(kind: Kind, data: bytes, told: dict[str, str]) -> dict[str, Any]:
    """The fields of an Extract. Each kind loads its own libraries."""
    if kind is Kind.HTML:
        from server.library.extraction.page.page import read_page

        return read_page(data, told["charset"], told["url"])
    if kind is Kind.PDF:
        from server.library.extraction.pdf_layout import read_pdf

        return read_pdf(data)
    from server.library.extraction.text.plain import read_plain

    return read_plain(data, told["charset"], kind, told["url"])


if __name__ == "__main__":
    main()
