"""The report: what it tells, of studies of every kind, and that nothing in it can do anything."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from server.cli.entry import main
from server.errors import LedgerUnavailable
from server.history.notes import Notebook
from server.metric import Metric
from server.paths import StudyPaths
from server.records import Outcome, Verdict
from server.reporting.bill import AgentBill, write_agent_bill
from server.reporting.morning.axis import Axis
from server.reporting.morning.elements import el, shown
from server.reporting.morning.gather import gather
from server.reporting.morning.measured import value_with_error, with_error
from server.reporting.morning.report_file import metric_of, render, write_report
from server.reporting.morning.summary_paragraph import summary_paragraph as first_words
from server.reporting.view_model import Hidden
from tests.support.night import Night, constants, long_night
from tests.support.repositories import git, make_repository

HOSTILE = (
    "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp; \x1b[2J\x00 \u202egnp.exe\u2069 ]]> `|` "
    "<svg onload=x> javascript:x {{7*7}} \ud800"
)


def night(folder: Path, program: str = "", start: dict[str, str] | None = None) -> Night:
    root = make_repository(folder / "work", constants(A=1, B=2))
    if program:
        (root / "program.md").write_text(f"---\n{program}\n---\nGo.\n", encoding="utf-8")
        for path, text in (start or {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "-m", "task")
    return Night(root)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    return StudyPaths(long_night(tmp_path_factory.mktemp("night") / "work").write())


@pytest.fixture
def small(tmp_path: Path) -> StudyPaths:
    """A sure keep, one within the noise, one that was worse, one that failed, and one that nearly worked."""
    made = night(tmp_path)
    made.baseline(2.0, (2.002, 1.998))
    made.tried(
        {"train.py": constants(A=1, B=3)}, 1.9, Verdict.IMPROVED, "B to 3", [1.9, 1.902], hypothesis="B is small"
    )
    made.tried({"train.py": constants(A=2, B=3)}, 1.9, Verdict.SIMPLER, "A to 2", hypothesis="")
    made.tried({"train.py": constants(A=5, B=3)}, 2.1, Verdict.WORSE, "A to 5")
    made.failed({"train.py": constants(A=9, B=3)}, Outcome.OOM, "out of memory", "A to 9", cause="gpu_memory")
    made.tried({"train.py": constants(A=3, B=3)}, 1.8995, Verdict.WITHIN_NOISE, "A to 3")
    return StudyPaths(made.write())


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "hr"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def safe(text: str) -> Page:
    """A page that can do nothing: no script, no address, no handler, no style of its own."""
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= set(
        "html head meta title style body main h1 h2 h3 p b i span dl dt dd div figure figcaption svg g line text tspan "
        "rect path circle table thead tbody tr th td section header mark ul li footer code".split()
    )
    for _, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("href", "src", "style", "action")}
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    assert not re.search(r"[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069]", text)
    return page


def lead(paths: StudyPaths) -> str:
    return "".join(word.text for word in gather(paths).lead)


def test_the_paragraph_tells_the_study_in_numbers_with_errors(small: StudyPaths) -> None:
    report = gather(small)
    said = lead(small)
    assert "the agent tried 5 changes; 2 were kept, and 1 has no score. val_bpb fell from 2.0000 to 1.90" in said
    assert re.search(r"by 0\.\d+ ± 0\.00\d+ \(5\.\d %\)", said) and "one change, B to 3" in said
    assert "1 change is larger than the noise, 1 not by itself." in said
    assert [one.name for one in report.numbers] == ["best", "changes tried", "kept", "failed", "GPU", "took"]
    assert [one.number for one in report.kept] == [4, 7] and report.kept[0].told.startswith("−0.0990 ± 0.0")
    assert report.kept[0].standing == "sure" and report.kept[1].standing == "noise"
    assert any(line.kind == "+" and line.text == "B = 3" and line.marks == [(4, 5)] for line in report.kept[0].diff)
    assert report.failures[0].cause == "gpu memory" and "A to 9" in report.failures[0].examples[0]
    assert [one.number for one in report.others] == [10, 8], "the nearest to a gain comes first"
    assert report.next.near[0].startswith("10: A to 3")


def test_three_forms_say_the_same(small: StudyPaths, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(small.home.root)
    for form in ("--md", "--json"):
        with pytest.raises(SystemExit) as ended:
            main(["report", "--workspace", root, form])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "val\\_bpb fell from" in text if form == "--md" else json.loads(text)["kept"][0]["number"] == 4
    with pytest.raises(SystemExit):
        main(["report", "--workspace", root, "--html"])
    assert "val_bpb fell from" in safe(small.report.read_text(encoding="utf-8")).text
    with pytest.raises(SystemExit):
        main(["report", "--workspace", root, "--html", "--output", str(tmp_path / "x.html")])
    assert (tmp_path / "x.html").exists()
    with pytest.raises(SystemExit) as ended:
        main(["report", "--workspace", root, "--html", "--md"])
    assert ended.value.code == 2


def test_a_long_night_is_one_small_file_without_a_script(long: StudyPaths) -> None:
    text = render(long, "html")
    page = safe(text)
    assert len(text.encode()) < 300_000
    assert sum(attributes.get("class") == "change" for _, attributes in page.tags) == 22
    assert "22 were kept" in page.text and "126 changes" in page.text
    assert sum(tag == "circle" and "cx" in told for tag, told in page.tags) >= 23
    paths = {told.get("class"): told.get("d") or "" for tag, told in page.tags if tag == "path"}
    counts = gather(long).summary.counts
    assert paths["dots"].count("h0") + paths.get("beyond", "").count("z") == counts.discarded
    assert paths["crosses"].count("M") == counts.failed, "no path is cut"


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_hostile_words_in_every_field_stay_words(tmp_path: Path, form: str) -> None:
    made = night(tmp_path)
    said = HOSTILE.encode("utf-8", "replace").decode()
    made.baseline(2.0, (2.0, 2.0))
    bad = {"result": {"traceback": said, "cause": "x<b>", "guards": {said: said}}, "why": said}
    kept = constants(A=said, B=2)
    made.tried({"train.py": kept}, 1.5, Verdict.IMPROVED, said, [1.5], hypothesis=said, why=said)
    made.tried({"train.py": kept + "\n"}, 1.6, Verdict.WORSE, said, hypothesis=said)
    made.failed({"train.py": kept + "\n\n"}, Outcome.CRASHED, said, said, **bad["result"])  # pyright: ignore
    paths = StudyPaths(made.write())
    notes = Notebook(paths.notes)
    notes.add(said, idea=True, after=1)
    notes.add(said, idea=False, after=1)
    write_agent_bill(paths, AgentBill(client=said, starts=1, tokens_in=5, tokens_out=5, usd=1.0))
    text = render(paths, form)
    if form == "html":
        assert "<script>alert(1)</script>" in safe(text).text
    elif form == "md":
        assert not re.search(r"(?<!\\)<(?!/?details>|/?summary>)", re.sub(r"(?s)````*diff.*?\n````*", "", text))
        assert "\x1b" not in text and "\u202e" not in text
    else:
        assert "\x1b" not in text and json.loads(text)


def test_the_title_of_a_document_is_quoted_whatever_it_says(tmp_path: Path) -> None:
    made = night(tmp_path)
    made.baseline(2.0, (2.0, 2.0))
    made.tried({"train.py": constants(A=1, B=3)}, 1.5, Verdict.IMPROVED, "B to 3", [1.5], source="evil")
    paths = StudyPaths(made.write())
    paths.home.library.mkdir(exist_ok=True)
    title = "A paper” (sure). Confirmed by 9 runs <script>alert(1)</script> \u202e| `x`\n## Kept: all"
    text = f"---\ntitle: {json.dumps(title)}\nsource: https://example.org/a\n---\nText.\n"
    (paths.home.library / "evil.md").write_text(text, encoding="utf-8")
    (one,) = gather(paths).kept
    quoted = re.fullmatch(r"evil \(“([^“”]*)”, https://example\.org/a\)", one.source)
    assert quoted and "A paper' (sure). Confirmed" in quoted[1] and "\n" not in quoted[1]
    assert "“A paper' (sure)" in safe(render(paths, "html")).text
    (line,) = (line for line in render(paths, "md").splitlines() if "A paper" in line)
    assert line.startswith("Source: evil (“A paper' (sure)") and "\\<script" in line and "\u202e" not in line


LOG = "name: faster\ncommand: bash x.sh\nmetric: {name: latency, unit: ms}\nscale: log\neditable: [src/**]"
HIGHER = "name: better\ncommand: bash x.sh\nmetric: f1\ndirection: higher\neditable: [src/**]"


@pytest.mark.parametrize(
    ("program", "scores", "words"),
    [
        (LOG, (10.0, 8.0), "latency fell from 10 to 8 ms, by 20.0"),
        (HIGHER, (0.5, 0.8), "f1 rose from 0.5 to 0.8, by 0.30"),
    ],
)
def test_a_task_of_any_direction_unit_and_scale(
    tmp_path: Path, program: str, scores: tuple[float, float], words: str
) -> None:
    made = night(tmp_path, program, {"src/a.py": "x = 1\n", "src/b.py": "y = 1\n"})
    before, after = scores
    made.baseline(before, (before * 1.001, before * 0.999))
    made.tried({"src/a.py": "x = 2\n", "src/b.py": None}, after, Verdict.IMPROVED, "x to 2", [after, after])
    paths = StudyPaths(made.write())
    assert words in lead(paths)
    page = safe(render(paths, "html"))
    assert "src/a.py" in page.text and "printed its own score" in page.text
    heights = {told["cy"] for tag, told in page.tags if tag == "circle" and told.get("r") == "4.5"}
    assert len(heights) == 2


def nothing_kept(made: Night) -> None:
    made.baseline(2.0, (2.001,))
    made.tried({"train.py": constants(A=1, B=9)}, 2.1, Verdict.WORSE)


def everything_failed(made: Night) -> None:
    made.baseline(2.0, (2.001,))
    for value in (7, 9):
        made.failed({"train.py": constants(A=value, B=2)}, Outcome.OOM, "out of memory", cause="gpu_memory")


def kept_for_being_simpler(made: Night) -> None:
    made.baseline(2.0, (2.001, 1.999))
    made.tried({"train.py": constants(A=1, B=9)}, 2.05, Verdict.SIMPLER, "fewer lines", [2.05, 2.05])


def only_a_failed_baseline(made: Night) -> None:
    made._row(made.files, "baseline", Verdict.CRASHED, None, baseline=True, result={"reason": "no"})  # pyright: ignore


def a_single_run(made: Night) -> None:
    made.baseline(2.0)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (nothing_kept, "the agent tried 1 change; it was not kept. The baseline stands at val_bpb 2.00"),
        (everything_failed, "tried 2 changes; none was kept, and 2 have no score. The baseline stands at val_bpb 2.0"),
        (kept_for_being_simpler, "val_bpb rose from 2.0000 to 2.0500, which is worse (0.0500 ± 0.00"),
        (only_a_failed_baseline, "Nothing was measured: 1 run has no score."),
        (a_single_run, "the baseline was measured, and no change was tried. The baseline stands at val_bpb 2.00"),
    ],
)
def test_studies_without_a_gain_are_told_too(tmp_path: Path, build: Callable[[Night], None], words: str) -> None:
    made = night(tmp_path)
    build(made)
    paths = StudyPaths(made.write())
    assert words in lead(paths)
    safe(render(paths, "html"))
    assert render(paths, "md") and json.loads(render(paths, "json"))


def test_a_study_that_does_not_exist_or_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        gather(StudyPaths(tmp_path / ".autoresearch" / "none"))


# A write fails midway, as on a full disk.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"


def test_on_a_full_disk_the_last_report_stays_and_it_is_said_what_was_not_written(small: StudyPaths) -> None:
    before = write_report(small).read_bytes()
    listed = sorted(path.name for path in small.report.parent.iterdir())
    words = [*("report", "--workspace", str(small.home.root), "--html")]
    done = subprocess.run(
        # -B: Python writes what it compiles short, without a word, and the next process cannot read it.
        [sys.executable, "-B", "-c", f"{FULL}; from server.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "COLUMNS": "400"},
        check=False,
    )
    assert done.returncode == 1 and "report.html was not written: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "--output" in done.stderr
    assert small.report.read_bytes() == before
    assert sorted(path.name for path in small.report.parent.iterdir()) == listed


@pytest.mark.parametrize("hours", [-30, -3, 3, 24 * 400])
def test_a_clock_that_was_set_in_the_night_makes_no_number_absurd(tmp_path: Path, hours: int) -> None:
    made = night(tmp_path)
    made.baseline(2.0, (2.002, 1.998))
    made._clock += timedelta(hours=hours)  # pyright: ignore[reportPrivateUsage]
    made.tried({"train.py": constants(A=1, B=3)}, 1.9, Verdict.IMPROVED, "B to 3", [1.9, 1.902])
    paths = StudyPaths(made.write())
    report = gather(paths)
    assert report.summary.study.elapsed >= 0 and min(report.summary.rows.started) >= 0
    page = safe(render(paths, "html"))
    assert "val_bpb fell from 2.0000 to 1.90" in page.text
    assert not re.search(r"[-−]\d+ (?:min|h|s|d)\b", page.text)


def test_the_bill_and_hidden_text_are_in_the_report(small: StudyPaths) -> None:
    bill = AgentBill(client="claude-code", starts=3, tokens_in=8_412_000, tokens_out=391_000, usd=14.62)
    write_agent_bill(small, bill)
    page = safe(write_report(small).read_text(encoding="utf-8"))
    assert "$14.62" in page.text and "8.4 M tokens in" in page.text and "cost of one sure gain" in page.text
    report = gather(small)
    hidden = Hidden(baseline=2.1, best=2.0, number=4, change=-0.1, error=0.004, runs=3)
    words = first_words(report.summary.model_copy(update={"hidden": hidden}), metric_of(report))
    assert "On held-out text the change is −0.100 ± 0.004." in "".join(word.text for word in words)


def test_elements_are_the_only_way_to_markup() -> None:
    assert el("p", "<b>", None, ["x", el("i", "&")], class_='"><script>').text == (
        '<p class="&quot;&gt;&lt;script&gt;">&lt;b&gt;x<i>&amp;</i></p>'
    )
    assert el("line", x1=1.25, stroke=None).text == '<line x1="1.2"/>' and shown("a\u202eb\x00") == "a\ufffdb\ufffd"
    assert len(shown("x" * 10**6)) <= 2000


@pytest.mark.parametrize("metric", [Metric("a", "lower"), Metric("a", "higher"), Metric("a", "lower", "s", "log")])
@pytest.mark.parametrize("sigma", [None, 0.0, 0.0005])
def test_the_axis_goes_up_with_the_score_and_its_ticks_are_round(metric: Metric, sigma: float | None) -> None:
    axis = Axis(metric, [0.9979, 0.986, 0.9705, 0.97], 0.97, sigma)
    heights = [axis.height(score) for score in (0.97, 0.9705, 0.986, 0.9979)]
    assert heights == sorted(heights) and 0 < heights[0] and heights[-1] < 1
    ticks = axis.ticks()
    assert (
        2 <= len(ticks) <= 5 and ticks == sorted(ticks) and all(len(f"{tick:.10f}".rstrip("0")) <= 7 for tick in ticks)
    )
    assert axis.stretched is bool(sigma)
    flat = Axis(metric, [0.5], 0.5, sigma)
    assert 0 < flat.height(0.5) < 1 and isinstance(flat.ticks(), list)


def test_numbers_are_rounded_to_what_their_error_leaves() -> None:
    lower, log = Metric("a", "lower"), Metric("t", "lower", "s", "log", places=None)
    assert with_error(lower, 0.01194, 0.0003) == "-0.0119 ± 0.0003"
    assert with_error(lower, 0.01194, 0.00012) == "-0.01194 ± 0.00012"
    assert with_error(lower, -1234.5, 20.0) == "+1234 ± 20"
    assert with_error(lower, 0.00001, 0.0003) == "0.0000 ± 0.0003" == with_error(lower, -0.00001, 0.0003)
    assert with_error(lower, 0.5, 0.0) == "-0.5000 ± 0" and with_error(lower, 0.5, None) == "-0.5000"
    assert with_error(log, 0.2231, 0.01) == "-20.0 % ± 1.0 %"
    assert value_with_error(lower, 0.97004, 0.0002) == "0.9700 ± 0.0002"


def test_a_diff_that_is_endless_is_cut(tmp_path: Path) -> None:
    made = night(tmp_path)
    made.baseline(2.0, (2.0,))
    many = (
        constants(A=1, B=2)
        + "".join(f"x_{number} = {number}\n" for number in range(2_000))
        + "y = '"
        + "z" * 200_000
        + "'\n"
    )
    made.tried({"train.py": many}, 1.5, Verdict.IMPROVED, "w" * 2000, [1.5], hypothesis="v " * 1000)
    text = render(StudyPaths(made.write()), "html")
    assert len(text) < 60_000 and "more lines: git show" in safe(text).text


def figures(**told: Any) -> dict[str, Any]:
    return {"figures": told}


def test_what_a_change_does_to_other_figures_is_told(tmp_path: Path) -> None:
    made = night(tmp_path)
    made.baseline(2.0, (2.0,))
    made.tried({"train.py": constants(A=1, B=3)}, 1.5, Verdict.IMPROVED, "B", [1.5], **figures(peak_memory_mb=4096.0))
    report = gather(StudyPaths(made.write()))
    assert report.kept[0].effects == ["peak memory +100.0 %"]
