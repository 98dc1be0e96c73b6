"""The two pictures that README shows: the page of a study, and the top of its report; or both at four sizes.

    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] [--experiments 30] [--live]
    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] --sizes

Without a workspace it makes a real study first, in some ten minutes: a small GPT on this CPU, whose learning rates
begin far too low, driven by `drive sweep`. The four sizes are of a made-up study of 126 experiments with a run under
way, so that everything is on them that a page can show: to be looked at when page or report change.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image

from server.cli.scaffold import create
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.paths import StudyPaths
from tests.support import night as night_
from tests.support.browser import Browser, Tab, chromium
from tests.support.made_studies import curve, made, running
from tests.support.watching import Watch

_TOO_LOW = {"MATRIX_LR": "0.0005", "HEAD_LR": "0.0005"}
_COLOURS = 200  # flat areas and text need no more
_MOST = 150_000  # bytes of a picture
_SIZES = ((360, 780), (768, 1024), (1280, 900), (1600, 1000))
_DARK = (360, 1280)  # widths that are shown in dark colours as well
_READY = "!document.querySelector('#main').hidden && document.querySelector('#detail section')"
_LIVE = f"{_READY} && document.querySelector('#now .mine')"


def study(folder: Path, experiments: int) -> Path:
    """A real study in a new workspace."""
    create(folder)
    train = folder / "train.py"
    text = train.read_text(encoding="utf-8")
    for name, low in _TOO_LOW.items():
        text, found = re.subn(rf"(?m)^{name} = [\d.]+", f"{name} = {low}", text)
        assert found == 1, name
    train.write_text(text, encoding="utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=autoresearch", "-c", "user.email=autoresearch@localhost"]
    subprocess.run([*git, "commit", "--quiet", "--all", "--message", "Begin with low learning rates"], check=True)
    told = ["--workspace", str(folder), "--experiments", str(experiments), "--", "--profile", "smoke", "--budget", "2"]
    command("drive", "sweep", *told)
    return folder


@contextmanager
def made_up(folder: Path) -> Iterator[Path]:
    """A study of 126 experiments, and a run that seems to go on."""
    night_.EVENING = (datetime.now(UTC) - timedelta(hours=16.4)).isoformat(timespec="seconds")
    night = night_.long_night(folder)
    paths = StudyPaths(night.write())
    Notebook(paths.notes).add("try a window of SSLL once the batch is smaller", idea=True, after=40)
    number, best = len(night.rows) + 1, night.incumbent
    assert best
    begun = made(number, "MATRIX_LR from 0.04 to 0.05", hypothesis="the last two steps up have both helped")
    begun = begun.model_copy(update={"parent": best.commit, "started_at": night.rows[-1].attempt.started_at})
    with closing(Ledger(paths.ledger)) as ledger:
        ledger.begin(begun)
    curve(paths, best.number, shift=0.02)
    with running(paths, number):
        yield folder


def sizes(browser: Browser, workspace: Path, tag: list[str], to: Path, report: Path) -> None:
    """Page and report at every size."""
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
        few = shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
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
    parser.add_argument("--experiments", type=int, default=30)
    parser.add_argument("--live", action="store_true", help="wait for a run under way whose loss is drawn")
    parser.add_argument("--sizes", action="store_true", help="page and report at four sizes, of a made-up study")
    given = parser.parse_args()
    tag = ["--tag", given.tag] if given.tag else []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if given.sizes:
            workspace = given.workspace or stack.enter_context(made_up(Path(folder) / "study"))
        else:
            workspace = given.workspace or study(Path(folder) / "study", given.experiments)
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
