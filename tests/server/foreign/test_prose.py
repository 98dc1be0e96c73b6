"""What prompts say in prose: sections, the metric, its direction."""

import re

import pytest

from server.foreign.prose import direction, primary, section, title

METRICS = "# Autoresearch: x\n\n## Metrics\n{}\n\n## Constraints\n- fewer is better in all things\n"


@pytest.mark.parametrize(
    ("line", "name", "unit"),
    [
        ("- **Primary**: `geo_us` (microseconds, lower is better) — mean", "geo_us", "microseconds"),
        ("- Primary: total_ms (ms, lower is better)", "total_ms", "ms"),
        ("- **Primary metric**: `tok/s`, `tok_s` (tok/s, higher is better)", "tok_s", "tok/s"),
        ("- **Primary**: `n` (lower is better)", "n", ""),
        ("**Primary** — `combined_µs`", "combined_µs", ""),
    ],
)
def test_the_primary_metric_is_read_from_its_line(line: str, name: str, unit: str) -> None:
    found = primary(METRICS.format(line))
    assert found and (found.name, found.unit, found.line) == (name, unit, 4)


def test_the_primary_metric_may_have_a_section_of_its_own() -> None:
    text = "# x\n\n## Primary Metric\n\n- `average_precision`\n\nHigher is better.\n\n## Others\n- lower is better\n"
    found = primary(text)
    assert found and found.name == "average_precision"
    assert direction(text) == ("higher", 7)


def test_a_template_that_nobody_filled_in_says_nothing() -> None:
    text = METRICS.format("- **Primary**: <name> (<unit>, lower/higher is better) — the target").replace("fewer", "x")
    assert primary(text) is None and direction(text) is None


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("- **Primary**: `a` (s, lower is better)\n- **Secondary**: `b`, higher is better", "lower"),
        ("- **Primary**: `a`\n- **Secondary**: `b` (lower is better)\n\nWe want to maximize it.", "higher"),
        ("Minimise the time.", "lower"),
        ("Lower is better here, and higher is better there.", None),
        ("Make it good.", None),
    ],
)
def test_a_direction_is_taken_from_the_first_part_that_says_one_thing(text: str, way: str | None) -> None:
    found = direction(f"# x\n\n## Metrics\n{text}\n")
    assert (found.value if found else None) == way


def test_a_comment_of_the_script_is_asked_last() -> None:
    assert direction("# x\n", ["Primary metric: tests (lower is better)."]) == ("lower", 0)


def test_a_section_ends_at_the_next_heading_of_its_depth_and_code_has_none() -> None:
    text = "# t\n## A\none\n### deeper\ntwo\n```\n# no heading\n```\n## B\nthree\n"
    lines = [line for _, line in section(text, re.compile("A"))]
    assert lines == ["one", "### deeper", "two", "```", "# no heading", "```"]
    assert title("text\n# Autoresearch: Make it so\n") == "Make it so"
