"""What the author of a judged task imports: `WrongAnswer` in judge.py, `serve` in a worker written in Python.

judge.py defines two functions, and may define the rest:

    cases(seed)            yields pairs (question, truth), the same for the same seed. A question is a JSON value, the
                           truth anything: it stays in the judge. `answer = yield question, truth` is given what was
                           answered, once `score` has taken it; in a paired task each side has cases of its own then.
                           `yield question, truth, NEW_WORKER` asks a process that knows nothing of what was before.
    score(answer, truth)   the score of one answer, or None where the referee measures time or memory. Raises
                           WrongAnswer where the answer is wrong. May return {"score": x, "other_figure": y}.
    total(scores)          one number, or such a dictionary, from all that `score` returned; without it the mean.
    CASE_CPU_SECONDS       CPU seconds that an answer may take, where the goal is quality within a budget.
    CASE_SECONDS           seconds of wall time that an answer may take; without it 10, and 5 for each CPU second.

The worker is any program that reads a JSON value a line and writes a JSON value a line. In Python:

    from trainer.judging import serve
    from tokenizer import tokenize

    serve(tokenize)

Standard library only: the worker imports it inside the sandbox.
"""

import json
import os
from collections.abc import Callable
from typing import Any

NEW_WORKER = "new worker"  # the third part of a case whose question is for a new process of the worker


class WrongAnswer(Exception):
    """The answer is wrong. The text says why; the agent reads it, so it must not tell the truth that is hidden."""


def serve(function: Callable[[Any], Any]) -> None:
    """Answer each question on standard input with `function(question)`, until there are no more.

    Whatever else prints in this process prints to standard error, and whoever reads standard input finds it empty. An
    exception of `function` ends the process, with its traceback on standard error.
    """
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    with open(questions, "rb") as lines, open(answers, "wb") as out:
        for line in lines:
            out.write(json.dumps(function(json.loads(line))).encode() + b"\n")
            out.flush()
