"""A question in the language of SQLite's full-text search: whatever it holds, it is words and no syntax. Pure."""

import re
import unicodedata

_MOST = 40  # words, and trigrams of each script
_LONGEST = 100  # characters of a word
_WORD = re.compile(r"\w+")
# Scripts that put no blanks between words: Thai to Khmer, kana, Han, Hangul.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_COMMON = frozenset(
    "a about an and are as at be by can do does for from how i if in into is it its me my no not of on one or should "
    "so than that the their them then there these they this to use used using was we what when where which who why "
    "will with without would you your".split()
)


def words(question: str) -> list[str]:
    """The words to look for, each once: without the most common ones, unless it has no others."""
    plain = unicodedata.normalize("NFKC", question[:20_000]).lower()
    found = list(dict.fromkeys(word[:_LONGEST] for word in _WORD.findall(plain) if word.strip("_")))
    return ([word for word in found if word not in _COMMON] or found)[:_MOST]


def any_of(terms: list[str]) -> str:
    """A question for passages that have any of the terms. A term in quotes is looked for as it is."""
    return " OR ".join(f'"{term.replace(chr(34), chr(34) * 2)}"' for term in terms)


def unspaced(terms: list[str]) -> list[str]:
    """The runs of characters in them that are of a script without blanks between words."""
    return [run for term in terms for run in _UNSPACED.findall(term)]


def trigrams(terms: list[str]) -> list[str]:
    """Every three characters in a row of the terms that have as many, each once."""
    return list(dict.fromkeys(term[at : at + 3] for term in terms for at in range(len(term) - 2)))[: 4 * _MOST]
