"""Words that only some modules may know."""

import re

from tests.repo.architecture import ROOT, source_files

LM_NAMES = re.compile(r"val[_-](?:bpb|tokens|bytes)", re.IGNORECASE)
MAY_KNOW = ("server/lm_names.py", "server/templates/", "trainer/evaluators/")


def test_the_score_of_language_models_is_named_by_their_evaluator_and_one_module() -> None:
    """Everything else takes the name of a score from its metric, so that it works for any."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in source_files("server", "trainer")}
    knowing = {path for path, text in texts.items() if LM_NAMES.search(text)}
    assert not [path for path in knowing if not path.startswith(MAY_KNOW)]
    assert {"server/lm_names.py", "trainer/evaluators/sealed.py"} <= knowing
