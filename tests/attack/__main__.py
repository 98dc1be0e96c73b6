"""Every cheat and every unusual honest model through a real supervisor, and a table of how each one ended.

    python -m tests.attack [--honest N]     N runs of honest models in all, 50 by default

The default tests run most of them once (tests/attack/test_cheats.py); as another user: run this as that user.
"""

import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.attack.cases import Case, cases, run_all


def main(honest: Annotated[int, typer.Option(help="Runs of honest models.")] = 50) -> None:
    """Print a line a run, and exit with 1 if one did not end as it must."""
    out, failed = Console(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unusual = islice(cycle([Case(name="attentive", patch=""), *cases("unusual")]), honest)
        for chosen, preflight, place in ((cases("cheats"), False, "cheats"), (unusual, True, "honest")):
            for done in run_all(chosen, folder / place, folder / "data", preflight):
                failed += bool(done.objection)
                mark = f"[red]{done.objection}[/red]" if done.objection else "as it must"
                trust, reason = done.result.trust, done.result.reason[:110]
                line = f"{done.case.name}: {done.result.outcome} ({trust}), {mark}: {reason}"
                out.print(line, highlight=False, soft_wrap=True)
    out.print(f"{failed} of all runs did not end as they must")
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    typer.run(main)
