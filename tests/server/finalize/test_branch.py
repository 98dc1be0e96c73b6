"""A branch of what a study has kept, on real repositories; the user's side of them stays as it was."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from server.cli.entry import main
from server.errors import Unavailable, WorkspaceUnusable
from server.finalize import branch, branch_text, pull_request
from server.finalize.branch import Branch, Wish
from server.finalize.kept import read
from server.paths import StudyPaths
from server.records import Verdict
from server.vcs.stack import Stack
from tests.support.night import TAG, Night, constants, long_night
from tests.support.polling import stretched
from tests.support.repositories import copy_repository, git, make_repository

TASK = "---\nname: t\ncommand: bash bench.sh\nmetric: {name: ms, unit: ms}\nscale: log\neditable: [src/**]\n---\n"
START = {"A": 1, "B": 2, "C": 3, "D": 4}


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("long") / "work"
    long_night(root, 30, 22).write()
    return root


@pytest.fixture
def whole(long: Path, tmp_path: Path) -> Path:
    """A copy of a study of 22 kept changes."""
    return copy_repository(long, tmp_path / 'my "re" pô\'s')


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Four kept: B surely, A hardly, A again, D surely; and one that was given up."""
    make_repository(tmp_path / "work", constants(**START))
    night = Night(tmp_path / "work")
    night.baseline(2.0, (2.001, 1.999))
    keep(night, 1.9, [1.9, 1.901], B=20)
    keep(night, 1.8995, [1.8995], B=20, A=10)
    night.tried({"train.py": constants(**{**START, "C": 0})}, 2.5, Verdict.WORSE, "C to 0")
    keep(night, 1.899, [1.899], B=20, A=11)
    keep(night, 1.7, [1.7, 1.7], B=20, A=11, D=40)
    night.write()
    return night.root


def keep(night: Night, value: float, confirmed: Sequence[float] = (), **knobs: object) -> None:
    told = ", ".join(f"{name} to {value}" for name, value in list(knobs.items())[-1:])
    night.tried({"train.py": constants(**{**START, **knobs})}, value, Verdict.IMPROVED, told, confirmed)


def made(root: Path, onto: str = "", **wish: object) -> Branch:
    """What the command does."""
    paths = StudyPaths(root / ".autoresearch" / TAG)
    with Stack(root, onto, branch.scratch(paths)) as stack:
        found = branch.plan(read(paths, stack), stack, Wish(onto, **wish))  # pyright: ignore[reportArgumentType]
        stack.write(found.name)
    return found


