"""What is merged although git sees a conflict, and what is not."""

from pathlib import Path

import pytest
from git import Repo

from server.vcs.merging import merge_file

BASE = "a = 1\nb = 2\nreturn a\n"
KEPT = "a = 1\nb = table()\nb = b.sum()\nreturn a\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        # Built on what was kept since, with a line more in its middle, at its end, or around it.
        (KEPT.replace("b = b.sum()", "b = b + 1\nb = b.sum()"), KEPT, "ours"),
        (KEPT.replace("b = b.sum()\n", "b = b.sum()\nb = b / 2\n"), KEPT, "ours"),
        (KEPT, KEPT.replace("b = table()", "c = 3\nb = table()"), "theirs"),
        # Something else in the same place.
        (BASE.replace("b = 2", "b = 3"), KEPT, ""),
        (KEPT.replace("b = b.sum()", "b = b.mean()"), KEPT, ""),
        # It has what the other one added, and also what that one removed.
        (BASE.replace("b = 2\n", "b = 2\nb = table()\nb = b.sum()\n"), KEPT, ""),
        # The other one has only removed a line.
        (BASE.replace("b = 2", "b = 4"), BASE.replace("b = 2\n", ""), ""),
    ],
)
def test_a_side_that_has_all_of_the_other_is_taken(tmp_path: Path, ours: str, theirs: str, merged: str) -> None:
    with Repo.init(tmp_path) as repo:
        text, conflicts = merge_file(repo, None, (BASE, ours, theirs), ("ours", "before", "theirs"))
    if merged:
        assert (text, conflicts) == ({"ours": ours, "theirs": theirs}[merged], "")
    else:
        assert conflicts.startswith("<<<<<<< ours") and "||||||| before" in conflicts


def test_one_place_may_be_taken_and_another_stay_in_conflict(tmp_path: Path) -> None:
    gap = "".join(f"line {number}\n" for number in range(9))
    fuller = KEPT.replace("b = b.sum()\n", "b = b.sum()\nb = b / 2\n")
    with Repo.init(tmp_path) as repo:
        sides = (f"{BASE}{gap}z = 0\n", f"{fuller}{gap}z = 1\n", f"{KEPT}{gap}z = 2\n")
        text, conflicts = merge_file(repo, None, sides, ("ours", "before", "theirs"))
    assert text.startswith(fuller) and "z = 1" in conflicts and "b = " not in conflicts
