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
from tests.ray.cluster import Cluster, cluster
from tests.ray.night import EXPERIMENTS, same_verdicts
from tests.ray.rows import ROWS, Row
from tests.slurm.cluster import NO_CLUSTER

_STUDY = "the same study here and on the cluster, with its server killed in a run"
_FEW = 4  # experiments of the short form
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


def _row(row: Row, place: Path, nodes: Cluster) -> None:
    with bench(place, nodes) as made:
        row.inject(made)
        made.works()


def main(
    only: Annotated[str, typer.Option(help="Only what has a name that this regular expression finds.")] = "",
    short: Annotated[bool, typer.Option(help="One trial of what is in the short form.")] = False,
    times: Annotated[int, typer.Option(help="Trials of each row.")] = 3,
) -> None:
    """Try everything; exit with 1 if something fails, and with 77 if no cluster can be had here."""
    tally = Tally()
    chosen = [row for row in ROWS if re.search(only, row.name) and (row.short or not short)]
    with tempfile.TemporaryDirectory(prefix="ar-ray-", ignore_cleanup_errors=True) as folder:
        begun = time.monotonic()
        with ExitStack() as stack:
            try:
                nodes = stack.enter_context(cluster(Path(folder) / "ray"))
            except (RuntimeError, OSError, subprocess.SubprocessError) as reason:
                _out.print(f"no cluster: {reason}", markup=False)
                raise typer.Exit(NO_CLUSTER) from reason
            _out.print(f"{time.monotonic() - begun:6.1f} s  three nodes are up, networks {nodes.networks}")
            enter(nodes)
            for row in chosen:
                if row.networks and not nodes.networks:
                    _out.print(f"not possible here: {row.name}")
                    continue
                for trial in range(1 if short else times):
                    place = Path(folder) / f"{ROWS.index(row)}-{trial}"
                    tally.tried(row.name, lambda row=row, place=place: _row(row, place, nodes))
            for name, check in inputs.CHECKS.items():
                if re.search(only, name) and not short:
                    tally.tried(
                        name, lambda check=check, name=name: check(Path(folder) / name.replace(" ", "-"), nodes)
                    )
            if re.search(only, _STUDY):
                tally.tried(
                    _STUDY, lambda: same_verdicts(Path(folder) / "study", nodes, _FEW if short else EXPERIMENTS)
                )
    _out.print(f"{tally.passed} passed, {tally.failed} failed")
    raise typer.Exit(bool(tally.failed))


if __name__ == "__main__":
    typer.run(main)