def users_side(root: Path) -> dict[str, object]:
    """Everything that is the user's: files, index, stash, worktrees, branches but ours, and where HEAD is."""
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    index = root / ".git" / "index"
    return {
        "files": {
            path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files if ".autoresearch" not in path.parts
        },
        "index": (index.read_bytes(), index.stat().st_mtime_ns),
        "head": (root / ".git" / "HEAD").read_bytes(),
        "stash": git(root, "stash", "list"),
        "worktrees": git(root, "worktree", "list", "--porcelain"),
        "refs": [ref for ref in git(root, "for-each-ref").splitlines() if "refs/heads/autoresearch-" not in ref],
        "state": sorted(path.name for path in (root / ".autoresearch" / TAG).iterdir()),
    }


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def dirty(root: Path) -> None:
    """A checkout as users leave it: changed, staged, new and stashed things."""
    (root / "train.py").write_text("half an idea", encoding="utf-8")
    git(root, "stash", "--quiet")
    (root / "train.py").write_text("another", encoding="utf-8")
    (root / "program.md").write_text((root / "program.md").read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    git(root, "add", "program.md")
    (root / "new.txt").write_text("mine", encoding="utf-8")


def test_a_commit_for_each_kept_change_ends_at_the_tree_that_was_measured(whole: Path) -> None:
    dirty(whole)
    before, start = users_side(whole), spent()
    found = made(whole, only="all")
    seconds = spent() - start
    assert users_side(whole) == before
    name = f"autoresearch-{TAG}"
    tree = git(whole, "rev-parse", f"{name}^{{tree}}")
    assert tree == git(whole, "rev-parse", f"autoresearch/{TAG}^{{tree}}") and found.measured
    numbers = [number for commit in found.commits for number in commit.numbers]
    assert len(numbers) == len(set(numbers)) == 22 and len(found.commits) < 22, "chains are squashed"
    assert git(whole, "rev-list", "--count", f"main..{name}") == str(len(found.commits))
    git(whole, "fsck", "--strict", "--no-dangling")
    assert seconds < stretched(2), "of this process and of git's, whatever else the machine does"


def test_each_commit_tells_its_effect_in_trailers(short: Path) -> None:
    made(short, only="all")
    name = f"autoresearch-{TAG}"
    told = git(short, "log", "--reverse", "--format=%s%n%(trailers:unfold)", f"main..{name}").split("\n\n")
    assert [text.splitlines()[0] for text in told] == ["B to 20", "A to 10; A to 11", "D to 40"]
    assert "Experiment: 4\nEffect: val_bpb -0.0995 ± 0.000" in told[0] and "2 confirmations, sigma 0.00" in told[0]
    assert "Metric: val_bpb 1.900500 (lower is better)" in told[0] and "Trust: sealed" in told[0]
    assert "Measured: this text" in told[0] and "Steps: 7, 10" in told[1]
    who = git(short, "log", "-1", "--format=%an <%ae>|%cn", name)
    assert "localhost" not in who or not git(short, "config", "--default", "", "user.name")


def test_the_default_takes_what_is_surely_larger_than_the_noise(short: Path) -> None:
    found = made(short)
    assert [commit.numbers for commit in found.commits] == [[4], [12]] and found.left == [[7, 10]]
    text = git(short, "show", f"autoresearch-{TAG}:train.py")
    assert "A = 1\nB = 20\nC = 3\nD = 40" in text and not found.measured
    told = "\n".join(branch_text.describe(found))
    assert "left out: 7, 10" in told and "was not measured on this base" in told
    assert [commit.numbers for commit in made(short, only="12, 4", name="x").commits] == [[4], [12]]
    with pytest.raises(Unavailable, match=r"Experiment 10, A to 11 \(it builds on 7\), conflicts"):
        made(short, only="10", name="y")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"only": "5"}, "Experiment 5 was not kept"),
        ({"only": "4;7"}, "takes sure, all"),
        ({"onto": "nowhere"}, "There is no commit nowhere"),
        ({"onto": "--help"}, "There is no commit --help"),
        ({"name": "-x"}, "cannot be the name"),
        ({"name": "a..b"}, "is not a valid branch name"),
        ({"name": f"autoresearch/{TAG}"}, "a server moves branches"),
        ({"name": "main"}, "The branch main exists"),
        ({"name": "main/sub"}, "main"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(short: Path, wish: dict[str, str], words: str) -> None:
    before = git(short, "for-each-ref")
    with pytest.raises(Unavailable, match=words) as refused:
        made(short, **{"only": "all", **wish})
    assert refused.value.next_step and git(short, "for-each-ref") == before


def test_a_conflict_is_told_with_both_sides_and_nothing_is_made(short: Path) -> None:
    git(short, "checkout", "--quiet", "-b", "other")
    (short / "train.py").write_text(constants(**{**START, "B": 77}), encoding="utf-8")
    git(short, "commit", "--quiet", "-am", "mine")
    before = git(short, "for-each-ref"), git(short, "count-objects", "-v")
    with pytest.raises(Unavailable, match=r"(?s)Experiment 4, B to 20, conflicts in train.py.*B = 77.*B = 20") as told:
        made(short, only="all")
    assert "--only 7,10,12" in told.value.next_step
    assert (git(short, "for-each-ref"), git(short, "count-objects", "-v")) == before
    found = made(short, only="7,10,12")
    assert git(short, "show", f"{found.name}:train.py").startswith('"""A model."""\n\nA = 11\nB = 77\nC = 3\nD = 40\n')


def test_what_the_branch_has_already_is_skipped(short: Path) -> None:
    (short / "train.py").write_text(constants(**{**START, "B": 20}), encoding="utf-8")
    git(short, "commit", "--quiet", "-am", "picked by hand")
    found = made(short, only="all")
    assert found.there == [[4]] and [commit.numbers for commit in found.commits] == [[7, 10], [12]]
    assert found.measured
    with pytest.raises(Unavailable, match="has all of that already"):
        made(short, onto=found.name, only="all", name="again")


def test_all_in_one_commit(whole: Path) -> None:
    found = made(whole, only="all", squash=True)
    assert git(whole, "rev-list", "--count", f"main..{found.name}") == "1" and found.measured
    assert "22" in git(whole, "log", "-1", "--format=%B", found.name) or len(found.commits[0].numbers) == 22


def test_several_files_are_added_deleted_and_keep_their_modes(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "work", "")
    (root / "program.md").write_text(TASK, encoding="utf-8")
    (root / "src" / "inner").mkdir(parents=True)
    for name in ("a.py", "inner/b.py", "run.sh"):
        (root / "src" / name).write_text(constants(**START), encoding="utf-8")
    (root / "src" / "run.sh").chmod(0o755)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "task")
    night = Night(root)
    night.baseline(10.0)
    added: dict[str, str | None] = {"src/deep/er/c.py": "x = 1\n", "src/run.sh": constants(**{**START, "A": 5})}
    night.tried(added, 8.0, Verdict.IMPROVED, "one", [8.0])
    night.tried(
        {"src/a.py": None, "src/inner/b.py": constants(**{**START, "D": 9})}, 6.0, Verdict.IMPROVED, "two", [6.0]
    )
    night.tried({"src/deep/er/c.py": "x = 2\n"}, 5.0, Verdict.IMPROVED, "three", [5.0])
    night.tried({"src/new.py": "y = 1\n"}, 4.0, Verdict.IMPROVED, "four, a file alone", [4.0])
    night.write()
    (root / "README").write_text("since then\n", encoding="utf-8")
    git(root, "add", "README")
    git(root, "commit", "--quiet", "-m", "since")
    found = made(root, only="all")
    assert [commit.numbers for commit in found.commits] == [[4], [2, 6], [8]]
    told = pull_request.text(found)
    assert "+++ b/src/new.py" in told and "+y = 1" in told and "+++ /dev/null" in told
    listed = git(root, "ls-tree", "-r", found.name)
    assert "100755" in next(line for line in listed.splitlines() if line.endswith("src/run.sh"))
    assert "src/deep/er/c.py" in listed and "src/a.py" not in listed and "README" in listed
    assert git(root, "diff", f"autoresearch/{TAG}", found.name, "--name-only") == "README"
    assert "Effect: ms -33.33 %" in git(root, "log", "--format=%B", f"main..{found.name}")


