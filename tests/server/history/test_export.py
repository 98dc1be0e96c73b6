"""What other tools read."""

import json

from server.history.export import jsonl, tsv
from server.records import Experiment, Verdict
from tests.support.builders import attempt, experiment


def test_tsv_has_upstreams_columns_and_a_missing_score_is_missing() -> None:
    rows = [
        experiment(1, Verdict.BASELINE, 2.0, kept=True),
        experiment(2, Verdict.WORSE, 2.123456789, kept=False),
        experiment(3, Verdict.CRASHED, kept=False),
        experiment(4, Verdict.IMPROVED, 1.9),
        Experiment(attempt=attempt(5, "tabs\tand\nlines")),
    ]
    lines = [line.split("\t") for line in tsv(rows).splitlines()]
    assert lines[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [line[1:4] for line in lines[1:]] == [
        ["2.000000", "2.0", "keep"],
        ["2.123457", "2.0", "discard"],
        ["", "", "crash"],
        ["1.900000", "2.0", "open"],
        ["", "", "running"],
    ]
    assert lines[5][4] == "tabs and lines"


def test_what_the_preflight_refused_is_no_experiment_to_other_tools() -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.REFUSED)]
    assert len(tsv(rows).splitlines()) == 2
    assert len(jsonl(rows).splitlines()) == 2


def test_jsonl_gives_back_every_experiment_and_how_far_it_can_be_believed() -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.CRASHED)]
    documents = [json.loads(line) for line in jsonl(rows).splitlines()]
    assert [document.pop("trust") for document in documents] == ["unconfined", ""]
    assert [Experiment.model_validate(document) for document in documents] == rows
