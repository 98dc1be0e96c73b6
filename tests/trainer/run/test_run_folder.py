"""A run folder on a disk that has no room, in whichever way."""

import resource
from pathlib import Path

from trainer.run.run_folder import RunFolder


def test_a_disk_is_full_where_no_more_can_be_written(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert not RunFolder(tmp_path).full()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert RunFolder(tmp_path).full()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_of_a_tasks_trees_the_candidates_own_files_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data.csv").write_text("1\n", encoding="utf-8")
    folder = tmp_path / "run"
    for name in ("tree/src/deep/a.py", "tree/src/b.py", "tree/bench.sh", "tree/docs/x.md", "incumbent/src/b.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n", encoding="utf-8")
    (folder / "tree" / "data").symlink_to(outside)
    RunFolder(folder).keep_candidate(["src/**"])
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert left == ["tree", "tree/src", "tree/src/b.py", "tree/src/deep", "tree/src/deep/a.py"]
    assert (outside / "data.csv").exists(), "a link was followed"
    RunFolder(tmp_path / "none").keep_candidate(["src/**"])
