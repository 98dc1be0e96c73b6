"""train.py's own word: it is run as it is and evaluates itself, in its process, and the last line of the metric counts.

The referee owns the files, the kill and the network. It does not own the five minutes, which train.py sums up itself,
nor the score: the trust is `printed`.
"""

from dataclasses import replace
from pathlib import Path
from shlex import quote

from trainer.contract import RunResult, Score, Spec, TaskSpec
from trainer.evaluators.command import CommandEvaluator
from trainer.run.run_folder import RunFolder

# What upstream's train.py prints beside its score.
FIGURES = ("peak_vram_mb", "num_steps", "num_params_M", "total_tokens_M")
_OFFLINE = 'export HF_HUB_OFFLINE=1 HF_HOME="$HOME/.cache/huggingface"'


def command(task: TaskSpec, *words: str) -> str:
    """The shell words that start the workspace's interpreter on `words`, as train.py's process is always started."""
    return f"{_OFFLINE}; exec {' '.join(map(quote, (task.python, *words)))}"


def kill_seconds(spec: Spec) -> float:
    """After how long a run is ended, whatever it does: its budget, its set-up and its evaluation."""
    return spec.budget_seconds + spec.setup_seconds + spec.evaluation_seconds


class OwnWord:
    """Runs one experiment as upstream's loop does, and takes the number that train.py prints."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        self._run_folder, self._spec, self._task = run_folder, spec, spec.task or TaskSpec("")

    def run(self) -> RunResult:
        """The whole experiment. Raises nothing: every end is an outcome."""
        if self._spec.task is None:
            return RunResult("env_fail", "The run's spec has no task: was it written by another version?")
        figures = tuple(dict.fromkeys((*self._task.figures, *FIGURES)))
        task = replace(self._task, command=command(self._task, "train.py"), repeats=1, paired=False, figures=figures)
        limit = kill_seconds(self._spec)
        ended = CommandEvaluator(self._run_folder, replace(self._spec, budget_seconds=limit, task=task)).run()
        if ended.score is not None:
            return self._believable(ended, ended.score)
        return replace(ended, reason=self._in_words(ended, limit))

    def _believable(self, ended: RunResult, score: Score) -> RunResult:
        """The last number is the score, however many were printed; one that no text can have is none."""
        if score.value <= 0:
            told = f"train.py printed {score.name} {score.value:g}, which no text has: it is above 0."
            return replace(ended, outcome="invalid", reason=told, score=None, cause="metric")
        return replace(ended, score=replace(score, details={"samples": 1, "runs": 1, "spread": 0.0}))

    def _in_words(self, ended: RunResult, limit: float) -> str:
        name, python = self._task.metric, Path(self._task.python)
        match ended.cause:
            case "budget":
                budget = f"{self._spec.budget_seconds:g} s of training (TIME_BUDGET in prepare.py)"
                return f"train.py did not end within {limit:g} s: {budget}, and what set-up and evaluation may take."
            case "no_command":
                step = "The operator makes it (`uv sync`), or names another as `python` in program.md."
                return f"There is no {python} in reach of the run, so nothing was judged. {step}"
            case "metric" if "no number" in ended.reason:
                return f"train.py ended without a line `{name}: 0.9979`, which upstream's prints as its last words."
            case _:
                return ended.reason.replace("The command ", "train.py ").replace("The commands ", "train.py ")
