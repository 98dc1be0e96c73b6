"""What is kept of a flood."""

from trainer.commands.output import Output


def test_what_is_short_is_kept_whole() -> None:
    output = Output(b"METRIC")
    for block in (b"one\ntw", b"o\n", b"three"):
        output.add(block)
    assert (output.text(), output.dropped) == (b"one\ntwo\nthree", 0)


def test_of_a_flood_the_ends_are_kept_and_the_lines_that_count() -> None:
    output, filler = Output(b"METRIC"), b"0123456789\n" * 6000
    for number in range(300):
        output.add(filler)
        output.add(b"METRIC ms=%d\n" % number)
    text = output.text()
    assert len(text) < 8 << 20 < 300 * len(filler)
    assert [line for line in text.split(b"\n") if line.startswith(b"METRIC")] == [
        b"METRIC ms=%d" % number for number in range(300)
    ]
    assert text.startswith(b"0123456789\n")
    assert text.endswith(b"METRIC ms=299\n")
    assert b"bytes left out" in text


def test_one_line_without_an_end_is_no_more_than_a_flood() -> None:
    output = Output(b"METRIC")
    for _ in range(300):
        output.add(b"x" * (1 << 16))
    output.add(b"\nMETRIC ms=1\n")
    assert len(output.text()) < 8 << 20
    assert output.text().endswith(b"\nMETRIC ms=1\n")


def test_a_million_lines_that_count_cost_no_more_than_the_last_ones() -> None:
    output = Output(b"METRIC")
    for number in range(100):
        output.add(b"METRIC ms=1\n" * 5000 + b"METRIC ms=%d\n" % number)
    assert len(output.text()) < 8 << 20
    assert output.text().endswith(b"METRIC ms=99\n")
