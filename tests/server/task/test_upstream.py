"""karpathy/autoresearch as it is: known by its two files, and what it lacks is said before anything runs."""

import shutil
import sys
from pathlib import Path

import pytest

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.records import Trust, lm_names
from server.task.definition import Task
from server.task.program import load
from server.task.requirements import describe_run, lacking, other_workspaces
from server.task.task_words import metric_in_words, words_of
from server.task.upstream import PREPARE, audit_asked, reach, require_pinned, upstream_shape
from trainer.contract import Referee

STAND_IN = Path(__file__).parents[2] / "fixtures" / "stand_ins" / "upstream"
FILES = ["prepare.py", "train.py", "program.md"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of upstream's shape give the full command, and a home folder with its data."""
    home = tmp_path / "home"
    for name in ("data", "tokenizer"):
        (home / ".cache" / "autoresearch" / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    root = tmp_path / "workspace"
    shutil.copytree(STAND_IN, root)
    packages = root / ".venv" / "lib" / "python3.11" / "site-packages"
    (packages / "torch").mkdir(parents=True)
    (root / ".venv" / "bin").mkdir()
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (root / ".venv" / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n", encoding="utf-8")
    return root


def task_of(root: Path) -> Task:
    return load(root / "program.md").task


def with_front_matter(root: Path, *lines: str) -> Task:
    text = "\n".join(["---", *lines, "---", "Go.", ""])
    (root / "program.md").write_text(text, encoding="utf-8")
    return task_of(root)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def problems(root: Path, files: list[str] | None = None) -> list[tuple[str, bool]]:
    found = list(lacking(task_of(root), root, FILES if files is None else files))
    assert all(lack.remedy and len(lack.problem.splitlines()) == 1 for lack in found)
    return [(lack.problem, lack.fatal) for lack in found]


def test_a_repository_of_its_shape_is_taken_as_it_is(root: Path) -> None:
    task = task_of(root)
    assert task.kind is Referee.KARPATHY
    assert (
        "prepare.py has make_dataloader and evaluate_bpb" in task.kind_reason and "no front matter" in task.kind_reason
    )
    assert (task.measure.name, task.direction, task.editable) == (lm_names.NAME, "lower", ["train.py"])
    assert (task.budget_seconds, task.setup_seconds + task.evaluation_seconds) == (1, 300)
    assert words_of(task).candidate == "train.py"
    assert not problems(root)


def test_upstreams_own_limit_is_ten_minutes(root: Path) -> None:
    rewrite(root / PREPARE, "TIME_BUDGET = 1", "TIME_BUDGET = 300  # five minutes")
    told = describe_run(with_front_matter(root, "referee: karpathy", "audit: false"))
    assert told.startswith("runs it as it is") and "ends it after 600 s; only bounded" in told


@pytest.mark.parametrize(
    ("written", "seconds"), [("300", 300), ("5 * 60", 300), ("2.5", 2.5), ("60*(2+3) # s", 300), ("1_000", 1000)]
)
def test_the_budget_is_read_and_not_run(root: Path, written: str, seconds: float) -> None:
    rewrite(root / PREPARE, "TIME_BUDGET = 1", f"TIME_BUDGET = {written}")
    assert task_of(root).budget_seconds == seconds


@pytest.mark.parametrize("written", ["int(os.environ['T'])", "-5", "0", "9 ** 9 ** 9", "1 / 0", "'300'", "True and 3"])
def test_a_budget_that_is_no_number_is_asked_for(root: Path, written: str) -> None:
    rewrite(root / PREPARE, "TIME_BUDGET = 1", f"TIME_BUDGET = {written}")
    with pytest.raises(ProgramInvalid, match=r"TIME_BUDGET in prepare.py is no plain number.*budget_seconds"):
        task_of(root)
    assert with_front_matter(root, "referee: karpathy", "budget_seconds: 20").budget_seconds == 20


@pytest.mark.parametrize("name", ["make_dataloader", "evaluate_bpb", "TIME_BUDGET"])
def test_what_lacks_a_name_is_no_such_repository(root: Path, name: str) -> None:
    rewrite(root / PREPARE, name, f"my_{name}")
    assert upstream_shape(root) is None
    assert task_of(root).kind is Referee.SEALED
    with pytest.raises(ProgramInvalid, match=r"has `referee: karpathy`, and there is no prepare.py with"):
        with_front_matter(root, "referee: karpathy")


def test_a_train_py_with_a_session_is_ours(root: Path) -> None:
    (root / "train.py").write_text("from trainer import Session\n", encoding="utf-8")
    assert task_of(root).kind is Referee.SEALED


def test_front_matter_alone_makes_it_a_language_model_of_ours_and_doctor_says_how_not(root: Path) -> None:
    assert with_front_matter(root, "name: mine").kind is Referee.SEALED
    assert "with `referee: karpathy`" in other_workspaces(root, FILES)
    task = with_front_matter(root, "referee: karpathy", "setup_seconds: 9", "metrics: {peak_vram_mb: {share: 1.2}}")
    assert (task.kind, task.setup_seconds, task.budget_seconds) == (Referee.KARPATHY, 9, 1)
    assert task.kind_reason == "program.md names it"


@pytest.mark.parametrize(
    "line",
    ["build: make", "scale: log", "paired: true", "network: true", "metric: ms", "direction: higher", "editable: [a]"],
)
def test_what_the_repository_fixes_is_refused_with_its_line(root: Path, line: str) -> None:
    name = line.partition(":")[0]
    with pytest.raises(ProgramInvalid, match=f"line 3, {name}: .*the repository as it is, and this is fixed there"):
        with_front_matter(root, "referee: karpathy", line)


def test_what_it_fixes_may_be_said_again(root: Path) -> None:
    lines = ("referee: karpathy", f"metric: {lm_names.NAME}", "direction: lower", "editable: train.py")
    assert with_front_matter(root, *lines, "budget_seconds: 1").kind is Referee.KARPATHY
    with pytest.raises(ProgramInvalid, match=r"has budget_seconds: 9, and TIME_BUDGET in prepare.py is 1"):
        with_front_matter(root, *lines, "budget_seconds: 9")


def test_what_it_lacks_is_named_with_the_next_step(root: Path) -> None:
    assert problems(root, ["program.md", "train.py"]) == [("git has no prepare.py", True)]
    shutil.rmtree(root / ".venv" / "lib" / "python3.11" / "site-packages" / "torch")
    assert problems(root)[0][0].endswith("python has no torch, which prepare.py or train.py imports")
    shutil.rmtree(root / ".venv")
    assert problems(root) == [(f"there is no {root / '.venv/bin/python'}", True)]
    shutil.rmtree(Path.home() / ".cache")
    assert len(problems(root)) == 2  # all that is missing, at once


def test_data_that_is_not_prepared_is_named(root: Path) -> None:
    cache = Path.home() / ".cache" / "autoresearch"
    shutil.rmtree(cache / "data")
    assert problems(root) == [(f"there is no data in {cache}", True)]
    shutil.rmtree(cache)
    assert problems(root) == [(f"there is no data and no tokenizer in {cache}", True)]


def test_doubts_about_the_machine_end_nothing(root: Path) -> None:
    with (root / "train.py").open("a", encoding="utf-8") as file:
        file.write('\ndevice = torch.device("cuda")\nget_kernel("a/b")\n')
    found = problems(root)
    assert not any(fatal for _, fatal in found)
    assert any("fetches a kernel" in problem for problem, _ in found)


def test_a_run_sees_the_environment_and_the_data_where_they_are_looked_for(root: Path) -> None:
    found = reach(task_of(root), root)
    assert found.python == ".venv/bin/python"
    assert dict(found.links) == {".venv": str(root / ".venv")}
    assert dict(found.home_links) == {".cache/autoresearch": str(Path.home() / ".cache/autoresearch")}
    (Path.home() / ".cache/huggingface/hub").mkdir(parents=True)
    (Path.home() / ".cache/huggingface/token").touch()
    assert ".cache/huggingface/hub" in dict(reach(task_of(root), root).home_links)


def test_another_interpreter_is_taken_where_it_is_named(root: Path) -> None:
    other = root.parent / "other"
    shutil.move(root / ".venv", other)
    task = with_front_matter(root, "referee: karpathy", f"python: {other}/bin/python")
    assert not problems(root)
    assert reach(task, root)[:1] == ((((".venv"), str(other)),),)
    (other / "pyvenv.cfg").unlink()
    assert reach(task, root).python == f"{other}/bin/python"


def test_a_prepare_py_that_changes_is_refused_and_line_ends_are_no_change(root: Path) -> None:
    pinned = (root / PREPARE).read_bytes()
    require_pinned(root, pinned)
    (root / PREPARE).write_bytes(pinned.replace(b"\n", b"\r\n"))
    require_pinned(root, pinned)
    rewrite(root / PREPARE, "EVAL_TOKENS = 32 * 256", "EVAL_TOKENS = 32")
    with pytest.raises(WorkspaceUnusable, match=r"prepare.py has changed since.*git checkout -- prepare.py.*--tag"):
        require_pinned(root, pinned)


def test_the_promises_that_nobody_can_enforce_are_told(root: Path) -> None:
    audited, printed = task_of(root), with_front_matter(root, "referee: karpathy", "audit: false")
    assert "counts its seconds of training" in describe_run(printed)
    assert "could be training" in describe_run(audited)
    assert all("its seed is fixed in the file" in describe_run(task) for task in (audited, printed))
    assert "by the logits of train.py's model" in metric_in_words(audited) and "prints" in metric_in_words(printed)
    assert audited.sha256 != printed.sha256


@pytest.mark.parametrize(("trust", "asked"), [(None, "try"), (Trust.AUDITED, "must"), (Trust.PRINTED, "")])
def test_a_candidate_is_audited_as_the_incumbent_was(root: Path, trust: Trust | None, asked: str) -> None:
    assert audit_asked(trust) == asked
    terms = task_of(root).terms(audit=asked)
    assert terms is not None and terms.audit == asked
