"""Which evaluators there are, by the name in a run's spec. An evaluator is imported when a run asks for it."""

from collections.abc import Callable
from typing import Protocol

from trainer.contract import RunResult, Spec
from trainer.run.run_folder import RunFolder


class Evaluator(Protocol):
    """What runs the candidate in a run folder and scores it."""

    def run(self) -> RunResult:
        """The whole run. Raises nothing: every end is an outcome. Leaves no process of the run behind."""
        ...


MakeEvaluator = Callable[[RunFolder, Spec], Evaluator]


def _sealed(run_folder: RunFolder, spec: Spec) -> Evaluator:
    from trainer.evaluators.sealed import SealedLM

    return SealedLM(run_folder, spec)


def _command(run_folder: RunFolder, spec: Spec) -> Evaluator:
    from trainer.evaluators.command import CommandEvaluator

    return CommandEvaluator(run_folder, spec)


def _judged(run_folder: RunFolder, spec: Spec) -> Evaluator:
    from trainer.evaluators.judged import Judged

    return Judged(run_folder, spec)


_EVALUATORS: dict[str, MakeEvaluator] = {"sealed": _sealed, "command": _command, "judged": _judged}


def register(name: str, make: MakeEvaluator) -> None:
    """Add an evaluator under the name by which specs ask for it. Raises ValueError: the name is taken."""
    if name in _EVALUATORS:
        raise ValueError(f"There is an evaluator named {name!r} already.")
    _EVALUATORS[name] = make


def evaluate(run_folder: RunFolder, spec: Spec) -> RunResult:
    """Let the evaluator that the spec names do the run; without such an evaluator the result is `env_fail`."""
    if (make := _EVALUATORS.get(spec.referee)) is None:
        known = ", ".join(sorted(_EVALUATORS))
        return RunResult("env_fail", f"There is no evaluator named {spec.referee!r}; this version has: {known}.")
    return make(run_folder, spec).run()
