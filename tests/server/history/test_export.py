"""What other tools read."""

import csv as reader
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from weakref import ref

from server.history.export import ResultsFile, csv, jsonl, tsv
from server.history.ledger import Ledger
from server.records import Experiment, Figures, Trust, Verdict
from tests.support.builders import attempt, enter, experiment, of_task


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


def test_a_long_history_is_not_held_all_at_once() -> None:
    made, most = list[ref[Experiment]](), 0

    def rows() -> Iterator[Experiment]:
        nonlocal most
        for number in range(1, 100):
            row = experiment(number, Verdict.WORSE, 2.0, kept=False)
            made.append(ref(row))
            most = max(most, sum(one() is not None for one in made))
            yield row

    assert len(tsv(rows()).splitlines()) == 100
    assert most < 10


def test_what_the_preflight_refused_is_no_experiment_to_other_tools() -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.REFUSED)]
    assert len(tsv(rows).splitlines()) == 2
    assert len(jsonl(rows).splitlines()) == 2


def test_jsonl_gives_back_every_experiment_and_how_far_it_can_be_believed() -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.CRASHED)]
    documents = [json.loads(line) for line in jsonl(rows).splitlines()]
    assert [document.pop("trust") for document in documents] == ["unconfined", ""]
    assert [Experiment.model_validate(document) for document in documents] == rows


def test_the_tsv_of_a_task_names_its_metric_and_says_how_far_each_score_can_be_believed() -> None:
    rows = [
        of_task(experiment(1, Verdict.BASELINE, 3.12e-05, kept=True)),
        of_task(experiment(2, Verdict.IMPROVED, 1234567.25, kept=True), trust=Trust.JUDGED),
        of_task(experiment(3, Verdict.CRASHED, kept=False)),
    ]
    lines = [line.split("\t") for line in tsv(rows).splitlines()]
    assert lines[0] == ["commit", "ms", "memory_gb", "status", "description", "trust"]
    assert [(line[1], line[3], line[5]) for line in lines[1:]] == [
        ("3.12e-05", "keep", "printed"),
        ("1234567.25", "keep", "judged"),
        ("", "crash", ""),
    ]
    assert tsv([rows[2]]).splitlines()[0].split("\t")[1] == "score"  # nothing has told its name yet


def test_results_on_disk_get_the_columns_of_a_task_with_its_first_row(tmp_path: Path) -> None:
    old, new = experiment(1, Verdict.BASELINE, 2.0, kept=True), of_task(experiment(2, Verdict.IMPROVED, 7.5, kept=True))
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        results, file = ResultsFile(tmp_path / "results.tsv"), tmp_path / "results.tsv"
        enter(ledger, old)
        results.write(ledger)
        assert len(file.read_text(encoding="utf-8").splitlines()[0].split("\t")) == 5
        for row in (
            new,
            of_task(experiment(3, Verdict.WORSE, 8.5, kept=False)),
            of_task(experiment(4, Verdict.CRASHED, kept=False)),
            of_task(experiment(5, Verdict.CRASHED)),
            of_task(experiment(6, Verdict.CRASHED)),
        ):
            enter(ledger, row)
            results.write(ledger)
            assert file.read_text(encoding="utf-8") == tsv(ledger.all())
        before = file.stat().st_mtime_ns
        ResultsFile(file).restore(ledger)
        assert file.read_text(encoding="utf-8") == tsv(ledger.all()) and file.stat().st_mtime_ns >= before


def test_csv_has_columns_of_lane_and_agent_where_there_are_any_and_the_tsv_stays_as_it_is() -> None:
    rows = [experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.WORSE, 2.1, kept=False)]
    assert {"lane", "agent"}.isdisjoint(csv(rows).splitlines()[0].split(","))
    named = rows[1].model_copy(update={"attempt": rows[1].attempt.model_copy(update={"lane": "b", "agent": "ada"})})
    told = list(reader.DictReader(csv([rows[0], named]).splitlines()))
    assert [(row["lane"], row["agent"]) for row in told] == [("main", ""), ("b", "ada")]
    assert tsv([rows[0], named]) == tsv(rows)


def test_csv_and_jsonl_have_every_figure_of_a_task_by_its_own_name() -> None:
    row = of_task(experiment(1, Verdict.BASELINE, 12.5, kept=True), "latency", "µs", Trust.JUDGED)
    assert row.result and row.result.score
    score = row.result.score.model_copy(update={"details": {"log_ratio": -0.25, "pairs": 40}})
    figures = Figures.model_validate({"rss_mb": 3.5, "peak_memory_mb": 12.0})
    row = row.model_copy(update={"result": row.result.model_copy(update={"score": score, "figures": figures})})
    (told,) = reader.DictReader(csv([row]).splitlines())
    assert (told["metric"], told["value"], told["unit"], told["trust"]) == ("latency", "12.5", "µs", "judged")
    assert (told["score.log_ratio"], told["score.pairs"], told["figure.rss_mb"]) == ("-0.25", "40", "3.5")
    document = json.loads(jsonl([row]))
    assert document.pop("trust") == "judged" and Experiment.model_validate(document) == row
    assert csv([]).splitlines() == [""]
