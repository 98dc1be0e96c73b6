"""What commands show in a terminal of eighty columns, for docs/screens.md and the test that holds it.

`python -m tests.support.screens` writes the page anew; with `--demo` it runs the demo, too, which takes a minute.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from server.cli.scaffold import create
from server.history.ledger import Ledger
from server.records import Experiment, Judgement, Purpose, Verdict
from tests.support import made_studies
from tests.support.made_studies import decided, made, measured, repeated, result
from tests.support.repositories import IDENTITY

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "screens.md"
COLUMNS = 80
COMMANDS = {  # in the study that `study` makes; by their headings
    "What comes next": "",
    "Status": "status",
    "History": "history",
    "Doctor": "doctor",
}
DEMO = "Demo"
LONG = "weight decay on the embedding, which no other idea has touched yet"
_HEAD = f"""# Screens

What commands print in a terminal of {COLUMNS} columns, without its colours: real output, of a study that the tests
make. `python -m tests.support.screens` writes this page.
"""


def shown(folder: Path, *words: str, **settings: str) -> str:
    """What a command prints there in a terminal of eighty columns that has no colours."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 100, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {**IDENTITY, "TERM": "dumb", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **settings}
    command = [sys.executable, "-m", "server.cli", *words]
    parts: list[bytes] = []
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=child, stdout=child, stderr=child):
        os.close(child)
        with suppress(OSError):  # the last process at the other end has closed it
            while part := os.read(parent, 65536):
                parts.append(part)
    os.close(parent)
    return b"".join(parts).decode().replace("\r\n", "\n")


def study(folder: Path) -> Path:
    """A workspace with a study in it that has ended, as files on disk."""
    create(folder)
    crash = made(9, "a slip: a name that does not exist")
    failed = Judgement(verdict=Verdict.CRASHED, why="train.py raised NameError", commit=crash.commit)
    rows = [
        decided(measured(made(1, "baseline"), 2.0650, Verdict.BASELINE), kept=True),
        repeated(2, 1, Purpose.REFERENCE, 2.0661),
        repeated(3, 1, Purpose.REFERENCE, 2.0655),
        decided(measured(made(4, "one block instead of two"), 2.0312, Verdict.IMPROVED, (1, 2.0655)), kept=True),
        repeated(5, 4, Purpose.CONFIRM, 2.0320),
        decided(measured(made(6, "a learning rate far too high"), 2.4012, Verdict.WORSE, (4, 2.0316)), kept=False),
        decided(measured(made(7, "warm up for ten steps"), 2.0310, Verdict.WITHIN_NOISE, (4, 2.0316)), kept=False),
        repeated(8, 4, Purpose.REFERENCE, 2.0318),
        decided(Experiment(attempt=crash, result=result(crash, None), judgement=failed), kept=False),
        decided(
            measured(made(10, LONG), 2.0330, Verdict.WITHIN_NOISE, (4, 2.0316)),
            kept=False,
        ),
    ]
    paths = made_studies.study_paths(folder, "night")
    paths.state.mkdir(parents=True)
    with closing(Ledger(paths.ledger)) as ledger:  # its own way to write: each row is chained
        for row in rows:
            ledger.begin(row.attempt)
            if row.result and row.judgement:
                ledger.finish(row.number, row.result, row.judgement)
            if row.decision:
                ledger.decide(row.number, row.decision)
    return folder


def normalised(text: str, folder: Path) -> str:
    """A screen without what differs from one machine, day and run to the next."""
    told = text.replace(str(folder.resolve()), "/home/me/my-night").replace(str(folder), "/home/me/my-night")
    told = re.sub(r"/\S*/autoresearch-demo-\w+", "/tmp/autoresearch-demo", told)
    told = re.sub(r"[ \t]+$", "", told, flags=re.MULTILINE)
    return told.strip("\n")


def comparable(screen: str) -> list[str]:
    """The lines of a screen as they must stay: names and words, not what a machine measures or has."""
    lines = [re.sub(r"[0-9]+(\.[0-9]+)?", "0", line) for line in screen.splitlines()]
    return [line for line in lines if line and not line.startswith(" ")]


def screens(folder: Path) -> dict[str, str]:
    """Every screen but the demo's, by its heading."""
    workspace = study(folder)
    return {name: normalised(shown(workspace, *words.split()), workspace) for name, words in COMMANDS.items()}


def page(found: dict[str, str]) -> str:
    """The page of these screens."""
    parts = [_HEAD]
    for name, screen in found.items():
        words = COMMANDS.get(name, "demo --quick")
        parts.append(f"## {name}\n\n```console\n$ autoresearch {words}".rstrip() + f"\n{screen}\n```\n")
    return "\n".join(parts)


def written() -> dict[str, str]:
    """The screens of the page as it is, by their headings."""
    found = re.findall(r"^## (.*?)\n\n```console\n\$ .*?\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return dict(found)


def demo(folder: Path) -> str:
    """The screen of the quick demo."""
    return normalised(shown(folder, "demo", "--quick", TMPDIR=str(folder)), folder)


def _main() -> None:
    with TemporaryDirectory() as folder:
        found = screens(Path(folder) / "my-night")
        if "--demo" in sys.argv:
            (Path(folder) / "demo").mkdir()
            found[DEMO] = demo(Path(folder) / "demo")
        elif PAGE.exists() and DEMO in written():
            found[DEMO] = written()[DEMO]
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    _main()
