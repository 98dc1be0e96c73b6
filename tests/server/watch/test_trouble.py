"""The page through troubles of a machine: sleep, a clock that is set, a ledger that is rebuilt, killed servers."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.locks import lock_path
from server.study.background import STALE_SECONDS
from server.watch.access import PageAccess
from tests.server.reporting.test_view_summary import NIGHT
from tests.server.watch.test_page import shown, workspace
from tests.support.app_host import needs_browser
from tests.support.browser import Browser, Tab
from tests.support.made_studies import study_paths, write
from tests.support.repositories import make_quick
from tests.support.watching import Watch

pytestmark = needs_browser
FETCHED = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('api/summary')).length"


STATE = "document.querySelector('#state').textContent"
HURRY = """(() => {
    const now = performance.now.bind(performance);
    let ahead = 0;
    performance.now = () => now() + ahead;
    window.hurry = setInterval(() => ahead += 400, 100);
})()"""  # a steady clock that goes five times as fast, until `hurry` is cleared


@contextmanager
def served(root: Path, *options: str) -> Generator["subprocess.Popen[str]"]:
    """A server of the study."""
    words = ["serve", "--workspace", str(root), "--tag", "t1", "--profile", "smoke", *options]
    with subprocess.Popen(
        [sys.executable, "-c", "from server.cli import main; main()", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[3],
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def runs(tab: Tab, count: int) -> None:
    tab.until(f"document.querySelector('#facts').textContent.includes('{count} runs')")


def test_after_a_sleep_the_page_has_what_was_written_meanwhile(browser: Browser, tmp_path: Path) -> None:
    root = workspace(tmp_path, NIGHT[:5])
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        tab.ask("window.untouched = 1")
        watch.process.send_signal(signal.SIGSTOP)
        write(study_paths(root), NIGHT[5:7])
        assert "5 runs" in tab.text()
        watch.process.send_signal(signal.SIGCONT)
        runs(tab, 7)
        assert tab.ask("window.untouched") == 1


@pytest.mark.thorough
def test_a_clock_that_is_set_changes_no_time_on_the_page_and_makes_it_ask_anew(
    browser: Browser, tmp_path: Path
) -> None:
    root = workspace(tmp_path, NIGHT)
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        ages = "[...document.querySelectorAll('#recent button')].map(e => e.lastChild.textContent).join()"
        before, since = tab.ask(ages), tab.ask("document.querySelector('#since').textContent")
        assert "d ago" in before
        tab.ask("window.clock = Date.now, 0")
        for hours in (5, -5):  # as a machine that slept, or whose clock was put right
            fetched = tab.ask(FETCHED)
            tab.ask(f"Date.now = () => clock() + {hours} * 3600e3, 0")
            if hours > 0:
                tab.until(f"{FETCHED} > {fetched}")
            assert (tab.ask(ages), tab.ask("document.querySelector('#since').textContent")) == (before, since)


@pytest.mark.thorough  # tests/server/watch/test_changes.py has it without a browser
def test_a_ledger_that_is_damaged_and_rebuilt_is_followed_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    root = workspace(tmp_path, NIGHT)
    ledger = study_paths(root).ledger
    with closing(Watch(root)) as watch, shown(browser, watch) as tab:
        best = tab.ask("document.querySelector('#head').textContent")
        ledger.rename(ledger.with_suffix(".aside"))
        ledger.write_bytes(b"this is no ledger" * 1000)
        tab.until("!document.querySelector('#banner').hidden")
        assert tab.ask("document.querySelector('#head').textContent") == best  # what is shown stays
        ledger.unlink()
        write(study_paths(root), NIGHT[:6])
        runs(tab, 6)
        tab.until("document.querySelector('#banner').hidden")
        assert tab.ask("document.querySelectorAll('#rows tr button').length") == 3


@pytest.mark.thorough
def test_a_server_that_is_killed_and_started_again_is_seen_on_the_page(
    browser: Browser, tmp_path: Path, data: Path
) -> None:
    root = make_quick(tmp_path / "w", data)
    write(study_paths(root), NIGHT)
    with closing(Watch(root, "--tag", "t1")) as watch, shown(browser, watch) as tab:
        for _ in range(2):
            with served(root):
                tab.until(f"!{STATE}.includes('no server')")
            tab.until(f"{STATE}.includes('no server')")


@pytest.mark.slow
def test_a_server_that_is_stopped_is_told_on_its_own_page_and_on_that_of_watch_and_comes_back(
    browser: Browser, tmp_path: Path, data: Path
) -> None:
    root = make_quick(tmp_path / "w", data)
    paths = study_paths(root)
    with served(root, "--http", "127.0.0.1:0") as server, closing(Watch(root, "--tag", "t1")) as watch:
        assert server.stderr
        port = re.search(r"127\.0\.0\.1:(\d+)/", server.stderr.readline())
        assert port
        link = PageAccess.of(paths.home).link(f"http://127.0.0.1:{port[1]}")
        with shown(browser, link) as own, shown(browser, watch) as beside:
            for tab in (own, beside):
                tab.until(f"{STATE}.includes('nothing measured yet')")
            own.ask("window.untouched = 1")
            server.send_signal(signal.SIGSTOP)
            old = time.time() - 2 * STALE_SECONDS
            for sign in (lock_path(root), paths.pulse):
                if sign.exists():
                    os.utime(sign, (old, old))
            own.ask(HURRY)
            own.until(f"/silent for \\d+ s/.test({STATE})")
            own.ask("clearInterval(hurry)")
            beside.until(f"{STATE}.includes('server hangs')")
            assert "has not reported for 2 min" in beside.text()
            server.send_signal(signal.SIGCONT)
            for tab in (own, beside):
                tab.until(f"{STATE}.includes('nothing measured yet')")
            assert own.ask("window.untouched") == 1
