"""How well pages and papers are read: the library's own extraction beside others, in one run over sets with known text.

`python benchmarks/library_extraction.py SETS [--only NAMES] [--docs FOLDER] [--markitdown PYTHON] [--minutes M]
[--worst N] [--ours]`

SETS holds clones of scrapinghub/article-extraction-benchmark (4a3bc97), mozilla/readability (ab40277), kepano/defuddle
(6de1634) and adbar/trafilatura (e90b0ef); a set that is not there is left out. NAMES is a file with one `set/page` a
line (aeb, readability, defuddle, traf): no other page is read. FOLDER holds pairs of NAME.html and NAME.md, the source
that it was built from; benchmarks/library_docs.py builds one. PYTHON is an interpreter that has markitdown: it needs
too much to be installed beside the rest.

Figures: F1 of words regardless of their order, the mean over pages; of the documentation also the shares of blocks of
code, rows of tables, formulas and headings that are there exactly; of trafilatura's set the share of strings that must
be there and of those that must not. No page of a set is part of this repository.
"""

import argparse
import base64
import gzip
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lxml.html
import markdownify
import readability
import trafilatura

sys.path.insert(0, str(Path(__file__).parents[1]))
from server.library.extraction.html.tree import words
from server.library.extraction.page.page import read_page
from server.library.extraction.text.charset import decode

_BASE = "https://example.org/docs/page.html"


class Page(NamedTuple):
    """A page whose text is known."""

    kind: str  # the set
    name: str
    data: bytes
    url: str
    text: str = ""  # its text, where that is known
    markdown: str = ""  # or the source it was built from
    required: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()


def ours(page: Page) -> str:
    try:
        return str(read_page(page.data, "", page.url)["markdown"])
    except Exception as error:  # a page that is refused has no text
        print(f"{page.kind}/{page.name}: {error!r}", file=sys.stderr)
        return ""


def by_trafilatura(page: Page) -> str:
    text = trafilatura.extract(
        decode(page.data),
        url=page.url,
        output_format="markdown",
        include_tables=True,
        include_formatting=True,
        include_comments=False,
        include_links=False,
    )
    return text or ""


def by_readability(page: Page) -> str:
    try:
        html = readability.Document(decode(page.data), url=page.url).summary(html_partial=True)
    except Exception:
        return ""
    return markdownify.markdownify(html, heading_style="ATX")


_MARKITDOWN = """
import base64, io, json, sys, time
from markitdown import MarkItDown, StreamInfo
reader = MarkItDown()
for line in sys.stdin:
    told, began = json.loads(line), time.process_time()
    stream, about = io.BytesIO(base64.b64decode(told["data"])), StreamInfo(extension=".html", url=told["url"])
    try:
        text = reader.convert_stream(stream, stream_info=about).text_content
    except Exception:
        text = ""
    print(json.dumps([text, time.process_time() - began]), flush=True)
"""


