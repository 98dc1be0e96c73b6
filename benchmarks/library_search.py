"""How well and how fast the reference library is searched: 30 questions over the documents of `library_questions`.

    python benchmarks/library_search.py [--keep FOLDER]

Sockets are blocked while it searches. It fails where fewer than 28 of the questions have their document among the first
five, or where a search takes 20 ms at the median.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.library_questions import QUESTIONS, build
from server.library.reading.index import Hit, Index

_FIRST = 5
_SHOWN = 8
_LEAST = 28
_MOST_MS = 20.0
_ROUNDS = 5


def main() -> int:
    """Build the library, ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="where the documents are left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        library = options.keep or Path(scratch) / "library"
        documents = build(library)
        return _measure(library, len(documents))


def _measure(library: Path, documents: int) -> int:
    socket.socket = _no_socket  # pyright: ignore[reportAttributeAccessIssue]
    index = Index(library)
    begun = time.process_time()
    passages = index.refresh()
    print(f"{documents} documents, {passages} passages, indexed in {time.process_time() - begun:.2f} s of CPU")
    ranks, took, shown = list[int](), list[float](), 0
    for question, wanted in QUESTIONS:
        found = list[Hit]()
        for _ in range(_ROUNDS):
            begun = time.process_time()  # other load does not count
            found = index.search(question, 8 * _FIRST)
            took.append(1000 * (time.process_time() - begun))
        shown += wanted in [hit.id for hit in found[:_SHOWN]]
        names = list(dict.fromkeys(hit.id for hit in found))
        rank = names.index(wanted) + 1 if wanted in names else 0
        ranks.append(rank)
        if rank != 1:
            print(f"  rank {rank or '-'}: {question!r} wants {wanted}, first is {names[:3]}")
    hits = {first: sum(0 < rank <= first for rank in ranks) for first in (1, 3, _FIRST)}
    reciprocal = statistics.mean(1 / rank if rank else 0.0 for rank in ranks)
    median, worst = statistics.median(took), max(took)
    print(f"hit@1 {hits[1]}, hit@3 {hits[3]}, hit@5 {hits[_FIRST]} of {len(QUESTIONS)}; MRR {reciprocal:.3f}")
    print(f"in the {_SHOWN} passages that an agent is shown: {shown}")
    print(f"{median:.1f} ms of CPU a search (median), {worst:.1f} ms at the most; no socket was opened")
    return 0 if hits[_FIRST] >= _LEAST and median < _MOST_MS else 1


def _no_socket(*_: object, **__: object) -> None:
    raise OSError("a search needs no socket")


if __name__ == "__main__":
    sys.exit(main())
