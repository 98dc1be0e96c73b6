"""The options that the operator gave when starting the server; program.md has the rest."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import PositiveInt

from server.records import Value

DEFAULT_PORT = 8765
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"  # where a server listens unless it is told otherwise


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


def after_dashes(words: Sequence[str], own: Mapping[str, bool], serving: Mapping[str, bool]) -> list[str]:
    """The words of a command that starts a server, with the options of `serve` moved behind `--`.

    Args:
        own: the command's own options by name, and whether a value follows. serving: those of `serve`.

    >>> after_dashes(["sweep", "--budget", "60", "--hours", "1"], {"--hours": True}, {"--budget": True})
    ['sweep', '--hours', '1', '--', '--budget', '60']
    """
    end = words.index("--") if "--" in words else len(words)
    stay, move = list[str](), list[str]()
    at = 0
    while at < end:
        name, equals, _ = words[at].partition("=")
        known, to = (own, stay) if name in own or name not in serving else (serving, move)
        size = 2 if known.get(name) and not equals else 1
        to += words[at : min(at + size, end)]
        at += size
    after = list(words[end + 1 :])
    return [*stay, "--", *move, *after] if move or after else list(words)
