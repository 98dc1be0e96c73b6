"""Logs of other tools are read as reports: what is no number is none, and what cannot be read is counted aloud."""

from pathlib import Path

from server.foreign.reported import ReportedLog, best_first, describe_row, read_log, tried_before
from tests.support.foreign import lay_out


def log_of(name: str, file: str, root: Path) -> ReportedLog:
    lay_out(name, root)
    return read_log(root / file, file)


def test_rows_segments_crashes_and_lines_that_are_no_rows(tmp_path: Path) -> None:
    found = log_of("auto", ".auto/log.jsonl", tmp_path)
    assert [(row.run, row.segment, row.status, row.value) for row in found.rows] == [
        ("1", 0, "keep", 9.5),
        ("2", 1, "keep", 40.0),
        ("3", 1, "crash", None),  # 0 beside a crash is no number
        ("4", 1, "keep", None),
        ("5", 1, "discard", 37.0),
    ]
    assert found.header and (found.header.metric, found.header.unit, found.header.direction) == (
        "steps_made",
        "steps",
        "lower",
    )
    assert found.skipped == ["line 6 is no run but hook", "line 8 is not a JSON object"]
    assert "2 lines of .auto/log.jsonl cannot be read: line 6 is no run but hook; line 8" in found.summary
    assert found.rows[2].lesson == "hypothesis: fewer branches; rollback: array index out of range"
    assert all(row.trust == "reported" for row in found.rows)
    assert found.figures == ["words"]


def test_the_best_are_those_of_the_last_segment_that_were_kept(tmp_path: Path) -> None:
    found = log_of("auto", ".auto/log.jsonl", tmp_path)
    assert [row.run for row in best_first(found.rows, lambda value: value)] == ["2"]
    assert describe_row(found.rows[1], "steps") == "2: keep 40 steps, segment 2, Baseline in steps"


def test_what_was_tried_is_found_again_by_its_words(tmp_path: Path) -> None:
    found = log_of("auto", ".auto/log.jsonl", tmp_path)
    assert [row.run for row in tried_before(found, "use a lookup table of separators in the loop")] == ["5", "3"]
    assert tried_before(found, "sort the words first") == []
    assert tried_before(ReportedLog(file="x"), "anything") == []


def test_a_table_with_a_header_is_read_by_its_names(tmp_path: Path) -> None:
    found = log_of("leo", "results.tsv", tmp_path)
    assert [(row.run, row.status, row.value, row.commit) for row in found.rows] == [
        ("0", "baseline", 85.2, "a1b2c3d"),
        ("1", "keep", 87.1, "b2c3d4e"),
        ("2a", "crash", None, ""),
    ]
    assert found.header and (found.header.direction, found.header.metric) == ("higher", None)
    assert found.skipped == ["line 7 has 2 fields"]


def test_the_table_of_karpathy_is_read(tmp_path: Path) -> None:
    found = log_of("karpathy_table", "results.tsv", tmp_path)
    assert [(row.value, row.description) for row in found.rows] == [
        (0.9979, "baseline"),
        (None, "double model width (OOM)"),
    ]
    assert found.header and found.header.metric == "val_bpb"


def test_a_log_is_read_anew_when_it_has_grown_and_odd_files_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_log(path, "log.jsonl").rows == []
    path.write_bytes(b'\xef\xbb\xbf{"run": 1, "metric": 1e999, "status": "keep"}\n\xff\n{"run": true}\n[1]\n')
    found = read_log(path, "log.jsonl")
    assert [(row.run, row.value) for row in found.rows] == [("1", None)]
    assert len(found.skipped) == 3
    with path.open("a", encoding="utf-8") as file:
        file.write('{"run": 2, "metric": "3.5"}\n')
    assert [(row.run, row.value, row.status) for row in read_log(path, "log.jsonl").rows][1:] == [("2", 3.5, "unknown")]
    (tmp_path / "results.tsv").write_text("no\tsuch\tcolumns\n1\t2\t3\n", encoding="utf-8")
    found = read_log(tmp_path / "results.tsv", "results.tsv")  # of something else
    assert (found.rows, found.skipped) == ([], [])
