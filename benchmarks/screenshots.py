"""The pictures of the docs: the page of a study and the top of its report, for README and at four sizes.

    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] [--budget 3]

Without a workspace it makes a real study first, in a quarter of an hour (`benchmarks.shown_study`); README's page is
taken while one of its last runs is under way. The page of several agents is that of a made-up study of 126 experiments.
To be made anew, and looked at, when page or report change.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event

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
_AGENTS = ("ada", "grace", "emmy")  # of the page with lanes: the run of the last one waits
_SLOTS = 2
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


def sizes(tab: Tab, name: str, to: Path) -> None:
    """Page or report at every size."""
    for width, height in _SIZES:
        tab.resize(width, height)
        tab.ask("new Promise(done => setTimeout(done, 400))")  # what is drawn after a change of size
        picture(tab, to / f"{name}-{width}.png")
        if width in _DARK:
            tab.media(prefers_color_scheme="dark")
            picture(tab, to / f"{name}-{width}-dark.png")
            tab.media(prefers_color_scheme="light")


def several(browser: Browser, folder: Path, to: Path) -> None:
    """The page of several agents."""
    with made_up(folder, _AGENTS) as workspace, page(browser, workspace, [], _LIVE) as tab:
        picture(tab, to / "page-lanes-1280.png")


def live(browser: Browser, workspace: Path, making: "Future[None]", to: Path) -> None:
    """README's page, while one of the last runs of the study is under way."""
    with page(browser, workspace, [], "!document.querySelector('#main').hidden") as tab:
        count = "+document.querySelector('#tab-experiments .soft')?.textContent"
        while not tab.ask(f"{_LIVE} && {count} >= {shown_study.EXPERIMENTS - 3}"):
            if making.done():
                raise SystemExit("The study has ended without a run that could be shown.")
            time.sleep(0.2)
        tab.click("#recent li:last-child button")  # the last one that was kept
        tab.until("document.querySelector('#detail .diff')")
        picture(tab, to / "page.png")


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
    given = parser.parse_args()
    told = (given.to, ["--tag", given.tag] if given.tag else [])
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile") as browser:
        if given.workspace:
            return pictures(browser, given.workspace, *told)
        workspace, shown = Path(folder) / "study", Event()
        shown_study.prepare(workspace)
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(anyio.run, partial(shown_study.study, workspace, given.budget, shown))
            try:
                live(browser, workspace, making, given.to)
                while not shown_study.over(workspace):
                    time.sleep(1.0)
                pictures(browser, workspace, *told)
            finally:
                shown.set()


def pictures(browser: Browser, workspace: Path, to: Path, tag: list[str]) -> None:
    """Of a study that is there: the top of its report, both at every size, and the page of several agents."""
    screens = to / "screens"
    screens.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        command("report", "--workspace", str(workspace), *tag, "--html", "--output", str(report))
        tab = browser.page(report.as_uri(), width=960, height=1000)
        tab.until("document.querySelector('svg')")
        picture(tab, to / "report.png")
        sizes(tab, "report", screens)
        with page(browser, workspace, tag, _READY) as tab:
            if not (to / "page.png").exists():
                picture(tab, to / "page.png")
            sizes(tab, "page", screens)
        several(browser, Path(folder) / "several", screens)


if __name__ == "__main__":
    main()
