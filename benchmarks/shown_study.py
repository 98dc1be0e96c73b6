"""The study that the pictures show: the real server, a real client, some twenty real experiments of a small GPT.

A script plays the agent. The knobs of train.py begin badly set, so that something can be found in minutes on a CPU;
what each change does to the score is measured, not promised.
"""

import re
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import anyio
from mcp import Client, StdioServerParameters

from server.cli.scaffold import create
from server.clients.client_config import serving

_START = {"MATRIX_LR": "0.002", "EMBED_LR": "0.01", "HEAD_LR": "0.0005", "WARMUP": "0.3"}
_START_MACHINE = ('"smoke": (1, 32, 32, 4, 4)', '"smoke": (1, 32, 32, 16, 4)')
_PROMISING = "promising"
_KEPT = ("improved", "simpler")
_BASELINE_RUNS = 3


class Step(NamedTuple):
    """One idea: the line of a knob and its new value, or a piece of the text and what takes its place."""

    description: str
    hypothesis: str
    before: str
    after: str


class Note(NamedTuple):
    """Something that the agent writes down."""

    text: str
    idea: bool = False


def _rows(batch: int, depth: int = 1) -> str:
    """The line of the machine's class: depth, width, channels of a head, rows of a batch and of a pass."""
    return f"({depth}, 32, 32, {batch}, 4)"


_GELU = "F.gelu(self.up(norm(x)))"
_LOG = "    session.log(loss=loss,"
_LATE = '    if session.progress > 0.5:\n        updates[1].param_group[0]["peak_lr"] *= 0.5\n'
_LOOP = "while session.training():"
_ENDLESS = "while step < 1_000_000:\n    session.training()"
STEPS: tuple[Step | Note, ...] = (
    Step("a head that learns four times as fast", "the unembedding hardly moves in 30 steps", "HEAD_LR", "0.002"),
    Step("GELU in place of ReLU²", "smoother gradients early on", "F.relu(self.up(norm(x))).square()", _GELU),
    Step("batches of 8 rows, not 16", "twice as many steps in the same time", _rows(16), _rows(8)),
    Note("Thirty steps are few: what matters most is how fast each group of weights learns. Architecture comes later."),
    Step("no rise of the rates at the start", "a third of the budget is spent on it", "WARMUP", "0.02"),
    Step("lower the head's rate after half of the time", "the head overfits the last batches", _LOG, _LATE + _LOG),
    Step("four times the rate of the head again", "the last step up has helped", "HEAD_LR", "0.008"),
    Step("batches of 4 rows", "more steps have helped once", _rows(8), _rows(4)),
    Step("sharper attention", "one head has to choose", "QK_SCALE", "1.5"),
    Step("embeddings that learn fifteen times as fast", "each row is seen a few times only", "EMBED_LR", "0.15"),
    Note("Scale the embeddings' rate with the frequency of the token", idea=True),
    Step("five times the rate of the matrices", "they have caught up with the rest by now", "MATRIX_LR", "0.01"),
    Step("smaller embeddings at the start", "the residual stream starts too loud", "EMBED_STD", "0.3"),
    Step("count steps, not seconds", "a loop without a clock is simpler", _LOOP, _ENDLESS),
    Step("an MLP of twice the stream's width", "half of its work, nearly as many steps more", "MLP_RATIO", "2"),
    Note("Two blocks of half the width at the same speed", idea=True),
    Step("a second block", "depth helps as soon as the rates are right", _rows(4), _rows(4, depth=2)),
    Step("rates that fall from the start", "a linear schedule is hard to beat", "WARMDOWN", "0.95"),
    Step("less momentum in Muon", "in so few steps it never fills up", "MUON_MOMENTUM", "0.85"),
    Step("scales and gates that learn faster", "they are few, and far from their values", "SCALAR_LR", "0.06"),
    Step("twice the rate of the head", "where is its end?", "HEAD_LR", "0.016"),
    Step("a larger table of token pairs", "fewer pairs share a row", "BIGRAM_ROWS", "20"),
    Step("no weight decay", "nothing is seen twice in this time", "MATRIX_DECAY", "0.0"),
    Step("rates that fall to nothing", "the last steps then settle", "FINAL_LR", "0.0"),
)
EXPERIMENTS = 1 + sum(isinstance(step, Step) for step in STEPS)
_OVER = "over"  # a file in the workspace


