"""How much a candidate's text can carry, and how far that may grow. Pure.

train.py can read its own text, so weights that an earlier run has learnt can come back as a literal, a comment or a
name. What a text can carry is no more than its compressed size: code, prose and tables of constants take little of it,
numbers that look random take all of theirs.
"""

import zlib

from server.errors import PatchRefused
from server.source.candidate import Candidate

MOST_GROWTH = 4096  # compressed bytes that an experiment may add to what the incumbent has
MOST = 16384  # compressed bytes, unless the baseline is large itself: 630 full lines of code have no more


def compressed_bytes(candidate: Candidate) -> int:
    """The compressed size of all files together. Raises UnicodeEncodeError for a text that is no UTF-8."""
    return len(zlib.compress("\0".join(candidate.values()).encode(), 9))


def require_modest(candidate: Candidate, incumbent: Candidate, baseline: Candidate) -> None:
    """Refuse a text that could carry much more than the incumbent's. One that is no larger is never refused.

    Raises:
        PatchRefused: with the sizes, in compressed bytes.
    """
    size, before = compressed_bytes(candidate), compressed_bytes(incumbent)
    grown, most = size - before, max(MOST, compressed_bytes(baseline) + MOST_GROWTH)
    if grown > MOST_GROWTH:
        raise PatchRefused(
            f"The candidate's text has {size} bytes when it is compressed, {grown} more than the incumbent's; "
            f"an experiment may add {MOST_GROWTH}.",
            "Take learnt weights and other data out of the text: each run learns from its tokens alone. "
            "Make a large rewrite in several experiments.",
        )
    if grown > 0 and size > most:
        raise PatchRefused(
            f"The candidate's text has {size} bytes when it is compressed; {most} are allowed.",
            "Take data, comments or code out of it, and apply the patch again.",
        )
