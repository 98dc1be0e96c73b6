"""The two pictures that README shows: the page of a study, and the top of its report; or both at four sizes.

    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] [--budget 3] [--live]
    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] --sizes

Without a workspace it makes a real study first, in some twenty minutes: `benchmarks.shown_study`. The four sizes are of
a made-up study of 126 experiments with runs under way in two lanes, so that everything is on them that a page can show:
to be looked at when page or report change.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
from PIL import Image

from benchmarks import shown_study
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.paths import StudyPaths
from server.records import Experiment, Purpose
from tests.support import night as night_
from tests.support.browser import Browser, Tab, chromium
from tests.support.made_studies import curve, made, running
from tests.support.watching import Watch

_COLOURS = 256  # flat areas and text need no more
_MOST = 150_000  # bytes of a picture
_SIZES = ((360, 780), (768, 1024), (1280, 900), (1600, 1000))
_DARK = (360, 1280)  # widths that are shown in dark colours as well
_AGENTS, _SLOTS = ("ada", "grace", "emmy"), 2  # of the page with lanes: the last one's run waits
_READY = "!document.querySelector('#main').hidden && document.querySelector('#detail section')"
_LIVE = f"{_READY} && document.querySelector('#now .mine')"


@contextmanager
def made_up(folder: Path, agents: Sequence[str] = ()) -> Iterator[Path]:
    """A study of 126 experiments, and a run that seems to go on; of several agents one in each one's lane, and a queue.

    All have the same numbers, whoever is said to have asked.
    """
    night_.EVENING = (datetime.now(UTC) - timedelta(hours=16.4)).isoformat(timespec="seconds")
    night = night_.long_night(folder)
    if agents:
        night.rows = [_asked(row, agents[row.number % 7 % len(agents)]) for row in night.rows]
    paths = StudyPaths(night.write())
    Notebook(paths.notes).add("try a window of SSLL once the batch is smaller", idea=True, after=40)
    number, best = len(night.rows) + 1, night.incumbent
    assert best
    begun = made(number, "MATRIX_LR from 0.04 to 0.05", hypothesis="the last two steps up have both helped")
    begun = begun.model_copy(update={"parent": best.commit, "started_at": night.rows[-1].attempt.started_at})
    curve(paths, best.number, shift=0.02)
    with closing(Ledger(paths.ledger)) as ledger, ExitStack() as stack:
        for at, agent in enumerate(agents or ("",)):
            asked = {"number": number + at, "lane": agent or None, "agent": agent or None}
            queued = {"queued_at": begun.started_at} if at == _SLOTS else {"concurrency": min(len(agents), _SLOTS) or 1}
            queued |= {"slot": str(at)} if agents and at < _SLOTS else {}
            if at:
                asked["description"] = (
                    "WARMDOWN from 0.4 to 0.7, with the warm-up as it is" if at > 1 else "DEPTH from 4 to 5"
                )
            ledger.begin(begun.model_copy(update={**asked, **queued}))
            if at < _SLOTS:
                stack.enter_context(running(paths, number + at, elapsed=150.0 - 90 * at))
        yield folder


def _asked(row: Experiment, agent: str) -> Experiment:
    by = (
        {"agent": agent, "lane": agent}
        if not row.attempt.baseline and row.attempt.purpose is not Purpose.REFERENCE
        else {}
    )
    return row.model_copy(update={"attempt": row.attempt.model_copy(update=by)})


def sizes(browser: Browser, workspace: Path, tag: list[str], to: Path, report: Path) -> None:
    """Page and report at every size, and the page of several agents."""
    with made_up(report.parent / "several", _AGENTS) as several, page(browser, several, [], _LIVE) as tab:
        picture(tab, to / "page-lanes-1280.png")
    with page(browser, workspace, tag, _READY) as tab:
        report_tab = browser.page(report.as_uri())
        for name, shown in (("page", tab), ("report", report_tab)):
            for width, height in _SIZES:
                shown.resize(width, height)
                shown.ask("new Promise(done => setTimeout(done, 400))")  # what is drawn after a change of size
                picture(shown, to / f"{name}-{width}.png")
                if width in _DARK:
                    shown.media(prefers_color_scheme="dark")
                    picture(shown, to / f"{name}-{width}-dark.png")
                    shown.media(prefers_color_scheme="light")


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-c", "from server.cli import main; main()", *words], check=True)


@contextmanager
def page(browser: Browser, workspace: Path, tag: list[str], ready: str) -> Iterator[Tab]:
    """The live page, once it shows the study and one experiment in depth."""
    watch = Watch(workspace, *tag)
    try:
        tab = browser.page(watch.link, width=1280, height=1000)
        tab.until(ready)
        yield tab
    finally:
        watch.close()


def picture(tab: Tab, path: Path) -> None:
    """What the tab shows, in few colours. Raises SystemExit: it is too large for a repository."""
    tab.shot(path)
    with Image.open(path) as shot:
        few = shot.convert("RGB").quantize(_COLOURS, kmeans=3, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{path}: {size} bytes\n")
    if size > _MOST:
        raise SystemExit(f"{path} is larger than {_MOST} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", nargs="?", type=Path)
    parser.add_argument("--tag", default="")
    parser.add_argument("--to", type=Path, default=Path("docs"))
    parser.add_argument("--budget", type=float, default=3.0, help="seconds of training a run, of the real study")
    parser.add_argument("--live", action="store_true", help="wait for a run under way whose loss is drawn")
    parser.add_argument("--sizes", action="store_true", help="page and report at four sizes, of a made-up study")
    given = parser.parse_args()
    tag = ["--tag", given.tag] if given.tag else []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if given.sizes:
            workspace = given.workspace or stack.enter_context(made_up(Path(folder) / "study"))
        else:
            workspace = given.workspace or Path(folder) / "study"
            if given.workspace is None:
                anyio.run(shown_study.study, workspace, given.budget)
        report = Path(folder) / "report.html"
        command("report", "--workspace", str(workspace), *tag, "--html", "--output", str(report))
        with chromium(Path(folder) / "profile") as browser:
            if given.sizes:
                return sizes(browser, workspace, tag, given.to, report)
            with page(browser, workspace, tag, _LIVE if given.live else _READY) as tab:
                picture(tab, given.to / "page.png")
            tab = browser.page(report.as_uri(), width=960, height=1000)
            tab.until("document.querySelector('svg')")
            picture(tab, given.to / "report.png")


if __name__ == "__main__":
    main()
