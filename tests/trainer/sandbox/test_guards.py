"""The guards one by one, on this machine as it is; the cheats (test_cheats.py) attack them from within a run."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.records import Outcome, Trust
from server.runs.run_spec import RunLimits
from server.source.patch import apply
from tests.attack.cases import BASE
from tests.support.builders import attempt
from tests.support.polling import ended
from tests.support.repositories import QUICK
from tests.support.runs import local_executor, start_run
from trainer.processes.usage import METER
from trainer.sandbox import allowlist, landlock, seatbelt, seccomp
from trainer.sandbox.allowlist import PACKAGES
from trainer.sandbox.privileges import GUARDS, HELD
from trainer.sandbox.reach import Allowlist

NOBODY = 65534
LIMITED = """
import resource, sys
for what, least, most in ("CORE", 0, 0), ("FSIZE", 1 << 20, 64 << 30), ("NPROC", 64, 16384):
    soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{what}"))
    assert least <= soft == hard <= most, (what, soft, hard)
try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 60, 1 << 60))
except (OSError, ValueError):
    pass
else:
    assert sys.platform != "linux", "a limit was raised"
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


def probe(uid: int | None = None, *words: str, **settings: str) -> dict[str, str]:
    """The guards as `python -m trainer.guards_view` finds them, as this user or another."""
    command = [sys.executable, "-P", "-B", "-m", "trainer.guards_view", *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES), **settings}
    done = subprocess.run(command, env=environment, cwd="/", user=uid, group=uid, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_guard_is_held_or_says_why_not() -> None:
    found = probe()
    assert tuple(found) == GUARDS
    assert all(found.values())
    if sys.platform == "linux" and landlock.abi() >= 6:
        assert set(found.values()) == {"held"}


def test_where_cpu_seconds_are_the_budget_there_is_a_guard_that_counts_them() -> None:
    found = probe(None, "counted")
    assert tuple(found) == (*GUARDS, METER) and found[METER]
    assert (found[METER] == HELD) == (sys.platform == "linux" and found["network"] == HELD), found


@linux
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_has_the_same_guards() -> None:
    try:
        found = probe(NOBODY, "counted")
    except (AssertionError, PermissionError):
        pytest.skip(f"{pwd.getpwuid(NOBODY).pw_name} cannot run {sys.executable}")
    assert found == probe(None, "counted")
    assert probe(NOBODY, "counted", HOME="/root") == found  # a home that cannot be read is none


def test_the_corpus_and_other_runs_are_out_of_reach_whatever_is_allowed(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "00001"
    (run / "candidate").mkdir(parents=True)
    (tmp_path / "imports" / "package").mkdir(parents=True)
    for name in ("module.py", "package/inner.py", "corpus.txt"):
        (tmp_path / "imports" / name).write_text("", encoding="utf-8")
    hidden = [tmp_path / "data", run.parent]
    allowed = allowlist.build_allowlist(run / "train.py", run / "candidate", tmp_path / "imports", hidden)
    secret = [PACKAGES / "trainer" / "data" / "classics.txt.xz", tmp_path / "data", tmp_path / "imports" / "corpus.txt"]
    secret += [run / "spec.json", PACKAGES / ".git", tmp_path / "ledger.sqlite3"]
    for path in allowed.readable:
        assert not any(file.is_relative_to(path) for file in secret), path
    for file in ("imports/module.py", "imports/package/inner.py", "runs/00001/train.py"):
        assert tmp_path / file in allowed.readable
    assert any((PACKAGES / "trainer" / "session.py").is_relative_to(path) for path in allowed.readable)


def test_the_rules_for_macos_name_what_may_be_reached() -> None:
    allowed = Allowlist([Path('/opt/an "odd" place')], [Path("/a/list")], [], Path("/runs/1/candidate"))
    rules = seatbelt.rules(allowed)
    assert '(subpath "/opt/an \\"odd\\" place")' in rules and '(literal "/a/list")' in rules
    assert '(allow file-write* (subpath "/runs/1/candidate")' in rules
    assert rules.index("(deny file-write*)") < rules.index("(allow file-write*")  # the later rule wins
    assert rules.count("(") == rules.count(")")


@linux
def test_the_filter_names_each_call_once_and_every_jump_stays_inside() -> None:
    numbers = [number for table in seccomp.TABLES for pair in table.values() if (number := pair[0]) is not None]
    assert len(numbers) == len(set(numbers))
    for column, architecture in seccomp.MACHINES.values():
        program = seccomp.program(column, architecture)
        jumps = [(at, *program[8 * at + 2 : 8 * at + 4]) for at in range(len(program) // 8 - 1)]
        assert all(at + 1 + max(yes, no) < len(program) // 8 for at, yes, no in jumps)


@linux
def test_a_run_that_must_be_sealed_and_is_not_does_not_start(tmp_path: Path, data: Path) -> None:
    executor = local_executor(tmp_path, data, tmp_path / "imports")
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1, confine=False, require_sealed=True)
    start_run(executor, attempt(1).model_copy(update={"profile": "smoke"}), QUICK, terms)
    result = ended(executor)
    assert result.outcome is Outcome.ENV_FAIL and "switched off by the operator" in result.reason


def test_a_run_without_guards_says_so(tmp_path: Path, data: Path) -> None:
    executor = local_executor(tmp_path, data, tmp_path / "imports")
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1, confine=False, preflight=False)
    start_run(executor, attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.5}), QUICK, terms)
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED and result.trust is Trust.UNCONFINED
    assert set(result.guards.values()) == {"switched off by the operator"}


def test_what_train_py_takes_of_the_machine_is_limited_for_good(tmp_path: Path, data: Path) -> None:
    executor = local_executor(tmp_path, data, tmp_path / "imports")
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1, preflight=False)
    started = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.5})
    start_run(executor, started, LIMITED + QUICK, terms)
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED, result


COMPILED = """
<<<<<<< SEARCH
model = Model().to(session.device)
=======
class Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(x) * x.sigmoid()


model = Model().to(session.device)
model.head = nn.Sequential(gate := Gate(), model.head)
gate.compile()
model(torch.zeros(8, 65, dtype=torch.int64)[:, :-1]).sum().backward()
model.zero_grad()
compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
>>>>>>> REPLACE
<<<<<<< SEARCH
session.submit(model)
=======
print("compiled graphs:", compiled)
print("found compiled:", torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"])
session.submit(model)
>>>>>>> REPLACE
"""


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_torch_compile_works_within_the_guards_and_the_evaluation_does_not_wait_for_it(
    tmp_path: Path, data: Path
) -> None:
    executor = local_executor(tmp_path, data, tmp_path / "imports")
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=2)
    compiled = apply(BASE, COMPILED)
    baseline = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.8, "baseline": True})
    start_run(executor, baseline, compiled, terms)
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED, (result, executor.runs.of(1).log_tail(4000))
    assert "compiled graphs: 1" in executor.runs.of(1).log_tail(4000)
    setup, evaluation = result.figures.setup_seconds, result.figures.evaluation_seconds
    assert setup and evaluation and evaluation < setup / 2

    kernels = tmp_path / "kernels"
    kept = {path: path.stat().st_mtime_ns for path in kernels.rglob("*")}
    later = baseline.model_copy(update={"number": 2, "baseline": False})
    start_run(executor, later, compiled, terms)
    ended(executor, 2)
    assert "found compiled: 0" in executor.runs.of(1).log_tail(4000) and "found compiled: 2" in executor.runs.of(
        2
    ).log_tail(4000)
    assert kept and {path: path.stat().st_mtime_ns for path in kernels.rglob("*")} == kept
