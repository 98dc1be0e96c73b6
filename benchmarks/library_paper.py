"""A paper in two columns, as conferences set them, and how well it is read.

`PYTHON benchmarks/library_paper.py write FOLDER` writes paper.pdf and paper.txt (its words in reading order); PYTHON is
an interpreter that has reportlab and pyphen, which nothing else here needs.
`python benchmarks/library_paper.py read FOLDER` reads every PDF in the folder that has such a text beside it. It prints
F1 of words regardless of their order, and the share of the words that are found in their order.

The paper has a title and authors over both columns, a running head, page numbers, numbered sections, justified text
with hyphens, figures with axes and captions, a table, formulas, lists, footnotes at the feet of columns, references.
Its sentences are those of docs/*.md.
"""

import argparse
import re
import sys
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
_SECTIONS = (
    "Introduction",
    "Related Work",
    "Method",
    "Experiments",
    "Results",
    "Ablations",
    "Discussion",
    "Conclusion",
)
_PARTS = ("Setting", "Limits", "Details")
_WIDTH = 612.0  # points
_HEIGHT = 792.0
_HEAD = "Proceedings of the Workshop on Machines that Experiment"


def sentences() -> list[str]:
    """Plain sentences of some length, each once."""
    found: dict[str, None] = {}
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = re.sub(r"```.*?```|^\|[^\n]*$|^#[^\n]*$", " ", path.read_text("utf-8"), flags=re.S | re.M)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        for part in text.split("\n\n"):
            plain = " ".join(re.sub(r"[*`_<>&]", "", part).split())
            found |= {one: None for one in re.split(r"(?<=[.])\s+", plain) if 40 < len(one) < 400 and one[:1].isupper()}
    return [one for one in found if one.isascii()]


class Paper:
    """What is set, and its words in reading order."""

    def __init__(self) -> None:
        from reportlab.lib.styles import ParagraphStyle  # pyright: ignore

        def style(font: str, size: float, leading: float, alignment: int, **more: Any) -> Any:
            return ParagraphStyle(
                font, fontName=f"Times-{font}", fontSize=size, leading=leading, alignment=alignment, **more
            )

        flowing = {"alignment": 4, "hyphenationLang": "en_US"}
        self._styles: dict[str, Any] = {
            "plain": style("Roman", 10, 11.5, firstLineIndent=10, **flowing),
            "small": style("Roman", 8, 9.5, **flowing),
            "item": style("Roman", 10, 11.5, leftIndent=12, bulletIndent=2, **flowing),
            "title": style("Bold", 18, 22, 1, spaceAfter=8),
            "people": style("Roman", 11, 13, 1),
            "h1": style("Bold", 12, 14, 0, spaceBefore=9, spaceAfter=4),
            "h2": style("Bold", 10, 12, 0, spaceBefore=6, spaceAfter=3),
            "maths": style("Italic", 10, 16, 1),
        }
        self._said = iter(sentences())
        self.story: list[Any] = []
        self.truth: list[str] = []
        self.feet: list[str] = []

    def some(self, count: int) -> str:
        return " ".join(next(self._said) for _ in range(count))

    def made(self, style: str, text: str, **more: Any) -> Any:
        from reportlab.platypus import Paragraph  # pyright: ignore

        return Paragraph(text, self._styles[style], **more)

    def put(self, style: str, text: str, **more: Any) -> None:
        self.truth.append(re.sub(r"<[^>]*>", "", text))
        self.story.append(self.made(style, text, **more))

    def section(self, number: int, name: str) -> None:
        self.put("h1", f"{number} {name}")
        for _ in range(2):
            self.put("plain", self.some(4))
        if number % 2 == 0:
            self.story.append(_figure(number))
            self.put("small", f"Figure {number // 2}: {self.some(1)}")
            self.put("plain", self.some(3))
        for at, part in enumerate(_PARTS[: number % 4], 1):
            self.put("h2", f"{number}.{at} {part}")
            self.put("plain", self.some(3))
            for _ in range(3 if at == 2 else 0):
                self.put("item", self.some(1), bulletText="\u2022")
            if at == 3:
                self.put("maths", "L(x) = log p(x) - log q(x)")
                self.put("plain", self.some(2))

    def table(self) -> None:
        from reportlab.platypus import Spacer, Table  # pyright: ignore

        rows = [["model", "loss", "steps"], ["small", "3.28", "1000"], ["large", "2.85", "2000"]]
        self.truth.append(" ".join(" ".join(row) for row in rows))
        self.story += [Spacer(1, 6), Table(rows), Spacer(1, 4)]
        self.put("small", f"Table 1: {self.some(1)}")
        self.put("plain", self.some(2))

    def frame(self, canvas: Any, document: Any) -> None:
        """The running head, the number and a footnote of a page."""
        canvas.setFont("Times-Italic", 8)
        canvas.drawCentredString(_WIDTH / 2, _HEIGHT - 36, _HEAD)
        canvas.setFont("Times-Roman", 9)
        canvas.drawCentredString(_WIDTH / 2, 30, str(document.page))
        canvas.line(54, 84, 120, 84)
        note = self.some(1)
        self.feet.append(f"{document.page} {note}")
        foot = self.made("small", f"<super>{document.page}</super>{note}")
        _, tall = foot.wrapOn(canvas, 243, 40)
        foot.drawOn(canvas, 54, 80 - tall)


