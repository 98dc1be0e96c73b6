"""How long each tool call takes on a workspace with many experiments; how fast and how large the server is.

    python benchmarks/tool_latency.py [--experiments 10000] [--calls 200] [--workspace FOLDER]

With `--workspace` the workspace stays, and further calls take it as it is, so that versions can be measured in turns.
The history is written through the real ledger and copied into git, as a study does; so the start that is measured finds
nothing to mend. The calls go through the real client and server over stdio. A warm-up call of each tool is not counted.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import psutil
from mcp import Client, StdioServerParameters

from server.cli.scaffold import create
from server.history.ledger import Ledger
from server.history.similar_attempts import nearest
from server.locks import lock_holder
from server.records import Attempt, Decision, Figures, Judgement, Outcome, Result, Score, Verdict
from server.serve_options import ServeOptions
from server.source.language import Change
from server.study.study import Study

NOON = "2026-01-01T12:00:00+00:00"
_TEXT: dict[str, int | float] = {"val_tokens": 100_000, "val_bytes": 365_318}
KNOB = "MATRIX_LR = {}  # Muon, matrices of the blocks"


def fill(workspace: Path, count: int) -> None:
    """A night of `count` experiments, all but every tenth discarded; each stands at the same commit."""
    study = Study(workspace, "bench", ServeOptions(profile="cpu"))
    tip, digest = study.workspace.tip(), study.incumbent().sha256
    study.close()
    ledger = Ledger(workspace / ".autoresearch" / "bench" / "ledger.sqlite3")
    for number in range(1, count + 1):
        kept = number % 10 == 1
        verdict = Verdict.IMPROVED if kept else Verdict.WORSE
        score = Score(name="val_bpb", value=2 - number / count / 2, unit="bits per byte", details=_TEXT)
        attempt = Attempt(
            number=number,
            baseline=number == 1,
            description=f"experiment number {number} of a long night",
            hypothesis="a sentence of the usual length about why this should help",
            parent=tip,
            commit=tip,
            train_sha256=digest,
            profile="cpu",
            seed=42,
            budget_seconds=300,
            started_at=NOON,
        )
        places = [f"{(number * step) % 997:08x}" for step in (1, 7, 31)]  # some shared by ten, some by a thousand
        made = Change(knobs={("MATRIX_LR", "EMBED_LR")[number % 2]: "1 → 2"}, places=places, category="knob")
        ledger.begin(attempt, made)
        result = Result(
            outcome=Outcome.FINISHED,
            reason="val_bpb",
            score=score,
            finished_at=NOON,
            figures=Figures(steps=900, tokens=900_000, peak_memory_mb=600.0, total_seconds=320.0),
        )
        ledger.finish(number, result, Judgement(verdict=verdict, why="because", delta=-0.01, commit=tip))
        ledger.decide(number, Decision(kept=kept, decided_at=NOON))
    ledger.close()
    Study(workspace, "bench", ServeOptions(profile="cpu")).close()  # gives git the refs and the copies of the rows


class Meter(NamedTuple):
    """What measures calls of one server."""

    calls: int
    server: psutil.Process

    async def measure(
        self, name: str, call: Callable[[int], Awaitable[Any]], before: Callable[[int], Awaitable[Any]] | None = None
    ) -> None:
        """Print p50 and p95 of `call` in milliseconds, and the mean CPU time of the server and of the processes that it
        ended meanwhile; what is done `before` each call is not counted. On a busy machine CPU time is steadier.
        """
        times: list[float] = []
        spent: list[float] = []
        for turn in range(self.calls + 1):
            if before:
                await before(turn)
            begun, start = sum(self.server.cpu_times()[:4]), time.perf_counter()
            answer = await call(turn)
            times.append(1000 * (time.perf_counter() - start))
            spent.append(1000 * (sum(self.server.cpu_times()[:4]) - begun))
            assert not answer.is_error, answer.content
        cuts, cpu = statistics.quantiles(times[1:], n=20), statistics.mean(spent[1:])
        wall = f"p50 {statistics.median(times[1:]):7.1f} ms   p95 {cuts[18]:7.1f} ms"
        print(f"{name:<28} {wall}   CPU {cpu:7.1f} ms", flush=True)


def look_up(workspace: Path, calls: int) -> None:
    """Print what the nearest earlier attempts cost, of a knob that half of all attempts turned."""
    ledger = Ledger(workspace / ".autoresearch" / "bench" / "ledger.sqlite3", read_only=True)
    made = Change(knobs={"MATRIX_LR": "1 → 3"}, places=[f"{10 * step:08x}" for step in (1, 7, 31)], category="knob")
    begun = time.perf_counter()
    for _ in range(calls):
        assert nearest(ledger, made)
    print(f"{'of it, the look-up of earlier attempts':<28} mean {1000 * (time.perf_counter() - begun) / calls:.1f} ms")
    ledger.close()


async def read(client: Client, meter: Meter, experiments: int) -> None:
    """The tools that change nothing."""

    def tool(name: str, **given: Any) -> Callable[[int], Awaitable[Any]]:
        return lambda turn: client.call_tool(name, given)

    await meter.measure("status", tool("status"))
    await meter.measure("read_program", tool("read_program"))
    await meter.measure("read_train", tool("read_train"))
    await meter.measure("history", tool("history"))
    await meter.measure("history, one verdict", tool("history", verdict="improved", offset=500))
    await meter.measure("history, one experiment", tool("history", experiment=experiments // 2))
    await meter.measure("wait_experiment, none runs", tool("wait_experiment"))
    await meter.measure("history, lessons", tool("history", lessons=True))


async def write(client: Client, meter: Meter) -> None:
    """The tools that change the candidate; a decision about a run also moves refs and writes its row."""

    def patch(turn: int) -> Awaitable[Any]:
        old, new = KNOB.format(0.02 if turn == 0 else turn), KNOB.format(turn + 1)
        text = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
        return client.call_tool("apply_patch", {"patch": text})

    def discard(_: int) -> Awaitable[Any]:
        return client.call_tool("discard", {"reason": "measured"})

    await meter.measure("apply_patch", patch)
    await discard(0)
    await meter.measure("discard", discard, before=lambda _: patch(0))


async def run(workspace: Path, experiments: int, calls: int) -> None:
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "bench", "--profile", "cpu"]
    start = time.perf_counter()
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        took = time.perf_counter() - start
        held = lock_holder(workspace)
        assert held
        meter = Meter(calls, psutil.Process(held.pid))
        print(f"server start to first answer  {took:.2f} s   CPU {sum(meter.server.cpu_times()[:4]):.2f} s")
        await read(client, meter, experiments)
        await write(client, meter)
        look_up(workspace, calls)
        print(f"resident memory of the server {meter.server.memory_info().rss / 2**20:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--workspace", type=Path, help="make it here, and leave it; or take the one that is here")
    given = parser.parse_args()
    print(f"{platform.platform(terse=True)}, Python {platform.python_version()}, {psutil.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        workspace = (given.workspace or Path(folder) / "workspace").absolute()
        if not workspace.exists():
            create(workspace)
            start = time.perf_counter()
            fill(workspace, given.experiments)
            print(f"{given.experiments} experiments written in {time.perf_counter() - start:.1f} s")
        anyio.run(run, workspace, given.experiments, given.calls)


if __name__ == "__main__":
    main()
