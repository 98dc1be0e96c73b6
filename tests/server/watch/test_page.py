"""The page in a real Chromium: beside a study that goes on, through restarts, with hostile texts, with 10,000 rows."""

import json
import re
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.records import Experiment, Judgement, Outcome, Verdict
from server.serve_options import ServeOptions
from server.study.find_study import OperatorRequest, read_request, write_request
from server.study.study import Study
from server.watch.local_page import leading_file
from server.watch.page_file import page
from tests.server.reporting.test_view_summary import NIGHT
from tests.support.app_host import needs_browser
from tests.support.browser import Browser, Tab
from tests.support.builders import of_task
from tests.support.made_studies import decided, made, measured, report, result, running, study_paths, write
from tests.support.night import long_night
from tests.support.polling import stretched, until
from tests.support.repositories import QUICK, make_quick
from tests.support.watching import Watch

pytestmark = needs_browser
PROGRAM = "---\nname: a study\n---\nDo research.\n"
BAD = '<img src=x onerror="hacked=1"><script>hacked=1</script>"\'`${1}</script><!--\u202eevil\u202c\u0000\x1b[31m'


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The page of a study that is over."""
    watch = Watch(workspace(tmp_path_factory.mktemp("night"), NIGHT))
    yield watch
    watch.close()


@contextmanager
def shown(browser: Browser, watch: Watch | str, **size: int) -> Generator[Tab]:
    """A tab with the page, or that of a link, once it shows a study. Nothing may be refused or thrown by then."""
    tab = browser.page(watch if isinstance(watch, str) else watch.link, **size)
    try:
        tab.until("!document.querySelector('#main').hidden && document.querySelector('#head').textContent")
        yield tab
        assert tab.errors() == []
    finally:
        tab.close()


def workspace(folder: Path, rows: list[Experiment], changes: Any = None, program: str = PROGRAM) -> Path:
    (folder / "program.md").write_text(program, encoding="utf-8")
    write(study_paths(folder), rows, changes)
    return folder


def finish(study: Study) -> Experiment:
    """Wait for the run under way, and import its result."""
    found: list[Experiment] = []

    def over() -> bool:
        last = study.settle()
        found[:] = [last] if last and last.result else []
        return bool(found)

    until(over)
    return found[0]


def test_the_page_is_one_small_file_that_names_nothing_outside_itself_and_makes_no_markup_of_text() -> None:
    html = page().html
    assert len(html.encode()) <= 80 * 1024
    assert re.findall(r"https?:[^\"'\s]*", html) == ["http://www.w3.org/2000/svg"]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|DOMParser|srcdoc", html
    )
    assert not re.search(r"<(?:link|img|iframe)\b|@import|url\((?!#)|style=\"", html)


def test_a_study_is_followed_from_the_baseline_to_a_keep_and_paused_and_resumed_without_a_reload(
    browser: Browser, tmp_path: Path, data: Path
) -> None:
    root = make_quick(tmp_path / "w", data, QUICK.replace("STEPS = 5", "STEPS = 60"))
    with closing(Watch(root, "--tag", "t1")) as watch, shown(browser, watch) as tab:
        assert "Nothing measured yet" in tab.text()
        tab.ask("window.untouched = 1")
        with closing(Study(root, "t1", ServeOptions(profile="smoke", confine=False))) as study:
            study.run("the baseline")
            tab.until("document.querySelector('#now').textContent.includes('#1')")
            baseline = finish(study)
            assert baseline.value is not None
            tab.until(f"document.querySelector('#head').textContent.includes('{baseline.value:.4f}')")

            tab.click("[data-word=pause]")
            until(lambda: read_request(study.workspace.state) is OperatorRequest.PAUSE)
            tab.until("document.querySelector('#state').textContent.includes('paused')")
            tab.click("[data-word=resume]")
            until(lambda: read_request(study.workspace.state) is None)
            tab.until("document.querySelector('[data-word=pause]')")

            study.apply_patch("<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 0.03\n>>>>>>> REPLACE")
            study.run("a rate that learns", hypothesis="It hardly learns.")
            tab.until("document.querySelector('#now').textContent.includes('a rate that learns')")
            kept = study.keep("better") if finish(study).verdict == "improved" else None
            assert kept and kept.value is not None
            tab.until(f"document.querySelector('#head').textContent.includes('{kept.value:.4f}')")
            tab.until("document.querySelector('#facts').textContent.includes('kept1')")
            tab.click("#rows tr:first-child button")
            tab.until("document.querySelector('#detail .diff mark')?.textContent")
            marked = tab.ask("[...document.querySelectorAll('#detail .diff mark')].map(e => e.textContent)")
            assert marked and "03" in marked[-1]
        assert tab.ask("window.untouched") == 1


def test_through_a_kill_and_a_restart_of_watch_the_page_keeps_what_it_shows_and_comes_back(
    browser: Browser, tmp_path: Path
) -> None:
    root = workspace(tmp_path, NIGHT[:4])
    watch = Watch(root)
    try:
        with shown(browser, watch) as tab:
            before = tab.ask("document.querySelector('#head').textContent")
            watch.kill()
            tab.until("document.querySelector('#state').textContent.includes('no connection')")
            assert tab.ask("document.querySelector('#head').textContent") == before
            assert tab.ask("[...document.querySelectorAll('#controls button')].every(b => b.disabled)")
            write(study_paths(root), NIGHT[4:])
            watch.close()
            watch = Watch(root, "--port", str(watch.port))
            tab.until("document.querySelector('#facts').textContent.includes('experiments3')")
            tab.until("!document.querySelector('#state').textContent.includes('no connection')")
            tab.browser.events.clear()  # of the connection that was refused
    finally:
        watch.close()


def test_what_another_process_writes_is_on_the_page_within_half_a_second(browser: Browser, tmp_path: Path) -> None:
    root = workspace(tmp_path, NIGHT[:5])
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        taken: list[float] = []
        for row in NIGHT[5:]:
            begun = time.monotonic()
            write(study_paths(root), [row])
            tab.until(f"document.querySelector('#facts').textContent.includes('{row.number} runs')")
            taken.append(time.monotonic() - begun)
        assert min(taken) < stretched(0.8)  # half a second between two looks at most, and the test's own


def test_where_nothing_happens_the_page_draws_nothing_and_its_server_sleeps(browser: Browser, night: Watch) -> None:
    process = psutil.Process(night.process.pid)

    def wakes() -> int:
        """How often it has waked up in a second."""
        before, begun = process.num_ctx_switches().voluntary, time.monotonic()
        time.sleep(1.0)
        return round((process.num_ctx_switches().voluntary - before) / (time.monotonic() - begun))

    with shown(browser, night) as tab:
        tab.until("document.querySelector('#detail section')")
        tab.ask("""new MutationObserver(seen => { window.drawn = (window.drawn ?? 0) + seen.length; })
            .observe(document, { subtree: true, childList: true, attributes: true, characterData: true })""")
        until(lambda: wakes() <= 8)  # four looks at files, and the web server's own
        assert not tab.ask("window.drawn")


def test_a_click_is_not_lost_to_a_change_that_comes_while_the_button_is_pressed(
    browser: Browser, tmp_path: Path
) -> None:
    root = workspace(tmp_path, NIGHT[:5])
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        x, y = tab.middle("#tab-trust")
        tab.mouse("mouseMoved", x, y)
        tab.mouse("mousePressed", x, y)
        write(study_paths(root), NIGHT[5:6])
        tab.until("document.querySelector('#facts').textContent.includes('6 runs')")
        tab.mouse("mouseReleased", *tab.middle("#tab-trust"))
        tab.until("document.querySelector('#tab-trust').getAttribute('aria-selected') === 'true'")


def test_no_name_on_the_chart_is_cut_off_at_its_edge(browser: Browser, tmp_path: Path) -> None:
    named = [
        row.model_copy(update={"attempt": row.attempt.model_copy(update={"description": "W" * 40})}) for row in NIGHT
    ]
    with closing(Watch(workspace(tmp_path, named))) as watch, shown(browser, watch) as tab:
        tab.until("document.querySelector('#plot .name')")
        edge = "document.querySelector('#plot').getBoundingClientRect().right"
        ends = "[...document.querySelectorAll('#plot .name')].map(e => e.getBoundingClientRect().right)"
        assert tab.ask(f"Math.max(...{ends}) <= {edge}")
        assert tab.ask("document.querySelectorAll('#plot [clip-path] .name').length") == 0


# Of a name's letters what a browser says, less the air above and below; of the dots, which are one path, their middles.
COVERED = """(() => {
  const box = e => e.getBoundingClientRect(), svg = box(document.querySelector("#plot"));
  const dots = [...document.querySelector("#plot .dots").getAttribute("d").matchAll(/M([-.\\d]+),([-.\\d]+)h0/g)];
  const points = dots.map(one => [+one[1] + svg.left, +one[2] + svg.top]);
  for (const e of document.querySelectorAll("#plot [clip-path] circle")) {
    const b = box(e);
    points.push([(b.left + b.right) / 2, (b.top + b.bottom) / 2]);
  }
  const names = [...document.querySelectorAll("#plot .name")].map(box);
  const inside = (n, x, y) => n.left < x && x < n.right && n.top + 3 < y && y < n.bottom - 3;
  const under = names.map(n => points.filter(([x, y]) => inside(n, x, y)));
  return [names.length, points.length, under.flat().length];
})()"""


def test_no_name_on_the_chart_covers_a_mark(browser: Browser, tmp_path: Path) -> None:
    with closing(Watch(long_night(tmp_path / "study").write().parents[1])) as watch, shown(browser, watch) as tab:
        for width in (1280, 768, 360):
            tab.resize(width, 900)
            tab.until("document.querySelector('#plot .name') && document.querySelector('#plot .dots')")
            names, points, covered = tab.ask(COVERED)
            assert names and points > 90 and not covered


@pytest.mark.thorough
def test_ten_thousand_experiments_are_ready_at_once(browser: Browser, tmp_path: Path) -> None:
    rows = [NIGHT[0]]
    for number in range(2, 10_001):
        value, kept = 1 - number / 1e6 + (number * 7919 % 101) / 3e4, number % 400 == 0
        verdict = Verdict.IMPROVED if kept else Verdict.WORSE
        rows.append(decided(measured(made(number, f"idea {number}"), value - kept / 100, verdict, (1, 1.0)), kept))
    root = workspace(tmp_path, rows)
    with closing(Watch(root)) as watch:
        watch.enter()
        watch.summary()  # the server has read them
        with shown(browser, watch) as tab:
            tab.until("document.querySelector('#plot .dots')")
            ready = tab.ask("performance.now() - performance.getEntriesByType('navigation')[0].responseEnd")
            assert tab.ask("document.querySelectorAll('*').length") < 2500
            assert len(tab.ask("document.querySelector('#plot .dots').getAttribute('d')")) > 9000 * 8
            tab.ask("document.querySelector('#scroll').scrollTop = 5000 * 34")
            tab.until("document.querySelector('#rows').textContent.includes('idea 50')")
    assert ready < stretched(4000)  # the half second of benchmarks needs a machine of its own


def hostile() -> list[Experiment]:
    """A study whose every text means harm."""
    texts = {"description": BAD, "hypothesis": BAD + "A" * 100_000, "source": BAD, "profile": BAD, "dataset": BAD}
    texts |= {"lane": BAD, "agent": BAD}
    rows = [row.model_copy(update={"attempt": row.attempt.model_copy(update=texts)}) for row in NIGHT]
    attempt = made(9, BAD).model_copy(update=texts)
    told = {"reason": BAD, "cause": BAD, "traceback": BAD + "B" * 100_000, "guards": {BAD: BAD}}
    attempt = attempt.model_copy(update={"agent": f"{BAD}2"})  # of two agents it is told who has found what
    crash = Judgement(verdict=Verdict.CRASHED, why=BAD, commit="c" * 40)
    ended = Experiment(attempt=attempt, result=result(attempt, None, Outcome.CRASHED, **told), judgement=crash)
    return [*rows, decided(ended, kept=False, reason=BAD), Experiment(attempt=made(10, "").model_copy(update=texts))]


def test_every_text_of_others_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    changes = {4: {"category": BAD, f"knob {BAD}": f"{BAD} → {BAD}"}, 6: {"category": BAD, f"knob {BAD}": "1 → 2"}}
    root = workspace(tmp_path, hostile(), changes, f"---\nname: {json.dumps(BAD[:90])}\n---\nGo.\n")
    paths = study_paths(root)
    note = {"number": 1, "written_at": "", "after": 1, "idea": True, "text": BAD + "C" * 1_000_000, "outcome": ""}
    paths.notes.write_text(json.dumps([note, {**note, "number": 2, "outcome": BAD}]), encoding="utf-8")
    paths.lost.write_text(BAD, encoding="utf-8")
    with running(paths, 10) as folder, closing(Watch(root)) as watch, shown(browser, watch) as tab:
        report(folder, 10.0, stage=BAD)
        (paths.runs / "00009").mkdir(exist_ok=True)
        (paths.runs / "00009" / "run.log").write_text(BAD * 10_000, encoding="utf-8")
        tab.until("document.querySelector('#now h2').textContent.includes('onerror')")  # and nothing moves any more
        assert "onerror" in tab.ask("document.querySelector('#lanes').textContent")
        for name in ("experiments", "lessons", "notes", "trust"):
            tab.click(f"#tab-{name}")
            tab.until(f"document.querySelector('#tab-{name}').getAttribute('aria-selected') === 'true'")
            assert "onerror" in tab.text()
            assert name != "lessons" or "Who found what" in tab.text()
        tab.click("#tab-experiments")
        tab.click("#rows tr:nth-child(2) button")
        tab.until("document.querySelector('#detail').textContent.includes('The end of its log')")
        assert tab.ask("typeof hacked") == "undefined"
        assert tab.ask("document.querySelectorAll('img, iframe, object, embed').length") == 0
        assert tab.ask("document.querySelectorAll('script').length") == page().html.count("<script") == 2
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", tab.ask("document.documentElement.textContent"))
        assert tab.ask("document.documentElement.scrollWidth - innerWidth") <= 0


def test_another_metric_is_shown_by_its_own_rules(browser: Browser, tmp_path: Path) -> None:
    rows = [of_task(row, "latency", "ms") for row in NIGHT]
    program = (
        "---\nname: t\ncommand: ./score\nmetric: {name: latency, unit: ms, direction: lower, scale: log}\n"
        "editable: [a.py]\n---\nGo.\n"
    )
    root = workspace(tmp_path, rows, program=program)
    folder = study_paths(root).runs / "00008"
    folder.mkdir(parents=True)
    told = {"task": {"metric": "latency", "unit": "ms", "direction": "lower", "scale": "log"}}
    (folder / "spec.json").write_text(json.dumps(told), encoding="utf-8")
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        text = tab.text()
        assert re.search(r"→ 0\.9699\d* ms", text) and "−3.00 %" in text and "lower is better" in text


def test_the_chart_is_walked_by_keys_and_zoomed_by_the_mouse(browser: Browser, night: Watch) -> None:
    with shown(browser, night) as tab:
        tab.ask("document.querySelector('#stage').focus()")
        tab.key("ArrowRight")
        tab.until("document.querySelector('#stage').getAttribute('aria-valuenow') === '6'")
        assert "no good" in tab.ask("document.querySelector('#stage').getAttribute('aria-valuetext')")
        tab.until("!document.querySelector('#tip').hidden")
        tab.key("ArrowUp")
        tab.until("document.querySelector('#stage').getAttribute('aria-valuenow') === '4'")
        tab.key("Enter")
        tab.until("location.hash === '#/4' && document.querySelector('#detail h2').textContent.includes('#4')")
        tab.ask("document.querySelector('#stage').scrollIntoView({block: 'center'})")
        left, top, width = tab.ask(
            "(b => [b.x, b.y, b.width])(document.querySelector('#plot').getBoundingClientRect())"
        )
        for kind, share in (("mouseMoved", 0.3), ("mousePressed", 0.3), ("mouseMoved", 0.9), ("mouseReleased", 0.9)):
            held = {"buttons": 1} if kind == "mouseMoved" and share == 0.9 else {}
            place = {"x": left + share * width, "y": top + 80}
            told = {"button": "none" if kind == "mouseMoved" and not held else "left", "clickCount": 1}
            tab.call("Input.dispatchMouseEvent", type=kind, **place, **told, **held)
        tab.until("document.querySelectorAll('#plot .err').length < 2")


def test_a_phone_shows_an_experiment_over_the_page_and_goes_back(browser: Browser, night: Watch) -> None:
    with shown(browser, night, width=360, height=740) as tab:
        assert tab.ask("document.documentElement.scrollWidth") == 360
        assert tab.ask("getComputedStyle(document.querySelector('#detail')).display") == "none"
        tab.click("#recent button")
        tab.until("getComputedStyle(document.querySelector('#detail')).display !== 'none'")
        assert tab.ask("document.documentElement.scrollWidth") == 360
        tab.key("Escape")
        tab.until("getComputedStyle(document.querySelector('#detail')).display === 'none'")


def test_the_file_that_a_browser_is_handed_leads_to_the_page(browser: Browser, night: Watch, tmp_path: Path) -> None:
    path = leading_file(night.link, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    tab = browser.page(path.as_uri())
    tab.until("document.querySelector('#head').textContent.includes('0.97')")
    assert night.token not in tab.ask("location.href") and tab.errors() == []
    tab.close()


def test_the_report_is_one_click_away(browser: Browser, night: Watch) -> None:
    with shown(browser, night) as tab:
        tab.until("!document.querySelector('#report').hidden")
        told = tab.ask("fetch(document.querySelector('#report').href).then(r => r.text())")
        assert "<h1" in told and "0.9700" in told and "<script" not in told


def test_without_a_script_the_page_says_what_shows_the_study(browser: Browser, night: Watch) -> None:
    tab = browser.page()
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(night.url)
    tab.until("document.querySelector('noscript')?.getBoundingClientRect().height")
    assert "autoresearch report --html" in tab.text() and "0.97" not in tab.text()
    tab.close()


def test_without_the_link_the_page_asks_for_the_token(browser: Browser, night: Watch) -> None:
    tab = browser.page(night.url)
    tab.until("!document.querySelector('#gate').hidden && document.activeElement.id === 'token'")
    tab.type("nonsense")
    tab.click("#enter")
    tab.until("document.querySelector('#denied').textContent.includes('not the token')")
    assert "0.97" not in tab.text()
    tab.ask("document.querySelector('#token').focus()")
    tab.type(night.token)
    tab.key("Enter")
    tab.until("document.querySelector('#head').textContent.includes('0.97')")
    tab.close()


def test_a_request_of_a_command_is_seen_on_the_page(browser: Browser, tmp_path: Path) -> None:
    root = workspace(tmp_path, [*NIGHT, Experiment(attempt=made(9, "it runs"))])
    paths = study_paths(root)
    with running(paths, 9), closing(Watch(root)) as watch, shown(browser, watch) as tab:
        tab.until("document.querySelector('#state').textContent === 'running'")
        write_request(paths.state, OperatorRequest.STOP)
        tab.until("document.querySelector('#state').textContent.includes('stops after this run')")
        assert tab.ask("[...document.querySelectorAll('#controls button')].map(b => b.dataset.word).join()") == (
            "resume,stop-now"
        )
