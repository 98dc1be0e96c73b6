"""The numbers in what a command printed: every form, and what looks like a number and is none."""

import pytest

from trainer.evaluators.metric_lines import MetricProblem, Printed


def samples(stdout: str, name: str = "ms", unit: str = "", stderr: str = "") -> list[float]:
    return Printed(stdout.encode(), stderr.encode()).samples(name, unit)


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ("METRIC ms=12.5\n", [12.5]),
        ("METRIC ms=12.5", [12.5]),
        ("warming up\nMETRIC ms=3\nMETRIC other=9\nMETRIC ms=2\ndone\n", [3.0, 2.0]),
        ("METRIC\tms=1\r\nMETRIC  ms=2 \r\n", [1.0, 2.0]),
        ("10%\r50%\rMETRIC ms=7\n", [7.0]),
        ("\x1b[32mMETRIC ms=7\x1b[0m\n", [7.0]),
        ("  METRIC ms=7\n", [7.0]),
        ("\ufeffMETRIC ms=7\n", [7.0]),
        ("METRIC ms=-0.5\n", [-0.5]),
        ("METRIC ms=+.5e-3\n", [0.0005]),
        ("METRIC ms=5.\n", [5.0]),
        ("METRIC ms=nan\nMETRIC ms=4\n", [4.0]),
        ('{"ms": 12.5, "other": 1}\n', [12.5]),
        ('\n{\n "ms": 3\n}\n\n', [3.0]),
        ('{"ms": "3.5"}', [3.5]),
        ("ms: 12.5\n", [12.5]),
        ("ms:          12.500000\n", [12.5]),
        ("ms=12\nms=11\n", [12.0, 11.0]),
        ("ms = 12\n", [12.0]),
        ("ms: 1\nMETRIC ms=2\n", [2.0]),
    ],
)
def test_each_form_of_a_number_is_read(stdout: str, expected: list[float]) -> None:
    assert samples(stdout) == expected


def test_a_line_on_the_standard_error_counts_as_well() -> None:
    assert samples("", stderr="METRIC ms=3\n") == [3.0]


def test_names_of_other_programs_are_read() -> None:
    assert samples("METRIC total_µs=15\n", "total_µs") == samples("METRIC total_μs=15\n", "total_µs") == [15.0]
    assert samples("METRIC p99.read-ms=15\n", "p99.read-ms") == [15.0]
    assert samples('{"cpu": {"ms": 4}}', "cpu.ms") == samples('{"cpu.ms": 4}', "cpu.ms") == [4.0]


@pytest.mark.parametrize(("text", "unit"), [("12ms", "ms"), ("12 ms", "ms"), ("97 %", "%"), ("12µs", "μs")])
def test_the_unit_of_program_md_may_stand_behind_the_number(text: str, unit: str) -> None:
    assert samples(f"METRIC x={text}\n", "x", unit) == [float(text.rstrip("msµ% "))]


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        ("", "no number named ms: a line `METRIC ms=12.5` is due"),
        ("all good\n", "no number named ms"),
        ("METRIC total=3\nMETRIC load=4\n", "but total, load: a line `METRIC ms=12.5` is due, or another `metric`"),
        ("METRIC ms=NaN\n", "ms=NaN, which is not finite"),
        ("METRIC ms=-inf\n", "not finite"),
        ("METRIC ms=1e999\n", "too large"),
        ("METRIC ms=\n", "nothing behind it"),
        ("METRIC ms=1,234\n", "two ways"),
        ("METRIC ms=1.234,5\n", "two ways"),
        ("METRIC ms=1_234\n", "two ways"),
        ("METRIC ms=12s\n", "names no unit: print the number alone"),
        ("METRIC ms=0x10\n", "print the number alone"),
        ("METRIC ms=fast\n", "which is no number"),
        ("METRIC ms=١٢\n", "which is no number"),
        ("METRIC ms=4\nMETRIC ms=nan\n", "not finite"),
        ('{"ms": NaN}', "not finite"),
        ('{"ms": 1' + "0" * 400 + "}", "not finite"),
        ('{"ms": true}', "no number"),
        ('{"ms": null, "s": 3}', "but s"),
        ('{"ms": [1]}', "no number"),
        ("METRIC __proto__=4\n", "no number named"),
        ("items: 3\n", "no number named ms"),
        ("the ms: 3\n", "no number named ms"),
    ],
)
def test_what_is_no_number_is_said_in_one_sentence(stdout: str, words: str) -> None:
    with pytest.raises(MetricProblem) as problem:
        samples(stdout)
    assert words in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_wrong_unit_is_no_other_number() -> None:
    with pytest.raises(MetricProblem, match="unit is not `ms`"):
        samples("METRIC t=12s\n", "t", "ms")


def test_refused_names_are_read_by_nobody() -> None:
    for name in ("__proto__", "constructor", "prototype"):
        printed = Printed(f'{{"{name}": 3}}'.encode(), f"METRIC {name}=4\n".encode())
        assert printed.named == []
        with pytest.raises(MetricProblem):
            printed.samples(name)


def test_a_figure_that_is_not_there_is_none() -> None:
    printed = Printed(b"METRIC ms=3\nrss_mb: 12\nload: high\n", b"")
    assert (printed.figure("rss_mb"), printed.figure("load"), printed.figure("size")) == (12.0, None, None)


def test_bytes_that_are_no_text_hide_no_number() -> None:
    assert Printed(b"\xff\xfe\x00garbage=\xff\nMETRIC ms=3\n\x00", b"").samples("ms") == [3.0]


def test_all_numbers_with_names_are_told_by_form_and_unit() -> None:
    stdout = b"port: 80\nMETRIC ms=1\nMETRIC ms=2.5 ms\nops/sec: 3\nwhen: 12:30\nelapsed: 1.5 s\nMETRIC x=nan\n"
    assert Printed(stdout, b"size=3\n").told() == {
        ("METRIC", "ms", "ms"): 2.5,
        ("line", "port", ""): 80.0,
        ("line", "elapsed", "s"): 1.5,
        ("line", "size", ""): 3.0,
    }
    told = Printed(
        b'{"a": {"b": {"c": 1, "d": {"e": 2}}, "two words": 3}, "ok": true, "n": 1e999, "x": [4]}', b""
    ).told()
    assert told == {("json", "a.b.c", ""): 1.0}
