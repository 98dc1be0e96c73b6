"""Papers of arXiv: as HTML where there is one, which keeps tables and mathematics, else as PDF."""

from server.library.document import Fetched
from server.library.fetching.web import Missing, Web

# The best first. ar5iv has older papers; where it has none, it redirects to arXiv's own page about the paper.
PLACES = (
    "https://arxiv.org/html/{number}",
    "https://ar5iv.labs.arxiv.org/html/{number}",
    "https://arxiv.org/pdf/{number}",
)
_NOTHING = (b"Conversion to HTML had a Fatal error", b"HTML is not available for the source", b"No HTML for")


def fetch_paper(number: str, web: Web, places: tuple[str, ...] = PLACES) -> Fetched:
    """A paper by its number.

    Args:
        places: where it may be, the best first.

    Raises:
        Missing: it is nowhere. SourceUnreachable: arXiv cannot be reached.
    """
    name = f"arXiv:{number}"
    for place in places[:-1]:
        try:
            found = web.fetch(place.format(number=number), name)
        except Missing:
            continue
        if "/abs/" not in found.final_url and not any(words in found.data for words in _NOTHING):
            return found
    try:
        return web.fetch(places[-1].format(number=number), name)
    except Missing:
        raise Missing(f"{name}: there is no such paper.", "Correct its number.") from None
