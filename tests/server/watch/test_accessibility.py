"""Page and report for everybody: axe-core finds nothing wrong, and keys reach what is shown and nothing else."""

from contextlib import closing
from pathlib import Path

import pytest

from server.records import Experiment
from tests.server.reporting.test_view_summary import NIGHT
from tests.server.watch.test_page import shown, workspace
from tests.support.app_host import needs_browser
from tests.support.axe import needs_axe, violations
from tests.support.browser import Browser
from tests.support.made_studies import curve, made, running, study_paths
from tests.support.watching import Watch

pytestmark = needs_browser
COLOURS = "color-contrast"  # all that differs between light and dark


def busy(folder: Path) -> Path:
    """A study that shows everything that the page can show; a run is under way."""
    changes = {4: {"category": "optimizer", "knob LR": "1 → 2"}, 6: {"category": "optimizer", "knob LR": "2 → 3"}}
    root = workspace(folder, [*NIGHT, Experiment(attempt=made(9, "it runs"))], changes)
    note = {"number": 1, "written_at": "", "after": 1, "idea": True, "text": "longer", "outcome": ""}
    study_paths(root).notes.write_text(f"[{note}]".replace("'", '"').replace("True", "true"), encoding="utf-8")
    study_paths(root).lost.write_text("A commit is gone.", encoding="utf-8")
    curve(study_paths(root), 4)
    return root


@needs_axe
def test_axe_finds_nothing_on_the_page(browser: Browser, tmp_path: Path) -> None:
    root = busy(tmp_path)
    with running(study_paths(root), 9), closing(Watch(root)) as watch, shown(browser, watch) as tab:
        tab.until("document.querySelector('#now .mine') && document.querySelector('#detail section')")
        for width, names in ((1280, ["experiments"]), (360, ["lessons", "notes", "trust", "experiments"])):
            tab.resize(width, 900)
            for name in names:
                tab.click(f"#tab-{name}")
                tab.until(f"document.querySelector('#tab-{name}').getAttribute('aria-selected') === 'true'")
                assert violations(tab) == []
            tab.media(prefers_color_scheme="dark")
            assert violations(tab, COLOURS) == []
            tab.media(prefers_color_scheme="light")
        tab.click("#recent button")
        tab.until("document.querySelector('#detail[role=dialog] section')")
        assert violations(tab) == []
        tab.media(prefers_color_scheme="dark")
        assert violations(tab, COLOURS) == []


@needs_axe
def test_axe_finds_nothing_where_the_token_is_asked_for_and_in_the_report(browser: Browser, tmp_path: Path) -> None:
    with closing(Watch(busy(tmp_path))) as watch:
        gate, report = browser.page(watch.url, width=360), browser.page(watch.link)
        gate.until("!document.querySelector('#gate').hidden")
        report.until("!document.querySelector('#report').hidden")
        report.open(f"{watch.url}report")
        report.until("document.querySelector('.diff, .wide')")
        report.resize(360, 780)
        report.until("innerWidth === 360")
        assert report.ask("document.documentElement.scrollWidth") == 360
        for tab in (gate, report):
            for width in (360, 1280):
                tab.resize(width, 900)
                assert violations(tab) == []
            tab.media(prefers_color_scheme="dark")
            assert violations(tab, COLOURS) == []
            tab.close()


@pytest.mark.thorough
def test_what_an_experiment_covers_cannot_be_reached_by_keys(browser: Browser, tmp_path: Path) -> None:
    with closing(Watch(workspace(tmp_path, NIGHT))) as watch, shown(browser, watch, width=360, height=740) as tab:
        tab.click("#recent button")
        tab.until("document.querySelector('#detail[role=dialog] section')")
        seen: set[str] = set()
        for _ in range(12):
            tab.key("Tab")
            seen.add(
                tab.ask("document.activeElement.closest('#detail, body, html').id || document.activeElement.tagName")
            )
        assert seen <= {"detail", "BODY"}
        tab.ask("document.querySelector('#detail [aria-label=Earlier]').focus()")
        tab.key("Enter")
        tab.until("location.hash === '#/6'")
        tab.until("document.querySelector('#detail h2').textContent.includes('#6')")
        assert tab.ask("document.activeElement.getAttribute('aria-label')") == "Earlier"
        tab.key("Escape")
        tab.until("document.activeElement.id === 'stage' && !document.querySelector('[inert]')")
        tab.click("#recent button")
        tab.resize(1280, 900)
        tab.until("!document.querySelector('[inert], [role=dialog]')")
