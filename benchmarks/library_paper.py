"""A paper in two columns, as conferences set them, and how well it is read.

`PYTHON benchmarks/library_paper.py write FOLDER` writes paper.pdf and paper.txt (its words in reading order); PYTHON is
an interpreter that has reportlab and pyphen, which nothing else here needs. `python benchmarks/library_paper.py read
FOLDER` reads every PDF in the folder that has such a text beside it, and prints F1 of words regardless of their order,
and the share of words that stand in their order.

The paper has a title and authors over both columns, a running head, page numbers, numbered sections, justified text
with hyphens, figures with axes and captions, a table, formulas, lists, footnotes at the feet of columns, and references.
Its sentences are those of docs/*.md.
"""

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


def write(folder: Path) -> None:
    """Set the paper."""
    from reportlab.lib.pagesizes import LETTER  # pyright: ignore
    from reportlab.lib.styles import ParagraphStyle  # pyright: ignore
    from reportlab.platypus import (  # pyright: ignore
        BaseDocTemplate,
        Frame,
        FrameBreak,
        NextPageTemplate,
        PageTemplate,
        Paragraph,
        Spacer,
        Table,
    )

    paper: Any = {
        "plain": ParagraphStyle("plain", fontName="Times-Roman", fontSize=10, leading=11.5, alignment=4,
                                firstLineIndent=10, hyphenationLang="en_US", uriWasteReduce=0.3),
        "title": ParagraphStyle("title", fontName="Times-Bold", fontSize=18, leading=22, alignment=1, spaceAfter=8),
        "people": ParagraphStyle("people", fontName="Times-Roman", fontSize=11, leading=13, alignment=1),
        "h1": ParagraphStyle("h1", fontName="Times-Bold", fontSize=12, leading=14, spaceBefore=9, spaceAfter=4),
        "h2": ParagraphStyle("h2", fontName="Times-Bold", fontSize=10, leading=12, spaceBefore=6, spaceAfter=3),
        "small": ParagraphStyle("small", fontName="Times-Roman", fontSize=8, leading=9.5, alignment=4,
                                hyphenationLang="en_US"),
        "item": ParagraphStyle("item", fontName="Times-Roman", fontSize=10, leading=11.5, alignment=4, leftIndent=12,
                               bulletIndent=2, hyphenationLang="en_US"),
        "maths": ParagraphStyle("maths", fontName="Times-Italic", fontSize=10, leading=16, alignment=1),
    }  # fmt: skip
    said = iter(sentences())
    story: list[Any] = []
    truth: list[str] = []

    def put(style: str, text: str, **more: Any) -> None:
        truth.append(re.sub(r"<[^>]*>", "", text))
        story.append(Paragraph(text, paper[style], **more))

    def some(count: int) -> str:
        return " ".join(next(said) for _ in range(count))

    put("title", "Referees for Machines That Experiment by Night: A Study of Kept Changes")
    put("people", "Ada Example<super>1</super>, Grace Sample<super>2</super>, Alan Instance<super>1</super>")
    put("people", "<super>1</super>Institute of Examples, <super>2</super>University of Samples")
    story += [FrameBreak()]
    put("h1", "Abstract")
    put("small", some(5))
    story += [NextPageTemplate("later")]
    for number, name in enumerate(_SECTIONS, 1):
        put("h1", f"{number} {name}")
        put("plain", some(4))
        put("plain", some(4))
        if number % 2 == 0:
            story.append(_figure(number))
            put("small", f"Figure {number // 2}: {some(1)}")
            put("plain", some(3))
        for at, part in enumerate(_PARTS[: number % 4], 1):
            put("h2", f"{number}.{at} {part}")
            put("plain", some(3))
            if at == 2:
                for _ in range(3):
                    truth.append(one := some(1))
                    story.append(Paragraph(one, paper["item"], bulletText="\u2022"))
            if at == 3:
                put("maths", "L(x) = log p(x) - log q(x)")
                put("plain", some(2))
        if number == 5:
            rows = [["model", "loss", "steps"], ["small", "3.28", "1000"], ["large", "2.85", "2000"]]
            truth.append(" ".join(" ".join(row) for row in rows))
            story += [Spacer(1, 6), Table(rows), Spacer(1, 4)]
            put("small", f"Table 1: {some(1)}")
            put("plain", some(2))
    put("h1", "References")
    for number in range(1, 13):
        put("small", f"[{number}] A. Author and B. Writer. {some(1)} Journal of Samples, {number}, 20{number + 10}.")

    width, height = LETTER
    feet: list[tuple[int, str]] = []

    def page(canvas: Any, document: Any) -> None:
        canvas.setFont("Times-Italic", 8)
        canvas.drawCentredString(width / 2, height - 36, _HEAD)
        canvas.setFont("Times-Roman", 9)
        canvas.drawCentredString(width / 2, 30, str(document.page))
        note = f"{document.page} {next(said)}"
        feet.append((document.page, note))
        canvas.line(54, 84, 120, 84)
        Paragraph(note, paper["small"]).wrapOn(canvas, 243, 40)
        foot = Paragraph(f"<super>{document.page}</super>{note.partition(' ')[2]}", paper["small"])
        _, tall = foot.wrapOn(canvas, 243, 40)
        foot.drawOn(canvas, 54, 80 - tall)

    def column(x: float, top: float) -> Any:
        low = 92 if x < 100 else 54
        return Frame(x, low, 243, top - low, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    first = [Frame(54, 640, 504, 90, leftPadding=0, rightPadding=0), column(54, 630), column(315, 630)]
    document = BaseDocTemplate(str(folder / "paper.pdf"), pagesize=LETTER, title="", author="")
    document.addPageTemplates(
        [
            PageTemplate("first", first, onPage=page),
            PageTemplate("later", [column(54, 735), column(315, 735)], onPage=page),
        ]
    )
    document.build(story)
    (folder / "paper.txt").write_text("\n".join([*truth, *(note for _, note in feet)]) + "\n", "utf-8")


def _figure(number: int) -> Any:
    """A chart with axes and two curves."""
    from reportlab.graphics.shapes import Drawing, Line, PolyLine, String  # pyright: ignore

    made = Drawing(243, 110)
    made.add(Line(30, 20, 230, 20))
    made.add(Line(30, 20, 30, 100))
    for curve in (1, 2):
        made.add(
            PolyLine([value for x in range(20) for value in (30 + 10 * x, 95 - 70 * curve * x / (20 + curve * x))])
        )
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
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
