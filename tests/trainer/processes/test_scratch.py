"""A scratch folder goes away, whatever train.py has put into it."""

import os
from pathlib import Path

from trainer.contract import ScratchRole
from trainer.processes import scratch


def test_no_two_are_the_same(tmp_path: Path) -> None:
    assert scratch.make(tmp_path, ScratchRole.CANDIDATE) != scratch.make(tmp_path, ScratchRole.CANDIDATE)


def test_depth_modes_and_links_do_not_hold_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    top = scratch.make(tmp_path, ScratchRole.CANDIDATE)
    (top / "link").symlink_to(outside)
    (top / ".0").mkdir()  # names that removal itself might use
    os.mkfifo(top / "pipe")
    deep, here = top, os.open(".", os.O_RDONLY)
    os.chdir(deep)
    for _ in range(3000):  # a path far longer than the system takes
        os.mkdir("d")
        os.chdir("d")
    Path("file").write_text("x", encoding="utf-8")
    os.fchdir(here)
    os.close(here)
    for mode in (0o000, 0o300, 0o500):
        folder = top / f"mode {mode:o}"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner").chmod(mode)
        folder.chmod(mode)
    scratch.remove(top)
    assert not top.exists() and (outside / "precious").exists()
