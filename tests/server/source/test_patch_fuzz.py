"""benchmarks/patch_fuzz.py, for a second: nothing is applied wrong, and what the text determines is seldom refused."""

from benchmarks import patch_fuzz
from benchmarks.patch_cases import CLEAR
from benchmarks.patch_changes import CHANGED_CLEAR, KINDS


def test_no_perturbed_diff_is_applied_wrong_and_few_are_refused() -> None:
    tally = patch_fuzz.fuzz(seed=4, count=9 * len(KINDS))
    assert [(tried.name, tried.written.patch) for tried in tally.wrong] == []
    assert tally.determined > 100 and len(tally.lost) <= 0.03 * tally.determined
    assert all(tally.ends[kind]["right"] for kind in (*CLEAR, *CHANGED_CLEAR))


def test_no_diff_of_a_stale_base_is_applied_otherwise_than_git_merges_it() -> None:
    tally = patch_fuzz.stale(seed=4, count=20)
    assert [(tried.name, tried.written.patch) for tried in tally.wrong] == []
    assert sum(ends["right"] for ends in tally.ends.values()) > 20


def test_a_case_is_made_again_alone() -> None:
    all_of_them, alone = patch_fuzz.stale(seed=4, count=3), patch_fuzz.stale(seed=4, count=1, first=2)
    assert alone.tried == [tried for tried in all_of_them.tried if tried.name == "stale:2"] != []
    last = patch_fuzz.fuzz(seed=4, count=60).tried[-1]
    assert patch_fuzz.fuzz(seed=4, count=1, first=59).tried == [last]