def test_hostile_words_of_an_agent_stay_words(tmp_path: Path) -> None:
    make_repository(tmp_path / "work", constants(**START))
    night = Night(tmp_path / "work")
    night.baseline(2.0, (2.0, 2.0))
    told = "x\x1b[2J <script>|`@octocat`\n\nSigned-off-by: boss\nEffect: -9"
    night.tried({"train.py": constants(**{**START, "A": 5})}, 1.5, Verdict.IMPROVED, told, [1.5], hypothesis=told)
    night.write()
    page = tmp_path / "pr.md"
    paths = ["--workspace", str(night.root), "--pr", str(page)]
    with pytest.raises(SystemExit) as ended:
        main(["finalize", *paths])
    assert ended.value.code == 0
    trailers = git(night.root, "log", "-1", "--format=%(trailers)", f"autoresearch-{TAG}")
    assert "Signed" not in trailers and trailers.count("Effect") == 1
    text = page.read_text(encoding="utf-8")
    assert "\x1b" not in text and "<script>" not in text and "@octocat" not in text
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG") and "```diff" in text


def test_a_study_without_a_keep_has_nothing_to_merge(tmp_path: Path) -> None:
    make_repository(tmp_path / "work", constants(**START))
    night = Night(tmp_path / "work")
    night.baseline(2.0)
    night.write()
    with pytest.raises(Unavailable, match="Nothing was kept"):
        made(night.root)


def test_a_branch_that_appears_meanwhile_is_left_alone(short: Path) -> None:
    paths = StudyPaths(short / ".autoresearch" / TAG)
    with Stack(short, "", branch.scratch(paths)) as stack:
        found = branch.plan(read(paths, stack), stack, Wish(only="all"))
        git(short, "branch", found.name)
        there = git(short, "rev-parse", found.name)
        with pytest.raises(Unavailable):
            stack.write(found.name)
    assert git(short, "rev-parse", found.name) == there


def test_a_detached_or_unborn_checkout_and_variables_of_a_hook_do_no_harm(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(short, "checkout", "--quiet", "--detach")
    monkeypatch.setenv("GIT_INDEX_FILE", os.devnull)
    monkeypatch.setenv("GIT_AUTHOR_DATE", "1970-01-01T00:00:00Z")
    assert made(short, only="all").measured
    monkeypatch.delenv("GIT_INDEX_FILE", raising=False)
    git(short, "checkout", "--quiet", "--orphan", "empty")
    with pytest.raises(WorkspaceUnusable, match="no commit HEAD"):
        made(short, only="all", name="other")