class MarkItDown:
    """markitdown in a process of another interpreter; `seconds` is what it has computed."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _MARKITDOWN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seconds = 0.0

    def __call__(self, page: Page) -> str:
        told, answers = self._process.stdin, self._process.stdout
        assert told and answers
        told.write(json.dumps({"data": base64.b64encode(page.data).decode(), "url": page.url}) + "\n")
        told.flush()
        text, seconds = json.loads(answers.readline())
        self.seconds += seconds
        return str(text)


def plain(markdown: str) -> str:
    """The text of Markdown: without addresses, images and signs."""
    text = re.sub(r"<svg\b.*?</svg>", " ", markdown, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^()\s]*(?:\([^()]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)", " ", text)
    link = r"\[((?:[^\[\]\\]|\\.|\[[^\]]*\])*)\]\((?:[^()\s\\]|\\.|\([^()]*\))*(?:\s+\"(?:[^\"\\]|\\.)*\")?\)"
    text = re.sub(link, r"\1", text)
    text = re.sub(r"^\s*(?:```+|~~~+).*$", " ", text, flags=re.M)
    text = re.sub(r"</?(?:sup|sub|br|u|mark|iframe|video|img|span|div)\b[^>]*>", " ", text)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", re.sub(r"\[\^[^\]]*\]:?", " ", text))


def f1(found: list[str], true: list[str]) -> float:
    common = sum((Counter(found) & Counter(true)).values())
    return 2 * common / (len(found) + len(true)) if found or true else 1.0


class Parts(NamedTuple):
    """What a source has besides its words."""

    code: list[str]
    rows: list[str]
    tex: list[str]
    headings: list[str]


def parts_of(markdown: str) -> Parts:
    code: list[str] = []

    def take(found: re.Match[str]) -> str:
        indent = len(found[1])
        lines = [line[indent:] if not line[:indent].strip() else line for line in found[3].split("\n")]
        code.append("\n".join(line.rstrip() for line in lines).strip("\n"))
        return ""

    rest = re.sub(r"^( *)(`{3,}|~{3,})[^\n`]*\n(.*?)^ *\2 *$", take, markdown, flags=re.S | re.M)
    rows = [_row(line) for line in rest.split("\n") if re.match(r"\s*\|.*\|\s*$", line)]
    tex = [
        re.sub(r"\s+", "", one[0] or one[1])
        for one in re.findall(r"\$\$(.+?)\$\$|(?<![\\\w$])\$([^$\n]+?)\$", rest, re.S)
    ]
    heads = [f"{len(one[0])} {' '.join(words(plain(one[1])))}" for one in re.findall(r"^(#{1,6}) +(.*)$", rest, re.M)]
    return Parts(code, [row for row in rows if row.strip(" |-:")], tex, heads)


def _row(line: str) -> str:
    return " | ".join(" ".join(words(plain(cell))) for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def share(found: list[str], true: list[str]) -> float | None:
    if not true:
        return None
    return sum((Counter(found) & Counter(true)).values()) / len(true)


Wanted = Callable[[str], bool]  # by the page's name in NAMES


def articles(folder: Path, wanted: Wanted) -> Iterator[Page]:
    """scrapinghub/article-extraction-benchmark."""
    truth = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    for path in sorted((folder / "html").glob("*.html.gz")):
        if not wanted(f"aeb/{path.name.removesuffix('.html.gz')}"):
            continue
        told = truth[path.name.removesuffix(".html.gz")]
        yield Page(
            "aeb",
            path.name.removesuffix(".html.gz"),
            gzip.decompress(path.read_bytes()),
            told["url"],
            told["articleBody"],
        )


def mozilla(folder: Path, wanted: Wanted) -> Iterator[Page]:
    for path in sorted((folder / "test" / "test-pages").iterdir()):
        if not wanted(f"readability/{path.name}"):
            continue
        expected = lxml.html.fromstring(f"<div>{(path / 'expected.html').read_text('utf-8')}</div>").text_content()
        yield Page(
            "readability",
            path.name,
            (path / "source.html").read_bytes(),
            "http://fakehost/test/page.html",
            str(expected),
        )


def defuddle(folder: Path, wanted: Wanted) -> Iterator[Page]:
    for path in sorted((folder / "tests" / "fixtures").glob("*.html")):
        expected = folder / "tests" / "expected" / f"{path.stem}.md"
        if expected.exists() and wanted(f"defuddle/{path.stem}"):
            text = re.sub(r"\A```json.*?\n```\n", "", expected.read_text("utf-8"), flags=re.S)
            yield Page("defuddle", path.stem, path.read_bytes(), "https://example.com/", plain(text))


def strings(folder: Path, wanted: Wanted) -> Iterator[Page]:
    """trafilatura's own pages, with strings that must and must not be there."""
    for url, told in json.loads((folder / "tests" / "evaldata.json").read_text("utf-8")).items():
        places = [folder / "tests" / place / told["file"] for place in ("eval", "cache")]
        path = next((place for place in places if place.exists()), None)
        if path is not None and wanted(f"traf/{told['file']}"):
            required, leaked = tuple(told.get("with", ())), tuple(told.get("without", ()))
            yield Page("traf", told["file"], path.read_bytes(), url, required=required, leaked=leaked)


def documentation(folder: Path) -> Iterator[Page]:
    for path in sorted(folder.glob("*.html")):
        source = path.with_suffix(".md").read_text("utf-8")
        yield Page("docs", path.stem, path.read_bytes(), _BASE, plain(source), source)


