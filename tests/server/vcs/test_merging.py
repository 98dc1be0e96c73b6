"""What is merged although git sees a conflict, and what is not."""

from pathlib import Path

import pytest
from git import Repo

from server.errors import PatchRefused
from server.vcs.editing import rebase
from server.vcs.merging import merge_file
from tests.support.builders import only

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


@pytest.mark.parametrize(("line", "goes_on"), [("line 7 = 0", True), ("mine = 1", False)])
def test_a_candidate_that_has_nearly_all_of_what_was_kept_since_stays_as_it_is(
    tmp_path: Path, line: str, goes_on: bool
) -> None:
    """It was made of that, with a number changed; and not where it has its own in the same place."""
    kept = BASE.replace("b = 2\n", "".join(f"line {number}\n" for number in range(30)))
    mine = kept.replace("line 7\n", f"{line}\n") if goes_on else BASE.replace("b = 2", line)
    sides = only(BASE), only(mine), only(kept)
    with Repo.init(tmp_path) as repo:
        if goes_on:
            assert rebase(repo, tmp_path, sides, "experiment 9") == sides[1]
        else:
            with pytest.raises(PatchRefused, match="experiment 9 conflicts"):
                rebase(repo, tmp_path, sides, "experiment 9")