def over(folder: Path) -> bool:
    """Whether the last idea was tried."""
    return (folder / ".autoresearch" / _OVER).exists()


async def study(folder: Path, budget: float, shown: Event) -> None:
    """Make it in a workspace that `prepare` has made, and keep its server until it was shown.

    Args:
        budget: seconds of training a run.
    """
    options = ["--workspace", str(folder), "--profile", "smoke", "--budget", str(budget)]
    async with Client(StdioServerParameters(command=sys.executable, args=[*serving(), *options])) as client:
        for number in range(_BASELINE_RUNS):
            _say((await _measured(client, "the baseline again" if number else "baseline", ""))["verdict"])
        for step in STEPS:
            _say(await _taken(client, step, folder))
        _end(folder)
        await anyio.to_thread.run_sync(shown.wait)


def _end(folder: Path) -> None:
    (folder / ".autoresearch" / _OVER).touch()


def _candidate(folder: Path) -> str:
    """The text that the agent edits."""
    return next(folder.glob(".autoresearch/*/worktree/train.py")).read_text(encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def prepare(folder: Path) -> None:
    """A workspace whose train.py learns far too slowly."""
    create(folder)
    train = folder / "train.py"
    text = train.read_text(encoding="utf-8")
    for name, value in _START.items():
        text, found = re.subn(rf"(?m)^{name} = (.*? if GPU else )?[\d.]+", f"{name} = {value}", text)
        assert found == 1, name
    assert text.count(_START_MACHINE[0]) == 1
    train.write_text(text.replace(*_START_MACHINE), encoding="utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=autoresearch", "-c", "user.email=autoresearch@localhost"]
    subprocess.run([*git, "commit", "--quiet", "--all", "--message", "Begin with low learning rates"], check=True)


async def _taken(client: Client, step: Step | Note, folder: Path) -> str:
    """Try an idea, as a careful agent does, or write a note down. Returns what came of it."""
    if isinstance(step, Note):
        await _call(client, "note", text=step.text, idea=step.idea)
        return f"noted: {step.text}"
    if (patch := _patch(_candidate(folder), step)) is None:
        return f"left out, its place is not there: {step.description}"
    await _call(client, "apply_patch", patch=patch)
    found = await _measured(client, step.description, step.hypothesis)
    while found["verdict"] == _PROMISING:
        found = await _measured(client, f"{step.description}, again", "")
    move = "keep" if found["verdict"] in _KEPT else "discard"
    await _call(client, move, reason="as the rule says")
    return f"{found['verdict']}, {move}: {step.description}"


def _patch(text: str, step: Step) -> str | None:
    """Its patch of this text; None where the place is not there once."""
    before, after = step.before, step.after
    if before.isupper():
        line = re.search(rf"(?m)^{before} = (.*? if GPU else )?[\d.]+", text)
        if line is None:
            return None
        before, after = line[0], f"{before} = {after}"
    lines = [line for line in text.splitlines() if before in line]
    if len(lines) != 1:
        return None
    fresh = lines[0].replace(before, after)
    return f"<<<<<<< SEARCH\n{lines[0]}\n=======\n{fresh}\n>>>>>>> REPLACE"


async def _measured(client: Client, description: str, hypothesis: str) -> dict[str, Any]:
    found = await _call(client, "run_experiment", description=description, hypothesis=hypothesis)
    while found.get("status") in ("running", "queued"):
        found = await _call(client, "wait_experiment")
    return found


async def _call(client: Client, tool: str, **told: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, told)
    found: dict[str, Any] = answer.structured_content or {}
    if answer.is_error:
        raise SystemExit(f"{tool}: {answer.content}")
    return found
