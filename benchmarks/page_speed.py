"""How fast the page is in a real Chromium: 10,000 experiments shown, a write of another process shown, and idling.

    python -m benchmarks.page_speed [--experiments 10000] [--writes 12] [--idle 60]

It says how loaded the machine is: the bounds (0.5 s, 0.5 s, 0.5 % of a core) are those of a machine of its own.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from server.records import Experiment, Purpose, Verdict
from tests.support.browser import Browser, Tab, chromium
from tests.support.made_studies import decided, made, measured, repeated, running, study_paths, write
from tests.support.watching import Watch

_SHOWN = "!document.querySelector('#main').hidden && document.querySelector('#plot .dots') && performance.now()"
_PARTS = """JSON.stringify(performance.getEntriesByType('resource').map(
    e => [e.name.split('/').slice(-2).join('/').slice(0, 22), Math.round(e.startTime), Math.round(e.responseEnd)]))"""


def rows(count: int) -> list[Experiment]:
    """A study of so many experiments, every four-hundredth kept."""
    found = [decided(measured(made(1, "the baseline"), 1.0, Verdict.BASELINE), kept=True)]
    for number in range(2, count + 1):
        value, kept = 1 - number / 1e6 + (number * 7919 % 101) / 3e4, number % 400 == 0
        verdict = Verdict.IMPROVED if kept else Verdict.WORSE
        found.append(decided(measured(made(number, f"idea {number}"), value - kept / 100, verdict, (1, 1.0)), kept))
    return found


@contextmanager
def watched(folder: Path, study: list[Experiment]) -> Iterator[Watch]:
    folder.mkdir()
    (folder / "program.md").write_text("---\nname: a study\n---\nDo research.\n", encoding="utf-8")
    write(study_paths(folder), study)
    with closing(Watch(folder)) as watch:
        watch.enter()
        watch.summary()  # the server has read them
        yield watch


def ready(browser: Browser, watch: Watch) -> tuple[float, str]:
    """Seconds from the page's text to everything drawn, and when each request began and ended, in ms."""
    tab = browser.page(watch.link)
    taken = tab.until(_SHOWN) - tab.ask("performance.getEntriesByType('navigation')[0].responseEnd")
    parts = tab.ask(_PARTS)
    tab.close()
    return taken / 1000, parts


def seen(tab: Tab, folder: Path, number: int) -> float:
    """Seconds from the write of another process until the page has it, told by the page itself."""
    facts = "document.querySelector('#facts')"
    tab.ask(f"""window.shown = new Promise(done => new MutationObserver((_, seer) => {{
        if (!{facts}.textContent.includes('{number} runs')) return;
        seer.disconnect();
        done(Date.now());
    }}).observe({facts}, {{ childList: true, subtree: true }})), 0""")
    write(study_paths(folder), [repeated(number, 1, Purpose.REFERENCE, 1.0)])
    written = time.time()
    return tab.ask("shown") / 1000 - written


def idle(watch: Watch, browser: Browser, seconds: float) -> tuple[float, float]:
    """The shares of a core that the server and the browser take while a page is open and nothing happens."""
    server, shown = psutil.Process(watch.process.pid), psutil.Process(browser.pid)
    before, begun = (_used(server), _used(shown)), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begun
    return (_used(server) - before[0]) / passed, (_used(shown) - before[1]) / passed


def _used(process: psutil.Process) -> float:
    """CPU seconds of a process and its children."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _told(taken: list[float]) -> str:
    return f"{statistics.median(taken):.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--writes", type=int, default=12)
    parser.add_argument("--idle", type=float, default=60.0)
    given = parser.parse_args()
    say = sys.stdout.write
    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as made_, chromium(Path(made_) / "profile") as browser:
        with watched(Path(made_) / "large", rows(given.experiments)) as watch:
            found = [ready(browser, watch) for _ in range(5)]
            taken = [seconds for seconds, _ in found]
            say(f"{given.experiments} experiments ready: median {_told(taken)}, best {min(taken):.2f} s\n")
            say(f"  requests of the best, ms: {min(found)[1]}\n")
        small = Path(made_) / "small"
        with watched(small, rows(126)) as watch:
            tab = browser.page(watch.link)
            tab.until(_SHOWN)
            taken = [seen(tab, small, 127 + at) for at in range(given.writes)]
            say(f"a write shown: median {_told(taken)}, worst {max(taken):.2f} s\n")
            server, shown = idle(watch, browser, given.idle)
            say(f"idle: server {100 * server:.2f}, browser {100 * shown:.2f} % of a core\n")
            with running(study_paths(small), 127 + given.writes, elapsed=10.0):
                write(study_paths(small), [Experiment(attempt=made(127 + given.writes, "it runs"))])
                tab.until("document.querySelector('#state').textContent === 'running'")
                server, shown = idle(watch, browser, given.idle / 2)
            say(f"while a run says nothing new: server {100 * server:.2f}, browser {100 * shown:.2f} % of a core\n")
    say(f"load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
