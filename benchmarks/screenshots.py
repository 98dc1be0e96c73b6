"""The two pictures that README shows: the page of a study, and the top of its report.

    python -m benchmarks.screenshots [WORKSPACE] [--tag TAG] [--to docs] [--experiments 30] [--live]

Without a workspace it makes a real study first, in some ten minutes: a small GPT on this CPU, whose learning rates
begin far too low, driven by `drive sweep`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from server.cli.scaffold import create
from tests.support.browser import Browser, Tab, chromium
from tests.support.watching import Watch

_TOO_LOW = {"MATRIX_LR": "0.0005", "HEAD_LR": "0.0005"}
_COLOURS = 128  # flat areas and text need no more
_MOST = 200_000  # bytes of a picture
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
    given = parser.parse_args()
    tag = ["--tag", given.tag] if given.tag else []
    with tempfile.TemporaryDirectory() as made:
        workspace = given.workspace or study(Path(made) / "study", given.experiments)
        report = Path(made) / "report.html"
        command("report", "--workspace", str(workspace), *tag, "--html", "--output", str(report))
        with chromium(Path(made) / "profile") as browser:
            with page(browser, workspace, tag, _LIVE if given.live else _READY) as tab:
                picture(tab, given.to / "page.png")
            tab = browser.page(report.as_uri(), width=960, height=1000)
            tab.until("document.querySelector('svg')")
            picture(tab, given.to / "report.png")


if __name__ == "__main__":
    main()
