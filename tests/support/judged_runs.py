"""Runs of judged tasks without a study: a real supervisor, judge and workers, in a folder of a test's."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.contract import MetricSource, Spec, TaskSpec

# Sums of numbers, which take a while to add up one by one.
SUMS = """
from random import Random
from trainer.judging import WrongAnswer

def cases(seed):
    draw = Random(seed)
    for _ in range(400):
        numbers = [draw.randrange(1000) for _ in range(2000)]
        yield numbers, sum(numbers)

def score(answer, truth):
    if answer != truth:
        raise WrongAnswer(f"{answer} is not the sum")
    return float(truth % 7 + 1)
"""
WORKER = "import sys\nsys.path.append('src')\nfrom trainer.judging import serve\nfrom work import work\nserve(work)\n"
SLOW = """
def work(numbers):
    total = 0
    for _ in range(30):
        total = 0
        for number in numbers:
            total += number
    return total
"""
FAST = "def work(numbers):\n    total = 0\n    for number in numbers:\n        total += number\n    return total\n"


@dataclass
class JudgedTask:
    """A task with its files; `work` is the text of the editable file src/work.py."""

    judge: str = SUMS
    worker: str = WORKER
    source: MetricSource = MetricSource.CPU
    unit: str = "ms"
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, str] = field(default_factory=dict[str, str])
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    hidden: tuple[str, ...] = ("data/hidden/**",)
    program: tuple[str, str] = ("-m", "trainer.supervisor")

    def run(self, folder: Path, work: str, incumbent: str | None = None) -> dict[str, Any]:
        """The result.json of one run; with an incumbent's text it is paired."""
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder / "tree", work)
        if incumbent is not None:
            self._write(folder / "incumbent", incumbent)
        (folder / "spec.json").write_text(self._spec(folder, incumbent is not None).to_json(), encoding="utf-8")
        (folder / "train.py").write_text("", encoding="utf-8")
        subprocess.run([sys.executable, "-P", *self.program, str(folder)], check=True, timeout=300)
        return json.loads((folder / "result.json").read_bytes())

    def _write(self, tree: Path, work: str) -> None:
        texts = {"judge/judge.py": self.judge, "judge/worker.py": self.worker, "src/work.py": work, **self.files}
        for name, text in texts.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text, encoding="utf-8")

    def _spec(self, folder: Path, paired: bool) -> Spec:
        task = TaskSpec(
            "time" if self.source in (MetricSource.CPU, MetricSource.WALL) else "points",
            unit=self.unit,
            scale=self.settings.get("scale", "log" if paired else "linear"),
            source=self.source,
            worker=self.settings.get("worker", "{python} judge/worker.py"),
            judge="judge/judge.py",
            editable=("src/**",),
            hidden=self.hidden,
            paired=paired,
            **{name: value for name, value in self.settings.items() if name not in ("worker", "scale")},
        )
        spec = Spec(
            number=1,
            profile="smoke",
            seed=12345,
            budget_seconds=300.0,
            grace_seconds=1.0,
            setup_seconds=300.0,
            evaluation_seconds=300.0,
            data=str(folder / "data"),
            imports=str(folder),
            cookie=str(folder),
            referee="judged",
            task=task,
        )
        return replace(spec, **self.limits)
