"""Every cheat and every unusual honest model through a real supervisor, and a table of how each one ended.

    python -m tests.attack [--honest N] [--user NAME] [--profile NAME] [--only WORDS] [--repeats N]

Honest runs come first: a cheat that ends with a score must not be better than they are by more than two standard
deviations. A score beyond is measured again, because one in forty honest ones is. `make test` and `make slow` run
one of each kind (tests/attack/test_cheats.py).
"""

import os
import pwd
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import typer
from rich.console import Console

from tests.attack.cases import Case, cases, run_all

_REFERENCE_RUNS = 10  # of attentive.py, for each profile
_SIGMAS = 2
_MORE = 8  # runs of a cheat whose first score is beyond that


class Attack:
    """The runs of one call, and how many did not end as they must."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._out, self.failed, self._batches = folder, Console(), 0, 0

    def run(self, chosen: Iterable[Case], preflight: bool) -> dict[str, list[float]]:
        """Run cases, and say how each one ends. Returns the scores, by the case's name."""
        self._batches += 1
        scores: dict[str, list[float]] = defaultdict(list)
        place = self._folder / str(self._batches)
        for done in run_all(chosen, place, self._folder / "data", preflight):
            self.failed += bool(done.objection)
            mark = f"[red]{done.objection}[/red]" if done.objection else "as it must"
            told = f"{done.case.name}: {done.result.outcome} ({done.result.trust}), {mark}: {done.result.reason[:110]}"
            self.say(told)
            if done.result.score:
                scores[done.case.name].append(done.result.score.value)
        return scores

    def cheats(self, chosen: list[Case]) -> None:
        """Run cheats as often as each asks for; the mean of one's scores must not be better than honest ones."""
        profiles = sorted({case.profile for case in chosen})
        honest = [Case(name=profile, patch="", profile=profile) for profile in profiles]
        bounds: dict[str, float] = {}
        for profile, scores in self.run(honest * _REFERENCE_RUNS, preflight=False).items():
            bounds[profile] = mean(scores) - _SIGMAS * stdev(scores)
            self.say(f"an honest model on {profile}: {mean(scores):.4f} ± {stdev(scores):.4f}")
        scores = self.run([case for case in chosen for _ in range(case.repeats)], preflight=False)
        beyond = [case for case in chosen if scores[case.name] and mean(scores[case.name]) < bounds[case.profile]]
        again = self.run([case for case in beyond for _ in range(_MORE)], preflight=False)
        for case in beyond:
            if (reached := mean(scores[case.name] + again[case.name])) < bounds[case.profile]:
                self.failed += 1
                self.say(f"[red]{case.name}: {reached:.4f} is better than honest, {bounds[case.profile]:.4f}[/red]")

    def say(self, line: str) -> None:
        self._out.print(line, highlight=False, soft_wrap=True)


def main(
    honest: Annotated[int, typer.Option(help="Runs of honest models.")] = 50,
    user: Annotated[str, typer.Option(help="Run all as this user; only root can.")] = "",
    profile: Annotated[str, typer.Option(help="The profile of every run; without it that of each case.")] = "",
    only: Annotated[str, typer.Option(help="Cases whose names have these words in them.")] = "",
    repeats: Annotated[int, typer.Option(help="At most so many runs of a cheat; 0: as it asks.")] = 0,
) -> None:
    """Print a line a run, and exit with 1 if one did not end as it must."""
    if user:
        _become(user)
    unusual, cheats = (
        [one.on(profile or one.profile) for one in cases(name) if only in one.name] for name in ("unusual", "cheats")
    )
    if repeats:
        cheats = [one.model_copy(update={"repeats": min(one.repeats, repeats)}) for one in cheats]
    with tempfile.TemporaryDirectory() as name:
        attack = Attack(Path(name))
        attack.run(islice(cycle(unusual), honest if unusual else 0), preflight=True)
        if cheats:
            attack.cheats(cheats)
    typer.echo(f"{attack.failed} of all runs did not end as they must")
    raise typer.Exit(bool(attack.failed))


def _become(user: str) -> None:
    """Be another user from here on, with a home of nobody's. Raises KeyError, PermissionError."""
    known = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(known.pw_gid)
    os.setuid(known.pw_uid)
    os.environ["HOME"] = "/nonexistent"


if __name__ == "__main__":
    typer.run(main)
