"""Papers: columns, headings, hyphens, heads and feet. The PDFs are written here."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from server.library.extraction import pdf_text
from server.library.extraction.pdf_layout import _Layout, read_pdf  # pyright: ignore[reportPrivateUsage]
from server.library.extraction.pdf_text import Line
from server.library.extraction.text.reasons import Reason, Unreadable
from tests.support.growth import require_even

WORDS = (
    "the optimizer keeps a running average of every gradient and divides each step by its root so that rare features "
    "receive larger updates than frequent ones while warmup lets the average settle before learning begins"
).split()
Text = tuple[str, float, float, float, str]  # font, size, x, y, text


def pdf(pages: Sequence[Sequence[Text]], extra: str = "") -> bytes:
    """A PDF with these texts on its pages; F1 is Times, F2 Courier, F3 Times bold."""
    fonts = ("Times-Roman", "Courier", "Times-Bold")
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    objects += [f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>" for name in fonts]
    kids: list[str] = []
    streams: dict[int, bytes] = {}
    for texts in pages:
        escaped = (
            (font, size, x, y, text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)"))
            for font, size, x, y, text in texts
        )
        content = "\n".join(f"BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET" for font, size, x, y, text in escaped)
        streams[len(objects)] = zlib.compress(content.encode("cp1252"))
        objects.append(f"<< /Length {len(streams[len(objects)])} /Filter /FlateDecode >>")
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R >> >> >>"
        )
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out = bytearray(b"%PDF-1.7\n")
    places: list[int] = []
    for number, one in enumerate(objects):
        places.append(len(out))
        out += f"{number + 1} 0 obj\n{one}\n".encode()
        if number in streams:
            out += b"stream\n" + streams[number] + b"\nendstream\n"
        out += b"endobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return bytes(
        out + f"trailer << /Size {len(objects) + 1} /Root 1 0 R {extra} >>\nstartxref\n{start}\n%%EOF\n".encode()
    )


def column(words: Sequence[str], x: float, y: float, width: int = 48) -> list[Text]:
    """Words set in lines of so many characters, from the height y downwards."""
    lines: list[str] = []
    line = ""
    for word in words:
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [("F1", 10, x, y - 12 * at, text) for at, text in enumerate([*lines, line])]


def numbered(name: str, count: int) -> list[str]:
    return [f"{WORDS[at % len(WORDS)]}{name}{at}" for at in range(count)]


def two_columns(pages: int) -> tuple[list[list[Text]], list[str]]:
    made: list[list[Text]] = []
    truth: list[str] = []
    for number in range(pages):
        left, right = numbered(f"l{number}n", 130), numbered(f"r{number}n", 130)
        texts: list[Text] = [("F1", 8, 250, 770, "Proceedings of a conference"), ("F1", 8, 300, 20, str(number + 1))]
        if number == 0:
            texts.append(("F3", 18, 120, 740, "A Title over Both Columns"))
            truth += "A Title over Both Columns".split()
        texts += [
            ("F3", 13, 50, 700, f"{number + 1} Section"),
            *column(left, 50, 680, 44),
            *column(right, 320, 700, 44),
        ]
        truth += [str(number + 1), "Section", *left, *right]
        made.append(texts)
    return made, truth


@pytest.mark.parametrize("drawn", ["by columns", "by rows"])
def test_two_columns_are_read_one_after_the_other(drawn: str) -> None:
    pages, truth = two_columns(3)
    if drawn == "by rows":
        pages = [sorted(page, key=lambda text: -text[3]) for page in pages]
    found = read_pdf(pdf(pages))
    assert found["markdown"].replace("#", "").split() == truth
    assert found["lossy"] is True and found["title"] == "A Title over Both Columns"
    assert "# A Title over Both Columns\n\n## 1 Section\n\n" in found["markdown"]


def test_words_divided_at_the_end_of_a_line_are_joined() -> None:
    lines = [
        "a mea-",
        "sure of the learn-",
        "ing rate in a state-of-the-",
        "art and low-rank model. The low model",
        "has a rank of a measure.",
    ]
    found = read_pdf(
        pdf([[("F1", 10, 50, 700 - 12 * at, line) for at, line in enumerate([*lines, *["filling it up"] * 3])]])
    )
    assert "a measure of the learning rate in a state-of-the-art and low-rank model." in found["markdown"]


@pytest.mark.slow
def test_a_paragraph_without_an_end_takes_no_longer_for_each_of_its_lines() -> None:
    def seconds(lines: int) -> float:
        text = Line("momentum and weight decay go to-", 10, 50, 300, 100, 110, mono=False, bold=False, page=0)
        pages = [[replace(text, bottom=800.0 - 12 * at, text=text.text.replace("go", f"go{at}")) for at in range(60)]]
        begun = time.process_time()
        written = _Layout(pages * (lines // 60)).write()
        assert written.count("momentum") == lines // 60 * 60 and written.count("\n\n") < lines // 60
        return time.process_time() - begun

    require_even(seconds, 24_000)


def test_code_keeps_its_indentation_and_a_list_its_items() -> None:
    texts: list[Text] = column(numbered("w", 60), 50, 740, 90)
    texts += [
        ("F2", 9, 60, 600, "def step(x):"),
        ("F2", 9, 60 + 4 * 5.4, 589, "if x:"),
        ("F2", 9, 60 + 8 * 5.4, 578, "return -x"),
    ]
    texts += [("F1", 10, 50, 540, "• one thing of many"), ("F1", 10, 50, 526, "• another thing of many")]
    markdown = str(read_pdf(pdf([texts]))["markdown"])
    assert "```\ndef step(x):\n    if x:\n        return -x\n```" in markdown
    assert "- one thing of many\n\n- another thing of many" in markdown


def test_the_rows_of_a_table_stay_together() -> None:
    texts: list[Text] = column(numbered("w", 60), 50, 740, 90)
    for at, row in enumerate(
        (("model", "loss", "steps"), ("small", "3.28", "1000"), ("large", "2.85", "2000"), ("huge", "2.50", "3000"))
    ):
        texts += [("F1", 10, 80 + 120 * place, 560 - 14 * at, cell) for place, cell in enumerate(row)]
    markdown = str(read_pdf(pdf([texts]))["markdown"])
    assert all(row in " ".join(markdown.split()) for row in ("model loss steps", "small 3.28 1000", "huge 2.50 3000"))


def test_a_pdf_without_text_is_a_scan() -> None:
    with pytest.raises(Unreadable) as refused:
        read_pdf(pdf([[], []]))
    assert refused.value.reason is Reason.SCANNED


def test_an_encrypted_pdf_is_refused() -> None:
    encrypt = (
        "/Encrypt << /Filter /Standard /V 1 /R 2 /O <"
        + "11" * 32
        + "> /U <"
        + "22" * 32
        + "> /P -4 >> /ID [<"
        + "33" * 16
        + "> <"
        + "33" * 16
        + ">]"
    )
    with pytest.raises(Unreadable) as refused:
        read_pdf(pdf([[("F1", 10, 50, 700, "secret")]], encrypt))
    assert refused.value.reason is Reason.ENCRYPTED


def test_a_cut_pdf_is_damaged() -> None:
    with pytest.raises(Unreadable) as refused:
        read_pdf(b"%PDF-1.7\n1 0 obj\n<<")
    assert refused.value.reason is Reason.DAMAGED


TREE = ("<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
SENTENCE = " ".join(WORDS)


def raw_pdf(objects: Sequence[str]) -> bytes:
    """A PDF of these objects, as they are, whose table of places is missing."""
    body = "".join(f"{number} 0 obj\n{one}\nendobj\n" for number, one in enumerate(objects, 1))
    return f"%PDF-1.7\n{body}trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n9\n%%EOF\n".encode()


HOSTILE = {
    "a page that is its own tree": (TREE[0], "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"),
    "a tree whose parent is below it": (TREE[0], TREE[1].replace("/Count", "/Parent 3 0 R /Count"), TREE[1]),
    "an object that is itself": ("1 0 R",),
    "a length that is its own stream": (
        *TREE,
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
        "<< /Length 4 0 R >>\nstream\nx\nendstream",
    ),
    "more pages than there are": (TREE[0], "<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>", "<< /Type /Page >>"),
    "no objects": (),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_pdf_that_leads_in_circles_is_refused(what: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_pdf(raw_pdf(HOSTILE[what]))
    assert refused.value.reason in (Reason.DAMAGED, Reason.LARGE, Reason.SCANNED, Reason.EMPTY)


@pytest.mark.parametrize("box", ["[0 0 1e30 1e30]", "[0 0 0 0]", "[612 792 0 0]", "[0 0 99999999999999999999 1]", "[]"])
def test_a_page_of_any_size_is_read(box: str) -> None:
    data = pdf([column(numbered("w", 60), 50, 740)]).replace(b"[0 0 612 792]", box.encode())
    assert "optimizerw1" in str(read_pdf(data)["markdown"]) or box == "[0 0 0 0]"


def test_a_pdf_without_its_table_of_places_is_read() -> None:
    content = f"BT /F1 10 Tf 50 700 Td ({SENTENCE}) Tj ET"
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >> >> >>"
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources {font} >>"
    stream = f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"
    assert SENTENCE in str(read_pdf(raw_pdf([*TREE, page, stream]))["markdown"])


@pytest.mark.parametrize(("name", "most", "says"), [("MOST_PAGES", 2, "pages"), ("MOST_CHARACTERS", 500, "characters")])
def test_a_pdf_with_too_much_in_it_is_refused(name: str, most: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_text, name, most)
    with pytest.raises(Unreadable) as refused:
        read_pdf(pdf([column(WORDS, 50, 740)] * 3))
    assert refused.value.reason is Reason.LARGE and says in refused.value.detail
