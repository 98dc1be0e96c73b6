"""Three Ray nodes, a study over them, and every row of the failure table, again and again.

python -m tests.ray [--only WORDS] [--short] [--times 3]
"""

import re
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.ray import inputs
from tests.ray.bench import bench, enter
from tests.ray.cluster import Cluster, running
from tests.ray.rows import ROWS, Row
from tests.slurm.cluster import NO_CLUSTER
from tests.slurm.seeded import EXPERIMENTS, same_study

_STUDY = f"the same study of {EXPERIMENTS} experiments here and on the cluster: the same verdicts for the same seeds"
_out = Console(highlight=False, soft_wrap=True, width=120)


class Tally:
    """What has passed, and what has not."""

    def __init__(self) -> None:
        self.passed, self.failed = 0, 0

    def tried(self, name: str, trial: Callable[[], object]) -> None:
        """One trial."""
        begun = time.monotonic()
        try:
            trial()
        except Exception:
            self.failed += 1
            _out.print(f"FAILED  {name}\n{traceback.format_exc()[-3000:]}", markup=False)
        else:
            self.passed += 1
            _out.print(f"{time.monotonic() - begun:6.1f} s  {name}")


def _row(row: Row, place: Path, nodes: Cluster, used: bool) -> None:
    """One trial; `used`: its first run gets a tenant that has had another."""
    with bench(place, nodes) as made:
        if used:
            made.works()
        row.inject(made)
        made.works()


def _all(tally: Tally, folder: Path, nodes: Cluster, only: str, times: int) -> None:
    """Rows, checks and the study; `times` 0: the short form, which is one trial of few rows."""
    for row in ROWS:
        if not re.search(only, row.name) or not (times or row.short):
            continue
        if row.networks and not nodes.networks:
            _out.print(f"not possible here: {row.name}")
            continue
        for trial in range(times or 1):
            place = folder / f"{ROWS.index(row)}-{trial}"
            tally.tried(row.name, lambda row=row, place=place, used=trial % 2 == 1: _row(row, place, nodes, used))
    if times:
        _checks(inputs.CHECKS, tally, folder, nodes, only)
        if re.search(only, _STUDY):
            engine = ("--executor", "ray", "--ray-address", nodes.address)
            tally.tried(_STUDY, lambda: same_study(folder / "study", *engine))


def _checks(checks: dict[str, inputs.Check], tally: Tally, folder: Path, nodes: Cluster, only: str) -> None:
    for name, check in checks.items():
        if re.search(only, name):
            place = folder / re.sub(r"\W", "-", name)
            tally.tried(name, lambda check=check, place=place: check(place, nodes))


def main(
    only: Annotated[str, typer.Option(help="Only what has a name that this regular expression finds.")] = "",
    short: Annotated[bool, typer.Option(help="One node with a slot, one trial of what is in the short form.")] = False,
    times: Annotated[int, typer.Option(help="Trials of each row.")] = 3,
) -> None:
    """Try everything; exit with 1 if something fails, and with 77 if no cluster can be had here."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="ar-ray-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        place = Path(folder)
        nodes = Cluster(place / "ray", count=2 if short else 3)
        if not short:
            _checks(inputs.ALONE, tally, place, nodes, only)
        begun = time.monotonic()
        try:
            stack.enter_context(running(nodes))
        except (RuntimeError, OSError, subprocess.SubprocessError) as reason:
            _out.print(f"no cluster: {reason}", markup=False)
            raise typer.Exit(NO_CLUSTER) from reason
        _out.print(f"{time.monotonic() - begun:6.1f} s  the nodes are up, networks {nodes.networks}")
        enter(nodes)
        _all(tally, place, nodes, only, 0 if short else times)
    _out.print(f"{tally.passed} passed, {tally.failed} failed")
    raise typer.Exit(bool(tally.failed))


if __name__ == "__main__":
    typer.run(main)
