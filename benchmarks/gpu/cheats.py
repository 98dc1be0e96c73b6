"""Cheats that need a GPU: none may end with a better score than the honest run beside it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpu.bench import Bench, Run
from gpu.parts import Part, stand_in

_SECONDS = 2.0
_AT_ONCE = 3
_MARGIN = 0.01  # of the honest score: what two runs beside each other may differ by
_JUDGED = ("finished", "invalid", "timeout")  # any other end proves nothing: the cheat could not be tried
_KINDS = ("device", "pinned", "managed")
NAMES = ("queued", "side_stream", "graph", *(f"leftover_{kind}" for kind in _KINDS))


def text(name: str) -> str:
    """The train.py of a stand-in."""
    stem, _, kind = name.partition("_") if name.startswith("leftover") else (name, "", "")
    return stand_in(stem).replace('KIND = "device"', f'KIND = "{kind}"')


def cheats(bench: Bench, names: tuple[str, ...] = NAMES) -> Part:
    """Each in a run of its own; those with memory one after the other, so that nobody takes what they leave."""
    if bench.dry:
        names = tuple(name for name in names if name not in ("leftover_pinned", "leftover_managed"))
    terms: dict[str, Any] = {"profile": bench.profile("gpu-small"), "budget_seconds": min(_SECONDS, bench.seconds)}
    together = ["honest", *(name for name in names if not name.startswith("leftover"))]
    apart = [name for name in names if name not in together]
    with ThreadPoolExecutor(2 if bench.dry else _AT_ONCE) as pool:
        runs = dict(zip(together, pool.map(lambda name: bench.run(name, text(name), **terms), together), strict=True))
    runs |= {name: bench.run(name, text(name), **terms) for name in apart}
    part = judged(runs)
    if not bench.dry:
        try:
            part.data["leftovers"] = _leftovers(bench)
        except (RuntimeError, LookupError) as error:  # no answer: what the runs showed stays
            part.data["leftovers"] = {"error": str(error)}
            part.fault = f"{part.fault} leftovers: {error}.".strip()
        part.lines.append(f"memory of a process that is dead, in the next one: {part.data['leftovers']}")
    return part


def judged(runs: dict[str, Run]) -> Part:
    """Whether each held: the referee gave it no score, or none that is better than the honest one."""
    part = Part({name: run.told() for name, run in runs.items()})
    honest = runs["honest"].score
    if honest is None:
        part.fault = f"the honest run has no score: {runs['honest'].reason}"
        return part
    part.lines.append(f"honest: val_bpb {honest:.4f}")
    for name, run in runs.items():
        if name == "honest":
            continue
        better = run.score is not None and run.score < honest * (1 - _MARGIN)
        seen = "a better score" if better else "held" if run.outcome in _JUDGED else "not tried"
        score = "" if run.score is None else f" val_bpb {run.score:.4f},"
        part.lines.append(f"{name}: {seen};{score} {run.outcome}: {run.reason[:200]}")
        part.data[name]["held"] = seen == "held"
        if seen != "held":
            part.fault = f"{part.fault} {name}: {seen}.".strip()
    return part


def _leftovers(bench: Bench) -> dict[str, Any]:
    """What a plain process finds of what another wrote, before it is cleared or not."""
    marked = bench.probe("probe.py", "mark", str(32 << 30))[0]
    return {"written": marked["marked"]} | bench.probe("probe.py", "count", str(64 << 30))[0]
