"""The options that the operator gave when starting the server; program.md has the rest."""

from typing import Literal

from pydantic import PositiveInt

from server.records import Value


class ServeOptions(Value):
    """The options of `autoresearch serve` that concern runs."""

    budget_seconds: float | None = None  # None: program.md's
    profile: str | None = None  # None: the machine's
    data: str = "embedded"  # or the name or folder of a prepared data set
    confine: bool = True  # put every guard that the machine has around train.py
    require_sealed: bool = False  # run nothing that is confined less
    slots: PositiveInt | Literal["auto"] | None = (
        None  # runs at once; auto: one for each GPU; None: one, which sees all
    )
    executor: Literal["local", "slurm", "ray"] = "local"  # what runs are started on
    slurm: str = ""  # options for sbatch
    ray_address: str = ""  # of the cluster's head; empty: RAY_ADDRESS, or the cluster that this machine is a node of
    wait_seconds: float | None = None  # that a call may wait; None: what its client bears
