"""The study that the pictures show: the real server, a real client, some twenty real experiments of a small GPT.

A script plays the agent. The knobs of train.py begin badly set, so that something can be found in minutes on a CPU;
what each change does to the score is measured, not promised.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from mcp import Client, StdioServerParameters

from server.cli.scaffold import create
from server.clients.client_config import serving

_START = {"MATRIX_LR": "0.001", "EMBED_LR": "0.01", "HEAD_LR": "0.0005", "WARMUP": "0.3"}
_START_MACHINE = ('"smoke": (1, 32, 32, 4, 4)', '"smoke": (1, 32, 32, 16, 4)')
_PROMISING, _KEPT, _BASELINE_RUNS = "promising", ("improved", "simpler"), 3


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


_LOOP = "while session.training():\n"
_LOG = "    session.log(loss=loss,"
STEPS: tuple[Step | Note, ...] = (
    Step(
        "four times the rate of the matrices", "the loss falls in a straight line: far too slow", "MATRIX_LR", "0.004"
    ),
    Step("a head that learns eight times as fast", "the unembedding hardly moves in 20 steps", "HEAD_LR", "0.004"),
    Step(
        "GELU in place of ReLU²",
        "smoother gradients early on",
        "F.relu(self.up(norm(x))).square()",
        "F.gelu(self.up(norm(x)))",
    ),
    Note("Twenty steps are few: what matters most is how fast each group of weights learns. Architecture comes later."),
    Step(
        "batches of 4 rows, not 16",
        "four times as many steps in the same time",
        "(1, 32, 32, 16, 4)",
        "(1, 32, 32, 4, 4)",
    ),
    Step("no rise of the rates at the start", "a third of the budget is spent on it", "WARMUP", "0.02"),
    Step(
        "lower the head's rate after half of the time",
        "the head overfits the last batches",
        _LOG,
        f'    if session.progress > 0.5:\n        updates[1].param_group[0]["peak_lr"] *= 0.5\n{_LOG}',
    ),
    Step("embeddings that learn fifteen times as fast", "each row is seen a few times only", "EMBED_LR", "0.15"),
    Note("Scale the embeddings' rate with the frequency of the token", idea=True),
    Step("five times the rate of the matrices again", "the last step up still helped", "MATRIX_LR", "0.02"),
    Step("sharper attention", "one head has to choose", "QK_SCALE", "1.5"),
    Step("four times the rate of the matrices once more", "where is its end?", "MATRIX_LR", "0.08"),
    Step("smaller embeddings at the start", "the residual stream starts too loud", "EMBED_STD", "0.3"),
    Step(
        "count steps, not seconds",
        "a loop without a clock is simpler",
        _LOOP,
        "while step < 1_000_000:\n    session.training()\n",
    ),
    Step("twice the rate of the head", "it was never brought to its end", "HEAD_LR", "0.008"),
    Step(
        "an MLP of twice the stream's width",
        "half of its work, nearly as many steps more",
        "MLP_RATIO",
        "2",
    ),
    Note("Two blocks of half the width at the same speed", idea=True),
    Step("a second block", "depth helps as soon as the rates are right", "(1, 32, 32, 4, 4)", "(2, 32, 32, 4, 4)"),
    Step("rates that fall from the start", "a linear schedule is hard to beat", "WARMDOWN", "0.95"),
    Step("less momentum in Muon", "in so few steps it never fills up", "MUON_MOMENTUM", "0.85"),
    Step("scales and gates that learn faster", "they are few, and far from their values", "SCALAR_LR", "0.06"),
    Step("half as many rows a step once more", "more steps, noisier ones", "(1, 32, 32, 4, 4)", "(1, 32, 32, 2, 2)"),
    Step("a larger table of token pairs", "fewer pairs share a row", "BIGRAM_ROWS", "20"),
    Step("no weight decay", "nothing is seen twice in this time", "MATRIX_DECAY", "0.0"),
)


async def study(folder: Path, budget: float, tell: Any = print) -> None:
    """Make it in a new workspace. `budget`: seconds of training a run."""
    prepare(folder)
    options = ["--workspace", str(folder), "--profile", "smoke", "--budget", str(budget)]
    async with Client(StdioServerParameters(command=sys.executable, args=[*serving(), *options])) as client:
        for number in range(_BASELINE_RUNS):
            tell((await _measured(client, "the baseline again" if number else "baseline", ""))["verdict"])
        for step in STEPS:
            tell(await _taken(client, step, next(folder.glob(".autoresearch/*/worktree/train.py"))))


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


async def _taken(client: Client, step: Step | Note, candidate: Path) -> str:
    """Try an idea, as a careful agent does, or write a note down. Returns what came of it."""
    if isinstance(step, Note):
        await _call(client, "note", text=step.text, idea=step.idea)
        return f"noted: {step.text}"
    if (patch := _patch(candidate.read_text(encoding="utf-8"), step)) is None:
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
    lines = [line for line in text.splitlines() if before.splitlines()[0] in line]
    if len(lines) != 1:
        return None
    fresh = lines[0].replace(before.rstrip("\n"), after.rstrip("\n"))
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
