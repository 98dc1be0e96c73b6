"""All parts in turn, until the deadline; what each found is printed at once, and all of it as JSON at the end."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu.packages import pack, provide

if TYPE_CHECKING:
    from gpu.bench import Bench
    from gpu.parts import Part

# The parts in the order in which they are worth their time, with estimates of the seconds that each takes on a GPU:
# those that are always needed, and how often it trains for the whole of --seconds. What the goals of
# docs/performance.md need comes first, and fits the deadline.
PARTS = {
    "doctor": (10.0, 0.0),
    "gpu": (45.0, 1.0),
    "upstream": (40.0, 1.0),
    "audit": (35.0, 0.33),
    "kill": (20.0, 0.0),
    "cheats": (60.0, 0.0),
    "attention": (30.0, 0.0),
    "smoke": (8.0, 0.0),
    "gpu-small": (40.0, 1.0),
    "shapes": (10.0, 0.0),
}
SECONDS = 45.0  # of training a run
_DRY_SECONDS = 0.5


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpu_check.py", description="What needs a GPU, in at most five minutes a command."
    )
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, help="this part; repeatable; default: all")
    add("--cheat", action="append", help="of the cheats this one; repeatable; default: all")
    add("--dry", action="store_true", help="all parts with tiny shapes on a CPU")
    add(
        "--seconds", type=float, help=f"training seconds of a run; default {SECONDS:g}, of a dry check {_DRY_SECONDS:g}"
    )
    add("--deadline", type=float, default=290.0, help="seconds for everything; parts that do not fit are skipped")
    add("--upstream", type=Path, help="a checkout of karpathy/autoresearch")
    add(
        "--windows",
        default="L",
        help='upstream\'s WINDOW_PATTERN; its default is "SSSL", which costs a dense mask here',
    )
    add("--data", type=Path, help="folder of tokenised data, which stays; default: a new one, which takes seconds")
    add("--json", type=Path, help="write everything there; it is rewritten after each part")
    add("--markdown", type=Path, help="write the table of docs/performance.md there")
    add("--packed", type=Path, help="folder of wheels of what the interpreter lacks, made with --pack")
    add("--pack", type=Path, metavar="FOLDER", help="download these wheels, for another machine, and do nothing else")
    add("--python", default="3.12", help="of --pack: the Python of that machine")
    add("--machine", default="x86_64", help="of --pack: what `uname -m` says there")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Exits with 1 if a part failed."""
    begun, chosen = time.monotonic(), options(words)
    if chosen.pack:
        wheels = pack(chosen.pack, chosen.python, chosen.machine)
        print("\n".join(f"{wheel.stat().st_size >> 10:8} kB {wheel.name}" for wheel in wheels))
        return
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as name:
        place = Path(name).resolve()
        code = provide(chosen.packed, place)
        from gpu.bench import Bench  # what it imports may have just been unpacked
        from gpu.report import markdown

        seconds = chosen.seconds or (_DRY_SECONDS if chosen.dry else SECONDS)
        until = begun + chosen.deadline
        data = chosen.data.resolve() if chosen.data else place / "data"
        bench = Bench(place, code, chosen.dry, seconds, until, chosen.upstream, chosen.windows, data)
        report: dict[str, Any] = {"dry": chosen.dry, "training_seconds": seconds, "parts": {}}
        for part in chosen.only or PARTS:
            told = report["parts"][part] = _one(bench, part, chosen.cheat)
            _show(part, told)
            report["seconds"] = round(time.monotonic() - begun, 1)
            table = ("Dry, on a CPU: no figure here is of a GPU.\n\n" if chosen.dry else "") + markdown(report["parts"])
            _write(chosen, report, table)
        print(f"\n{_table(report['parts'])}\n{report['seconds']} s\n\n{table}", flush=True)
    failed = [part for part, told in report["parts"].items() if told["state"] in ("failed", "fault")]
    sys.exit(1 if failed else 0)


def _one(bench: "Bench", name: str, cheats: list[str] | None) -> dict[str, Any]:
    """One part: `ok`, `fault` (something is not as it must be), `failed` (it could not be tried) or `skipped`."""
    fixed, whole = PARTS[name]
    needed = fixed + whole * bench.seconds
    if name == "upstream" and bench.upstream is None:
        return {"state": "skipped", "why": "no --upstream", "seconds": 0.0}
    if bench.left < (0.0 if bench.dry else needed):
        return {"state": "skipped", "why": f"about {needed:.0f} s needed, {bench.left:.0f} s left", "seconds": 0.0}
    begun = time.monotonic()
    try:
        found = _functions(cheats)[name](bench)
    except Exception as error:
        told = {"state": "failed", "why": f"{type(error).__name__}: {error}"[:2000]}
    else:
        told = {"state": "fault" if found.fault else "ok", "why": found.fault} | asdict(found)
    return told | {"seconds": round(time.monotonic() - begun, 1)}


def _functions(cheats: list[str] | None) -> "dict[str, Callable[[Bench], Part]]":
    from gpu import cheats as module
    from gpu import kill, parts

    found: dict[str, Callable[[Bench], Part]] = {
        name: getattr(parts, name.replace("-", "_")) for name in PARTS if hasattr(parts, name.replace("-", "_"))
    }
    return found | {"kill": kill.kill, "cheats": lambda bench: module.cheats(bench, tuple(cheats or module.NAMES))}


def _show(name: str, told: dict[str, Any]) -> None:
    print(f"== {name}: {told['state']} in {told['seconds']} s{': ' if told['why'] else ''}{told['why']}")
    print("".join(f"   {line}\n" for line in told.get("lines", [])), end="", flush=True)


def _table(parts: dict[str, dict[str, Any]]) -> str:
    rows = [
        f"{name:10} {told['state']:8} {told['seconds']:7.1f} s  {told['why'][:100]}" for name, told in parts.items()
    ]
    return "\n".join(rows)


def _write(chosen: argparse.Namespace, report: dict[str, Any], table: str) -> None:
    """After each part: what is known stays, however the check ends."""
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1, default=str), encoding="utf-8")
    if chosen.markdown:
        chosen.markdown.write_text(table, encoding="utf-8")