def write(folder: Path) -> None:
    """Set the paper."""
    from reportlab.platypus import BaseDocTemplate, Frame, FrameBreak, NextPageTemplate, PageTemplate  # pyright: ignore

    paper = Paper()
    paper.put("title", "Referees for Machines That Experiment by Night: A Study of Kept Changes")
    paper.put("people", "Ada Example<super>1</super>, Grace Sample<super>2</super>, Alan Instance<super>1</super>")
    paper.put("people", "<super>1</super>Institute of Examples, <super>2</super>University of Samples")
    paper.story.append(FrameBreak())
    paper.put("h1", "Abstract")
    paper.put("small", paper.some(5))
    paper.story.append(NextPageTemplate("later"))
    for number, name in enumerate(_SECTIONS, 1):
        paper.section(number, name)
        if number == 5:
            paper.table()
    paper.put("h1", "References")
    for number in range(1, 13):
        paper.put("small", f"[{number}] A. Author and B. Writer. {paper.some(1)} Journal of Samples, {number}.")

    def column(x: float, low: float, top: float) -> Any:
        return Frame(x, low, 243, top - low, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    first = [Frame(54, 640, 504, 90, leftPadding=0, rightPadding=0), column(54, 92, 630), column(315, 54, 630)]
    later = [column(54, 92, 735), column(315, 54, 735)]
    document = BaseDocTemplate(str(folder / "paper.pdf"), pagesize=(_WIDTH, _HEIGHT), title="", author="")
    document.addPageTemplates(
        [PageTemplate("first", first, onPage=paper.frame), PageTemplate("later", later, onPage=paper.frame)]
    )
    document.build(paper.story)
    (folder / "paper.txt").write_text("\n".join([*paper.truth, *paper.feet]) + "\n", "utf-8")


def _figure(number: int) -> Any:
    """A chart with axes and two curves."""
    from reportlab.graphics.shapes import Drawing, Line, PolyLine, String  # pyright: ignore

    made = Drawing(243, 110)
    made.add(Line(30, 20, 230, 20))
    made.add(Line(30, 20, 30, 100))
    for curve in (1, 2):
        points = [(30 + 10 * x, 95 - 70 * curve * x / (20 + curve * x)) for x in range(20)]
        made.add(PolyLine([value for point in points for value in point]))
    for at in range(5):
        made.add(String(30 + 45 * at, 8, str(at * number * 100), fontSize=6))
    return made


def read(folder: Path) -> None:
    """Measure each paper with a text beside it."""
    from server.library.extraction.html.tree import words
    from server.library.extraction.pdf_layout import read_pdf

    for path in sorted(folder.glob("*.pdf")):
        if not (beside := path.with_suffix(".txt")).exists():
            continue
        found = words(str(read_pdf(path.read_bytes())["markdown"]))
        true = words(beside.read_text("utf-8"))
        common = (Counter(found) & Counter(true)).total()
        blocks = SequenceMatcher(None, found, true, autojunk=False).get_matching_blocks()
        order = sum(block.size for block in blocks) / len(true)
        print(f"{path.name}: {len(true)} words, F1 {2 * common / (len(found) + len(true)):.3f}, order {order:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "read"))
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    {"write": write, "read": read}[chosen.what](chosen.folder)
