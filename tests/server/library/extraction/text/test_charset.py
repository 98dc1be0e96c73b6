"""Bytes become the text that was meant, whatever was declared."""

import pytest

from server.library.extraction.text.charset import decode, visible

TEXT = "Größe, naïve – “quoted” café. " * 8
JAPANESE = "これは日本語の文章です。文字コードを正しく判定できるかを確かめます。" * 8
RUSSIAN = "Это русский текст, который нужно правильно прочитать. " * 8


@pytest.mark.parametrize(
    ("data", "declared", "expected"),
    [
        (TEXT.encode(), "", TEXT),
        (TEXT.encode(), "iso-8859-1", TEXT),
        (TEXT.encode("utf-8-sig"), "latin-1", TEXT),
        (TEXT.encode("utf-16"), "utf-8", TEXT),
        (TEXT.encode("utf-16-le"), "", TEXT),
        (TEXT.encode("cp1252"), "iso-8859-1", TEXT),
        (TEXT.encode("cp1252"), "utf-8", TEXT),
        (b"<meta charset=shift_jis>" + JAPANESE.encode("shift_jis"), "utf-8", "<meta charset=shift_jis>" + JAPANESE),
        (JAPANESE.encode("euc-jp"), "euc-jp", JAPANESE),
        (RUSSIAN.encode("cp1251"), "", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "no-such-charset", RUSSIAN),
    ],
)
def test_the_bytes_decide(data: bytes, declared: str, expected: str) -> None:
    assert decode(data, declared) == expected


def test_a_broken_character_does_not_change_the_charset() -> None:
    text = decode(TEXT.encode()[:50] + b"\xff" + TEXT.encode(), "windows-1252")
    assert text.count("\ufffd") == 1 and text.endswith(TEXT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u200bb\u202ec\ufeffd\u2060e\u00adf", "abcdef"),
        ("x\U000e0041\U000e0042", "x"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("hid\u200cden\u200d", "hidden"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("e\u0301", "é"),
    ],
)
def test_invisible_characters_go(text: str, expected: str) -> None:
    assert visible(text) == expected