def _squeezed(text: str) -> str:
    """One line without the signs of emphasis, code, tables and headings: strings are looked for in it."""
    return " ".join(re.sub(r"<br>|[|#>]+", " ", re.sub(r"[*_`~]+", "", text)).split())


def measure(page: Page, markdown: str) -> dict[str, float | None]:
    """The figures of one page."""
    if page.kind == "traf":
        text = _squeezed(plain(markdown))
        told = {"required": page.required, "leaked": page.leaked}
        return {
            name: statistics.mean([_squeezed(one) in text for one in given]) for name, given in told.items() if given
        }
    figures: dict[str, float | None] = {"F1": f1(words(plain(markdown)), words(page.text))}
    if page.markdown:
        found, true = parts_of(markdown), parts_of(page.markdown)
        figures |= {name: share(getattr(found, name), getattr(true, name)) for name in Parts._fields}
        links = re.findall(r"(?<!!)\[[^\]^]+\]\(([^)\s]+)", markdown)
        figures["relative"] = statistics.mean([not re.match(r"[a-z]+:", one) for one in links]) if links else None
    return figures


def pages_of(told: argparse.Namespace) -> Iterator[Page]:
    only = set(told.only.read_text("utf-8").split("\n")) if told.only else None
    sets: dict[str, Callable[[Path, Wanted], Iterator[Page]]] = {
        "article-extraction-benchmark": articles,
        "readability": mozilla,
        "defuddle": defuddle,
        "trafilatura": strings,
    }
    for name, read in sets.items():
        if (told.sets / name).is_dir():
            yield from read(told.sets / name, lambda page: only is None or page in only)
    if told.docs:
        yield from documentation(told.docs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--only", type=Path)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--markitdown", metavar="PYTHON")
    parser.add_argument("--minutes", type=float, help="stop then: pages come in a random order, the same each time")
    parser.add_argument("--worst", type=int, default=0, help="name so many pages of each set on which ours is worst")
    parser.add_argument("--ours", action="store_true", help="measure no other tool")
    told = parser.parse_args()
    tools: dict[str, Callable[[Page], str]] = {"ours": ours}
    if not told.ours:
        tools |= {"trafilatura": by_trafilatura, "readability + markdownify": by_readability}
    if told.markitdown:
        tools["markitdown"] = MarkItDown(told.markitdown)
    _measure_all(list(pages_of(told)), tools, told)


def _measure_all(pages: list[Page], tools: dict[str, Callable[[Page], str]], told: argparse.Namespace) -> None:
    found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    spent: defaultdict[str, float] = defaultdict(float)
    random.Random(0).shuffle(pages)
    start, count = time.monotonic(), 0
    while count < len(pages) and (not told.minutes or time.monotonic() - start < 60 * told.minutes):
        page, count = pages[count], count + 1
        for name, read in tools.items():
            began = time.process_time()
            markdown = read(page)
            spent[name] += time.process_time() - began
            found.setdefault((page.kind, name), []).append((page.name, measure(page, markdown)))
    print(f"{count} of {len(pages)} pages")
    for (kind, name), figures in sorted(found.items(), key=lambda each: each[0][0]):
        _print(kind, name, figures, told.worst if name == "ours" and kind != "traf" else 0)
    spent |= {name: read.seconds for name, read in tools.items() if isinstance(read, MarkItDown)}
    print("ms a page:", "  ".join(f"{name} {1000 * seconds / max(1, count):.0f}" for name, seconds in spent.items()))


def _print(kind: str, name: str, figures: list[tuple[str, dict[str, Any]]], worst: int) -> None:
    columns = dict.fromkeys(key for _, one in figures for key in one)
    means = {key: [one[key] for _, one in figures if one.get(key) is not None] for key in columns}
    shown = "  ".join(f"{key} {statistics.mean(values):.3f}" for key, values in means.items() if values)
    print(f"{kind:12} {name:26} {len(figures):4} pages  {shown}")
    for page_name, one in sorted(figures, key=lambda each: each[1].get("F1", 0))[:worst]:
        print(f"{'':12} {one['F1']:.3f} {page_name}")


if __name__ == "__main__":
    main()
