"""A night of changes whose effect is known, on real training through the real server: what is kept, and rightly?

    python benchmarks/null_night.py [--null 40] [--profile smoke] [--budget 1]

The null patches change how often the loop prints, or rename a variable; a comment and a seed are refused before they
cost a run. Between them come patches that are known to be bad (a learning rate near zero) and, first of all, one that
is known to be good: the night starts from a train.py whose learning rate is a hundredth. The agent is as naive as can
be: it repeats what is promising, keeps what it may, discards the rest.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from server.cli.scaffold import create
from server.vcs.git_environment import init_repository

GOOD = "good"
NULL = "null"
BAD = "bad"
RATE = "EMBED_LR = 0.3 if GPU else 0.15  # AdamW"
SLOW = "EMBED_LR = 0.0015  # AdamW"
NONE = "EMBED_LR = 0.0001  # AdamW"


class Agent:
    """Keeps what it may."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ends: Counter[tuple[str, str]] = Counter()
        self.runs = 0

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """The answer, None for a refusal."""
        answer = await self._client.call_tool(tool, arguments)
        return None if answer.is_error else answer.structured_content

    async def measure(self, description: str) -> dict[str, Any] | None:
        self.runs += 1
        return await self.call("run_experiment", description=description, wait_seconds=3600)

    async def attempt(self, kind: str, start: str, line: str) -> None:
        """Replace the line that begins with `start`, measure, and keep it if that is allowed."""
        answer = await self.call("read_train")
        assert answer is not None
        before = next(text[6:] for text in answer["text"].splitlines() if text[6:].startswith(start))
        patch = f"<<<<<<< SEARCH\n{before}\n=======\n{line}\n>>>>>>> REPLACE"
        if await self.call("apply_patch", patch=patch) is None:
            raise SystemExit(f"{before!r} → {line!r} does not apply")
        result = await self.measure(kind)
        if result is None:
            self.runs -= 1
            await self.call("discard", reason="not improved")
            self.ends[kind, "refused"] += 1
            return
        while result and result["verdict"] == "promising":
            result = await self.measure(f"{kind}, again")
        kept = await self.call("keep", reason="improved") is not None
        if not kept:
            await self.call("discard", reason="not improved")
        assert result is not None
        print(f"{kind}: {result['verdict']}, {'kept' if kept else 'discarded'}: {result['why']}", flush=True)
        self.ends[kind, "kept" if kept else "discarded"] += 1


async def study(workspace: Path, options: argparse.Namespace) -> Agent:
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "null"]
    arguments += ["--profile", options.profile, "--budget", str(options.budget)]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        agent = Agent(client)
        for _ in range(3):
            await agent.measure("baseline")
        await agent.attempt(GOOD, "EMBED_LR", RATE)
        await agent.attempt("comment", "LOG_EVERY", "LOG_EVERY = 10  # nothing but this")
        await agent.attempt("seed", "LOG_EVERY", "LOG_EVERY = 10\ntorch.manual_seed(137)")
        for number in range(options.null):
            line = f"LOG_EVERY = {11 + number}" if number % 2 else f"LOG_EVERY = EVERY_{number} = 10"
            await agent.attempt(NULL, "LOG_EVERY", line)
            if number % 10 == 9:
                await agent.attempt(BAD, "EMBED_LR", NONE.replace("1  #", f"{number}  #"))
        print(f"noise: {(await agent.call('status') or {})['noise']}")
    return agent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=40)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--budget", type=float, default=1.0)
    options, begun = parser.parse_args(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name) / "workspace"
        create(workspace)
        train = workspace / "train.py"
        train.write_text(train.read_text(encoding="utf-8").replace(RATE, SLOW), encoding="utf-8")
        init_repository(workspace, "Start slower than need be")
        agent = anyio.run(study, workspace, options)
    ends = agent.ends
    print(
        f"\nfalse keeps: {ends[NULL, 'kept']} of {options.null} null patches, {ends[BAD, 'kept']} of "
        f"{ends[BAD, 'kept'] + ends[BAD, 'discarded']} bad ones; found: {ends[GOOD, 'kept']} of 1 good one\n"
        f"{agent.runs} runs of {options.budget:g} s, profile {options.profile}, {time.monotonic() - begun:.0f} s in all"
    )


if __name__ == "__main__":
    main()
