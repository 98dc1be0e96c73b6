"""A night of changes whose effect is known, on the example json-tokenizer through the real server: what is kept?

    python benchmarks/measured_night.py [--null 40] [--busy]

The tokenizer gets an empty loop, and changes of a known effect change its length: 2 %, 5 % and 20 % of the CPU time of
one document. One kind is a little slower, but warms the interpreter up at import: a referee that measures too early
takes it for faster. The null changes add a constant or rename a parameter. The agent is as naive as can be: it repeats
what is promising, keeps what it may, discards the rest. --busy runs an endless loop on each core beside it.
"""

import argparse
import difflib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from server.vcs.git_environment import init_repository

EXAMPLE = Path(__file__).parents[1] / "server" / "templates" / "tasks" / "json-tokenizer"
FILE = "src/tokenizer.py"
NULL = "null"
WARM = "slower, warms up earlier"
FASTER = {"2 % faster": 0.02, "5 % faster": 0.05, "20 % faster": 0.2}
REAL = [*3 * ["2 % faster"], *3 * ["5 % faster"], *2 * ["20 % faster"], *2 * [WARM]]
SLOWER = 0.03  # what a slower one loses
SPIN_SHARE = 1.2  # the empty loop at first, by the rest of the work: the faster ones take it away bit by bit
SPIN = "SPIN = {}\n"
WARM_UPS = "WARM_UPS = {}\n"
NOTHING = "NOTHING = {}\n"
HEAD = SPIN.format(0) + WARM_UPS.format(0) + NOTHING.format(0)
LOOP = "    for _ in range(SPIN * len(text) // 1000):\n        pass\n    found = []\n"
TAIL = '\n\nfor _ in range(WARM_UPS):\n    tokens(\'[{"a": [1, -2.5e3, true, null, "text \\\\n"]}]\' * 20)\n'


class Candidate:
    """The text of the tokenizer as it is kept, and how long its loop is."""

    def __init__(self) -> None:
        text = (EXAMPLE / FILE).read_text(encoding="utf-8")
        self.text = text.replace("SPACES = ", HEAD + "SPACES = ", 1).replace("    found = []\n", LOOP, 1) + TAIL
        self.spin, self.names = 0, 0
        self.work, self.per_spin = _calibrated(self.text)
        self.text, self.spin = self.with_seconds((1 + SPIN_SHARE) * self.work)

    @property
    def seconds(self) -> float:
        """CPU seconds of the documents that it was calibrated with."""
        return self.work + self.spin * self.per_spin

    def with_seconds(self, seconds: float) -> tuple[str, int]:
        """The text, with the loop that makes it take so long; and the loop's length."""
        spin = round((seconds - self.work) / self.per_spin)
        return self.text.replace(SPIN.format(self.spin), SPIN.format(spin)), spin

    def changed(self, kind: str) -> tuple[str, int]:
        """The text after a change of this kind, and the length of its loop."""
        self.names += 1
        if kind in FASTER:
            return self.with_seconds((1 - FASTER[kind]) * self.seconds)
        if kind == WARM:
            text, spin = self.with_seconds((1 + SLOWER) * self.seconds)
            return text.replace(WARM_UPS.format(0), WARM_UPS.format(40 + self.names)), spin
        if self.names % 2:
            return re.sub(r"NOTHING\w* =", f"NOTHING_{self.names} =", self.text, count=1), self.spin
        start = self.text.index("def is_space(")
        end = self.text.index("\n\n", start)
        function = f"def is_space(char_{self.names}):\n    return char_{self.names} in SPACES"
        return self.text[:start] + function + self.text[end:], self.spin


def _calibrated(text: str) -> tuple[float, float]:
    """CPU seconds for some documents without the loop, and what each unit of SPIN adds to them."""
    judge: dict[str, Any] = {"__name__": "judge"}
    exec((EXAMPLE / "judge" / "judge.py").read_text(encoding="utf-8"), judge)
    drawn = judge["cases"](1)
    questions = [json.dumps(next(drawn)[0]) for _ in range(8)]
    spins = (0, 5000)
    modules: list[dict[str, Any]] = [{}, {}]
    for spin, module in zip(spins, modules, strict=True):
        exec(text.replace(SPIN.format(0), SPIN.format(spin)), module)
    best = [[float("inf")] * len(questions) for _ in spins]
    for _ in range(15):
        for module, seconds in zip(modules, best, strict=True):
            for place, question in enumerate(questions):
                begun = time.process_time()
                json.dumps(module["tokens"](json.loads(question)))
                seconds[place] = min(seconds[place], time.process_time() - begun)
    without, spinning = map(sum, best)
    return without, (spinning - without) / spins[1]


