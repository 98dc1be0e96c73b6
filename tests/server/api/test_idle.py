"""How long nothing has been measured is told to whoever asks where the night stands."""

from datetime import datetime, timedelta

import pytest

from server.api import views
from server.api.history_views import idle_words
from server.study.find_study import OperatorRequest, write_request
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.lifecycle import PATCH, begin, improved, kept_baseline

ENDED = datetime.fromisoformat(NOON)


def test_a_slot_that_waits_for_the_agent_is_named_with_the_minutes(study: Study) -> None:
    assert idle_words(study, ENDED) == ""  # nothing was measured yet
    improved(study)
    assert idle_words(study, ENDED + timedelta(seconds=30)) == ""
    told = idle_words(study, ENDED + timedelta(minutes=8))
    assert told.startswith("No run has been under way for 8 minutes.") and "second lane" in told
    assert views.status(study).idle.startswith("No run has been under way for ")


def test_nothing_is_idle_while_a_run_goes_on(study: Study) -> None:
    kept_baseline(study)
    study.apply_patch(PATCH)
    begin(study, 2)
    assert idle_words(study, ENDED + timedelta(hours=1)) == ""


@pytest.mark.parametrize("word", OperatorRequest)
def test_nothing_is_idle_where_the_operator_lets_nothing_start(study: Study, word: OperatorRequest) -> None:
    improved(study)
    write_request(study.workspace.state, word)
    assert idle_words(study, ENDED + timedelta(hours=1)) == ""
