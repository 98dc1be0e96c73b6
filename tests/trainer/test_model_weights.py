"""A compiled model is handed in like any other: wherever torch.compile has put a wrapper, the replica has none."""

import shutil
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from server.records import Outcome, Trust
from server.runs.run_spec import RunLimits
from server.source.patch import apply
from tests.attack.cases import BASE
from tests.support.builders import attempt
from tests.support.polling import ended
from tests.support.runs import local_executor, start_run

GATES = """
<<<<<<< SEARCH
class Model(nn.Module):
=======
class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.silu(self.norm(x.mT).mT)


class Model(nn.Module):
>>>>>>> REPLACE
<<<<<<< SEARCH
        return self.head(x)
=======
        for gate in self.gates:
            x = gate(x)
        return self.head(x)
>>>>>>> REPLACE
<<<<<<< SEARCH
        self.head = nn.Linear(16, session.vocab_size)
=======
        self.head = nn.Linear(16, session.vocab_size)
        self.gates = nn.ModuleList(Gate() for _ in range(2))
>>>>>>> REPLACE
"""
COMPILED = """
<<<<<<< SEARCH
model = Model().to(session.device)
=======
model = Model().to(session.device)
{change}
model(torch.zeros(8, 65, dtype=torch.int64)[:, :-1]).sum().backward()
model.zero_grad()
print("handed in:", type(model).__name__)
print("compiled graphs:", torch._dynamo.utils.counters["stats"]["unique_graphs"])
>>>>>>> REPLACE
"""


def thorough(change: str) -> ParameterSet:
    return pytest.param(change, marks=pytest.mark.thorough)


def run(tmp_path: Path, data: Path, change: str, preflight: bool = False) -> str:
    """The log of a run that must have a score."""
    executor = local_executor(tmp_path / "tag", data, tmp_path / "imports")
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=5, preflight=preflight)
    about = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.8})
    start_run(executor, about, apply(apply(BASE, GATES, "train.py"), COMPILED.format(change=change), "train.py"), terms)
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED, (result, executor.runs.of(1).log_tail(4000))
    assert result.score and 2.0 < result.score.value < 3.4 and result.trust is not Trust.UNCONFINED
    return executor.runs.of(1).log_tail(4000)


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    ["eager", pytest.param("inductor", marks=[pytest.mark.thorough, needs_compiler])],
    ids=["its graphs run as they are", "into code"],
)
def test_a_part_that_is_compiled_and_the_whole_around_it(tmp_path: Path, data: Path, backend: str) -> None:
    wrapped = f'model.gates[0] = torch.compile(model.gates[0], backend="{backend}")\n'
    wrapped += 'model = torch.compile(model, backend="eager")'
    log = run(tmp_path, data, f"{wrapped}\nmodel.gates[1](torch.zeros(8, 64, 16))", preflight=True)
    assert "handed in: OptimizedModule" in log


PARTS_OF_A_PART = (
    'model.gates[1] = torch.compile(nn.Sequential(torch.compile(model.gates[1], backend="eager")), backend="eager")'
)
PARTS = (
    'parts = [torch.compile(gate, backend="eager") for gate in model.gates]\n'
    'model.gates = nn.ModuleList([torch.compile(nn.Sequential(*parts), backend="eager")])'
)
TWO_NAMES = (
    'model.same = torch.compile(model.gates[0], backend="eager")\nmodel.same(torch.zeros(8, 16, 64).mT)\n'
    "model.head.weight = model.embed.weight\nmodel.embed.weight.data.mul_(0.1)"
)


@pytest.mark.parametrize(
    "change",
    [
        thorough(f"{PARTS}\n{TWO_NAMES}"),
        thorough(f"{PARTS_OF_A_PART}\n{TWO_NAMES}"),
        thorough(PARTS),
        thorough('model.compile(backend="eager")\nmodel.gates[0].compile(backend="eager")'),
        thorough('model.forward = torch.compile(model.forward, backend="eager")'),
        thorough('model = torch.optim.swa_utils.AveragedModel(torch.compile(model, backend="eager"))\nmodel.train()'),
    ],
    ids=[
        "parts of a part, compiled again under another name",
        "a part of a part, another under two names",
        "parts of a part",
        "in place",
        "its forward",
        "an average",
    ],
)
def test_wherever_the_wrappers_are(tmp_path: Path, data: Path, change: str) -> None:
    assert "compiled graphs: 0" not in run(tmp_path, data, change)