class Agent:
    """Keeps what it may."""

    def __init__(self, client: Client, candidate: Candidate) -> None:
        self._client, self._candidate = client, candidate
        self.ends: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, list[float]] = {}  # from the patch to the verdict
        self.runs = 0

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await self._client.call_tool(tool, arguments)
        if answer.is_error or answer.structured_content is None:
            raise SystemExit(f"{tool}: {''.join(getattr(block, 'text', '') for block in answer.content)}")
        return answer.structured_content

    async def measure(self, description: str) -> dict[str, Any]:
        self.runs += 1
        return await self.call("run_experiment", description=description, wait_seconds=3600)

    async def attempt(self, kind: str) -> None:
        begun, candidate = time.monotonic(), self._candidate
        text, spin = candidate.changed(kind)
        await self.call("apply_patch", patch=_diff(candidate.text, text))
        result = await self.measure(f"{kind}, {candidate.names}")
        while result["verdict"] == "promising":
            result = await self.measure(f"{kind}, {candidate.names}, again")
        taken = time.monotonic() - begun
        kept = result["verdict"] in ("improved", "simpler")
        await self.call("keep" if kept else "discard", reason=result["verdict"])
        if kept:
            candidate.text, candidate.spin = text, spin
        self.ends[kind, "kept" if kept else "discarded"] += 1
        self.seconds.setdefault(kind, []).append(taken)
        print(f"{kind}: {result['verdict']} after {taken:.1f} s: {result['why']}", flush=True)


def _diff(before: str, after: str) -> str:
    lines = (text.splitlines(keepends=True) for text in (before, after))
    return "".join(difflib.unified_diff(*lines, f"a/{FILE}", f"b/{FILE}"))


async def study(workspace: Path, candidate: Candidate, kinds: list[str]) -> Agent:
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "night"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        agent = Agent(client, candidate)
        await agent.measure("baseline")
        for kind in kinds:
            await agent.attempt(kind)
    return agent


def make_workspace(folder: Path, candidate: Candidate) -> None:
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "changes"))
    (folder / FILE).write_text(candidate.text, encoding="utf-8")
    (folder / ".gitignore").write_text(".autoresearch/\n__pycache__/\n", encoding="utf-8")
    init_repository(folder, "Start with a loop that does nothing")


def report(agent: Agent, nulls: int, taken: float) -> None:
    ends, everything = agent.ends, [one for times in agent.seconds.values() for one in times]
    slower = f"{ends[WARM, 'kept']} of {REAL.count(WARM)} slower ones"
    print(f"\nfalse keeps: {ends[NULL, 'kept']} of {nulls} null changes, {slower}")
    print("found: " + ", ".join(f"{ends[kind, 'kept']} of {REAL.count(kind)} {kind}" for kind in FASTER))
    for kind, times in agent.seconds.items():
        print(f"seconds to a verdict, {kind}: median {statistics.median(times):.1f}, longest {max(times):.1f}")
    print(f"{len(everything)} changes, {agent.runs} runs, {taken:.0f} s in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=40)
    parser.add_argument("--busy", action="store_true", help="an endless loop on each core beside it")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the changes")
    options, begun = parser.parse_args(), time.monotonic()
    candidate = Candidate()
    kinds = [*options.null * [NULL], *REAL]
    random.Random(options.seed).shuffle(kinds)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        make_workspace(Path(name) / "workspace", candidate)
        for _ in range((os.cpu_count() or 1) if options.busy else 0):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        agent = anyio.run(study, Path(name) / "workspace", candidate, kinds)
    report(agent, options.null, time.monotonic() - begun)


if __name__ == "__main__":
    main()
