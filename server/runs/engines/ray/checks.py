"""What `autoresearch doctor` finds out about a Ray cluster: from here first, then each node's own word."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from server.errors import RunnerUnavailable
from server.runs.engines.ray import settings
from server.runs.engines.ray.link import Link

_ASK_SECONDS = 60.0
_CLOCK_SECONDS = 5.0  # that two clocks may differ
_LEAST_MB = 2048
_PLACES = ("slot", "GPU")  # resources that runs take
_NO_MB = 64  # with less, no run is begun
_NEEDED = ("numpy", "psutil")  # packages that every run needs


class Finding(NamedTuple):
    """One line of a check."""

    name: str
    state: Literal["ok", "warning", "fix"]
    detail: str
    remedy: str = ""


def examine(address: str, torch: bool = True) -> Iterator[Finding]:
    """Check the cluster and each of its nodes, one line after the other.

    Args:
        address: of its head; empty: as `serve` finds it. torch: whether runs need it.
    """
    try:
        settings.require()
    except RunnerUnavailable as error:
        yield Finding("ray", "fix", error.problem, error.next_step)
        return
    yield _token()
    with tempfile.TemporaryDirectory() as place:
        link = Link(settings.environment(address), Path(place) / "log", list)
        with closing(link):
            yield from _cluster(link, torch)


def _token() -> Finding:
    if os.environ.get(settings.MODE, "token") != "token":
        remedy = f"anyone who reaches the cluster's port can run code: unset {settings.MODE} here and on all nodes"
        return Finding("token", "warning", f"none is asked for ({settings.MODE})", remedy)
    if loose := settings.loose_token():
        return Finding("token", "fix", loose, "chmod 600")
    return Finding("token", "ok", f"in {settings.token_file()}")


def _cluster(link: Link, torch: bool) -> Iterator[Finding]:
    try:
        link.require()
        words: list[dict[str, Any]] = link.ask("examine", _ASK_SECONDS + 30, patience=_ASK_SECONDS)
    except RunnerUnavailable as error:
        yield Finding("ray", "fix", error.problem, error.next_step)
        return
    yield Finding("ray", "ok", f"Ray {settings.VERSION}, {len(words)} node{'s' * (len(words) != 1)}")
    places = {name: int(sum(float(word["resources"].get(name, 0)) for word in words)) for name in _PLACES}
    told = f"{places['slot']} slots and {places['GPU']} GPUs"
    if any(places.values()):
        yield Finding("slots", "ok", f"{told} for runs")
    else:
        remedy = "start nodes with GPUs, or with --resources='{\"slot\": 1}' for each run that may be active at once"
        yield Finding("slots", "fix", f"the cluster has {told} for runs", remedy)
    for word in words:
        carries = any(word["resources"].get(name) for name in _PLACES)
        yield from about(word, torch and carries, carries)


def about(word: Mapping[str, Any], torch: bool, carries: bool = True) -> Iterator[Finding]:
    """What a node's word amounts to.

    Args:
        torch: whether its runs need torch. carries: whether it has a place for runs.
    """
    node = f"{word['host']} ({word['address']})"
    if trouble := word.get("trouble"):
        yield Finding("node", "fix", f"{node}: {trouble}", "look at Ray's logs there")
        return
    doubts = list(_doubts(word, torch)) if carries else []
    if not doubts:
        packages = word["packages"]
        told = f"{node}: Python {word['python']}, torch {packages['torch'] or 'none'}, {word.get('free_mb', 0)} MB free"
        yield Finding("node", "ok", told if carries else f"{node}: no place for runs")
    for detail, remedy, state in doubts:
        yield Finding("node", state, f"{node} {detail}", remedy)


_Doubt = tuple[str, str, Literal["warning", "fix"]]  # what is wrong with a node, the remedy, how bad it is


def _doubts(word: Mapping[str, Any], torch: bool) -> Iterator[_Doubt]:
    yield from _of_packages(word, torch)
    if (off := max(word["sent"] - word["time"], word["time"] - word["came"])) > _CLOCK_SECONDS:
        told = f"has a clock that differs from this machine's by {off:.0f} s"
        yield told, "set both by NTP: otherwise limits in hours and times in reports are wrong", "fix"
    if word["trouble_home"]:
        yield f"has no place for runs: {word['trouble_home']}", "free some space there, or repair its disk", "fix"
    elif word["free_mb"] < _LEAST_MB:
        yield (
            f"has {word['free_mb']} MB free",
            "free some space there",
            "fix" if word["free_mb"] < _NO_MB else "warning",
        )
    yield from _of_ray(word)


def _of_ray(word: Mapping[str, Any]) -> Iterator[_Doubt]:
    if word["packages"]["ray"] != settings.VERSION:
        told = f"has Ray {word['packages']['ray'] or 'none'}, and not {settings.VERSION}"
        yield told, "install the same on all nodes", "fix"
    if (word["nice"] or word["oom"] != "0") and not word["root"]:
        told = f"has workers that are slowed (nice {word['nice']}) and killed first (oom_score_adj {word['oom']})"
        remedy = "start Ray there with RAY_worker_niceness=0 RAY_worker_oom_score_adjustment=0"
        yield told, remedy, "warning"
    if word["token"] != "token":
        yield "asks for no token", f"start Ray there with {settings.MODE}=token", "warning"


def _of_packages(word: Mapping[str, Any], torch: bool) -> Iterator[_Doubt]:
    packages, own = word["packages"], {"torch": _version("torch"), "python": sys.version.split()[0]}
    for name in _NEEDED:
        if not packages[name]:
            yield f"has no {name}", f"pip install {name} there", "fix"
    if torch and not packages["torch"]:
        yield "has no torch", "pip install torch there", "fix"
    elif torch and packages["torch"] != own["torch"]:
        remedy = "install the same version: runs on two versions are not compared"
        yield f"has torch {packages['torch']}, this machine {own['torch'] or 'none'}", remedy, "fix"
    if word["python"].split(".")[:2] != own["python"].split(".")[:2]:
        yield f"has Python {word['python']}, this machine {own['python']}", "install the same version", "fix"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
