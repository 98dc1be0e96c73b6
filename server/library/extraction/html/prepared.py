"""What is done to a page before its text is looked for."""

from server.library.extraction.html.cleaning import clean
from server.library.extraction.html.code_blocks import take_code
from server.library.extraction.html.dialects import to_plain_form
from server.library.extraction.html.maths import take_maths
from server.library.extraction.html.tree import Element


def prepare(root: Element) -> None:
    """Take formulas and code out, put what is written in odd ways into the plain form, remove what nobody sees."""
    take_maths(root)
    take_code(root)
    to_plain_form(root)
    clean(root)
