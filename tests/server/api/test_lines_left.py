"""How many lines are left in train.py is told before a patch is refused for them."""

import pytest

from server.api import views
from server.errors import PatchRefused
from server.study.study import Study
from tests.support.lifecycle import kept_baseline


def _append(last: str, lines: int) -> str:
    added = "".join(f"+x{number} = {number}\n" for number in range(lines))
    return f"*** Begin Patch\n*** Update File: train.py\n@@\n {last}\n{added}*** End Patch"


def test_a_patch_may_add_as_many_lines_as_are_told_and_no_more(study: Study) -> None:
    kept_baseline(study)
    last = study.lane.candidate().text.rstrip("\n").rpartition("\n")[2]
    told = views.read_train(study, 1, 1)
    assert told.lines_left is not None
    assert told.lines_left == 630 - told.lines
    with pytest.raises(PatchRefused, match="would have 631 lines"):
        views.apply_patch(study, _append(last, told.lines_left + 1), "", 0)
    assert views.apply_patch(study, _append(last, told.lines_left), "", 0).lines_left == 0
