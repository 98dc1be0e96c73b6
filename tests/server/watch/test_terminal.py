"""The summary in a terminal."""

import os
import pty
import signal
import subprocess
import sys
from functools import partial
from io import StringIO
from pathlib import Path

from rich.console import Console

from server.records import Experiment
from server.watch.terminal import follow
from tests.server.reporting.test_view_summary import NIGHT
from tests.support.made_studies import made, running, study_paths, write


def told(root: Path, width: int = 100) -> str:
    text = StringIO()
    out = Console(file=text, width=width, force_terminal=False, markup=False, emoji=False, highlight=False)
    follow(lambda: study_paths(root), out, once=True)
    return text.getvalue()


def test_it_shows_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "program.md").write_text("---\nstop: {experiments: 20}\n---\nGo.\n", encoding="utf-8")
    evil = made(9, "it \x1b[31m runs [bold]now[/bold]")
    write(study_paths(tmp_path), [*NIGHT, Experiment(attempt=evil)])
    with running(study_paths(tmp_path), 9):
        text = told(tmp_path)
    assert "1.0000 → 0.9700" in text and "measured again by 2 runs" in text and "0.9680" in text
    assert "1 kept (1 sure, 0 within the noise, 0 provisional)" in text and "experiments: 4 of 20" in text
    assert "running" in text and "training; verdict in about" in text
    assert "\x1b" not in text and "[bold]now[/bold]" in text


def test_it_waits_for_a_study_that_is_not_there_yet_and_fits_a_narrow_terminal(tmp_path: Path) -> None:
    assert "No baseline yet." in told(tmp_path)
    write(study_paths(tmp_path), NIGHT)
    text = told(tmp_path, width=60)
    assert "0.9700" in text and max(map(len, text.splitlines())) <= 60


def test_the_command_follows_a_study_until_it_is_interrupted(tmp_path: Path) -> None:
    write(study_paths(tmp_path), NIGHT[:5])
    screen, terminal = pty.openpty()
    words = [sys.executable, "-m", "server.cli", "watch", "--terminal", "--workspace", str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    shown = b""
    # Where the tests run in the background, a shell has them ignore the signal, and what they start as well.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, preexec_fn=heard
    ) as command:
        while b"a smaller batch" not in shown:
            shown += os.read(screen, 65536)
        assert b"no good" not in shown
        write(study_paths(tmp_path), NIGHT[5:])
        while b"no good" not in shown:
            shown += os.read(screen, 65536)
        command.send_signal(signal.SIGINT)
    os.close(terminal)
    os.close(screen)
    assert command.returncode == 0 and b"Traceback" not in shown
