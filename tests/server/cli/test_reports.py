"""What the commands after a study say: the same numbers as page and report, and how sure each keep is."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.entry import app_of
from server.records import Verdict
from tests.server.reporting.test_chart import NIGHT
from tests.support.made_studies import decided, made, measured, study_paths, write

ROWS = [*NIGHT, decided(measured(made(9, "luck"), 0.9695, Verdict.IMPROVED, (4, 0.97)), kept=True)]
STANDINGS = {"1": "baseline", "4": "sure", "9": "noise"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("w")
    (folder / "program.md").write_text("---\nname: a study\n---\nDo research.\n", encoding="utf-8")
    write(study_paths(folder), ROWS, {4: {"category": "optimizer"}})
    return folder


def said(*words: object) -> str:
    told = CliRunner().invoke(app_of(), [str(word) for word in words], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    return told.output


def test_report_and_history_tell_a_sure_keep_from_one_within_the_noise(root: Path) -> None:
    told = said("report", "--workspace", root)
    assert "1.0000 → 0.9695" in told and "best single score of a keep was 0.9680" in told and "provisional" in told
    assert "4 experiments, 2 kept (1 sure, 1 within the noise, 0 provisional)" in told
    assert "optimizer: 1 tried, 1 kept, val_bpb −0.0320 ± 0.0" in told
    for command in (["report"], ["history", "--wide"]):
        lines = {
            line.split("│")[1].strip(): line for line in said(*command, "--workspace", root).splitlines() if "│" in line
        }
        assert "kept, within the noise" in lines["9"] and "kept, within" not in lines["4"] and "baseline" in lines["1"]
    told = {line.split()[0]: line for line in said("history", "--workspace", root).splitlines()}
    assert "improved, in the noise" in told["9"] and "improved  " in told["4"]


def test_exports_say_how_sure_each_keep_is(root: Path) -> None:
    rows = list(csv.DictReader(said("export", "csv", "--workspace", root).splitlines()))
    assert {row["experiment"]: row["standing"] for row in rows if row["standing"]} == STANDINGS
    documents = [json.loads(line) for line in said("export", "jsonl", "--workspace", root).splitlines()]
    assert {str(one["attempt"]["number"]): one["standing"] for one in documents if "standing" in one} == STANDINGS
    assert next(one for one in documents if one["attempt"]["number"] == 4)["error"] > 0
