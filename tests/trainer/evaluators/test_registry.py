"""The spec names the evaluator, and the supervisor's process imports no other."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from trainer.contract import Spec
from trainer.evaluators import registry

_SUPERVISOR = """
import sys
from trainer import supervisor
from trainer.contract import RunResult
from trainer.evaluators import registry

class Lines:
    def __init__(self, run_folder, spec):
        self.text, self.seed = run_folder.train.read_text(), spec.seed

    def run(self):
        figures = {"numpy": "numpy" in sys.modules, "sealed": "trainer.evaluators.sealed" in sys.modules}
        return RunResult("finished", "counted", {"lines": len(self.text.splitlines()), "seed": self.seed}, figures)

registry.register("lines", Lines)
supervisor.main()
"""


def supervised(folder: Path, referee: str) -> dict[str, Any]:
    """The result that a supervisor's process writes, with the evaluator `lines` registered in it."""
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 30.0, 30.0, str(folder), str(folder), str(folder), referee=referee)
    (folder / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
    (folder / "train.py").write_text("one = 1\ntwo = 2\n", encoding="utf-8")
    subprocess.run([sys.executable, "-c", _SUPERVISOR, str(folder)], check=True)
    return json.loads((folder / "result.json").read_bytes())


def test_the_evaluator_that_the_spec_names_scores_the_run_and_no_other_is_imported(tmp_path: Path) -> None:
    result = supervised(tmp_path, "lines")
    assert (result["outcome"], result["score"]) == ("finished", {"lines": 2, "seed": 42})
    assert result["figures"] == {"numpy": False, "sealed": False}


def test_a_name_that_no_evaluator_has_is_the_machines_failure(tmp_path: Path) -> None:
    result = supervised(tmp_path, "judge")
    assert result["outcome"] == "env_fail"
    own = "karpathy"  # which a supervisor registers itself
    known = ", ".join(sorted({*registry._EVALUATORS, own, "lines"}))  # pyright: ignore[reportPrivateUsage]
    assert result["reason"] == f"There is no evaluator named 'judge'; this version has: {known}."
    assert result["finished_at"]


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="already"):
        registry.register("sealed", registry._EVALUATORS["sealed"])  # pyright: ignore[reportPrivateUsage]
