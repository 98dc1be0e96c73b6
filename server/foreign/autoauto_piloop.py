"""autoauto's programs and piloop's campaigns."""

import json
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from server.errors import ProgramInvalid
from server.foreign import reading, scripts
from server.foreign.prose import title
from server.foreign.workspace import Draft

AUTOAUTO = "autoauto"
PILOOP = "piloop"
_PROGRAMS = ".autoauto/programs"
_CAMPAIGN = "piloop.toml"
_WAYS = ("lower", "higher")
_MS = 1000
_MEASURE_MS = 60_000  # autoauto's own limits
_BUILD_MS = 600_000
_EVALUATE_SECONDS = 600  # piloop's
_NO_LIMITS = ("max_tokens", "max_spend")


def autoauto(root: Path, tracked: frozenset[str]) -> list[Draft]:
    """A draft for each program, by name. Raises ProgramInvalid: a configuration is broken."""
    folders = sorted(path.parent for path in (root / _PROGRAMS).glob("*/config.json"))
    return [_program(root, tracked, folder, len(folders) > 1) for folder in folders]


def _program(root: Path, tracked: frozenset[str], folder: Path, several: bool) -> Draft:
    place = folder.relative_to(root).as_posix()
    name = f"{AUTOAUTO}/{folder.name}" if several else AUTOAUTO
    draft = Draft(format=name, where=f"{place}/", root=root, tracked=tracked)
    config = _Fields(draft, f"{place}/config.json", _json(draft, f"{place}/config.json"))
    draft.goal_file = f"{place}/program.md"
    draft.goal = draft.read(draft.goal_file) or ""
    draft.fields["off_limits"] = [".autoauto/**"]
    names = [f"{place}/{script}.sh" for script in ("measure", "build") if (root / place / f"{script}.sh").is_file()]
    draft.texts = scripts.read(root, names)
    draft.files += draft.texts
    logs = sorted(folder.glob("runs/*/results.tsv"), key=lambda path: path.stat().st_mtime)
    draft.log = logs[-1] if logs else None
    _autoauto_measure(draft, config)
    reading.fill_scope(draft)
    prefix = reading.fill_surroundings(draft)
    for field, script in (("command", "measure"), ("build", "build")):
        if f"{place}/{script}.sh" in draft.texts:
            draft.give(field, f"{prefix}bash {place}/{script}.sh", f"{place}/{script}.sh")
    if "command" not in draft.fields:
        draft.missing["command"] = f"There is no {place}/measure.sh, so nothing says what to run."
    draft.give("name", (title(draft.goal) or folder.name)[:100], draft.goal_file)
    return draft


class _Fields:
    """The fields of a configuration, each asked for with its kind."""

    def __init__(self, draft: Draft, place: str, told: Mapping[str, Any]) -> None:
        self.draft, self.place, self.told = draft, place, told

    def number(self, name: str, least: float = 0.0) -> float | None:
        """A number above or at `least`, or None where there is none. Raises ProgramInvalid: it is none."""
        value = self.told.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value < 1e12:
            raise ProgramInvalid(
                f"{self.place}, {name}: {value!r} is not a number from {least:g} on.", "Correct the file."
            )
        return value

    def table(self, name: str) -> dict[str, Any]:
        """A table; empty where there is none. Raises ProgramInvalid: it is none."""
        value: Any = self.told.get(name) or {}
        if not isinstance(value, dict):
            raise ProgramInvalid(f"{self.place}, {name}: it is not a table.", "Correct the file.")
        return cast("dict[str, Any]", value)


def _autoauto_measure(draft: Draft, config: _Fields) -> None:
    metric, way = config.told.get("metric_field"), config.told.get("direction")
    if isinstance(metric, str) and metric:
        draft.give("metric", {"name": metric}, f"{config.place}, metric_field")
    else:
        draft.missing["metric"] = f"{config.place} has no metric_field."
    if way in _WAYS:
        draft.give("direction", way, f"{config.place}, direction")
    else:
        draft.missing["direction"] = f"{config.place}, direction: {way!r} is neither lower nor higher."
    repeats = int(config.number("repeats", 1) or 1)
    draft.give("repeats", repeats, f"{config.place}, repeats")
    if least := config.number("noise_threshold"):
        draft.give("least_effect", least, f"{config.place}, noise_threshold")
    one = (config.number("measurement_timeout") or _MEASURE_MS) / _MS
    draft.give("budget_seconds", one * repeats, f"{config.place}, measurement_timeout")
    draft.give("build_seconds", (config.number("build_timeout") or _BUILD_MS) / _MS, f"{config.place}, build_timeout")
    limits = {"experiments": config.number("max_experiments"), "plateau": config.number("max_consecutive_discards")}
    if stop := {name: int(value) for name, value in limits.items() if value}:
        draft.give("stop", stop, config.place)
    gates = {name: _bounds(gate) for name, gate in config.table("quality_gates").items()}
    bounds = {name: gate for name, gate in gates.items() if gate}
    reading.fill_figures(draft, config.table("secondary_metrics"), str(metric), bounds)


def _bounds(told: Any) -> dict[str, float]:
    gate = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    return {end: gate[end] for end in ("min", "max") if isinstance(gate.get(end), int | float)}


def _json(draft: Draft, name: str) -> dict[str, Any]:
    text = draft.read(name) or ""
    try:
        told: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProgramInvalid(f"{name}, line {error.lineno}: is not JSON: {error.msg}.", "Correct the file.") from None
    except RecursionError:
        told = None
    if not isinstance(told, dict):
        raise ProgramInvalid(f"{name}, line 1: is not a JSON object.", "Correct the file.")
    return cast("dict[str, Any]", told)


def piloop(root: Path, tracked: frozenset[str]) -> list[Draft]:
    """The campaign; none where there is none. Raises ProgramInvalid: piloop.toml is broken."""
    if not (root / _CAMPAIGN).is_file():
        return []
    draft = Draft(format=PILOOP, where=_CAMPAIGN, root=root, tracked=tracked, goal_file="brief.md")
    text = draft.read(_CAMPAIGN) or ""
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProgramInvalid(
            f"{_CAMPAIGN} is not TOML: {error}.", "Correct the file; the next call reads it again."
        ) from None
    config = _Fields(draft, _CAMPAIGN, told)
    draft.goal = draft.read("brief.md") or ""
    draft.goal_file = draft.goal_file if draft.goal else ""
    draft.fields["off_limits"] = [_CAMPAIGN, "brief.md"]
    if isinstance(name := told.get("name"), str) and name:
        draft.give("name", name[:100], f"{_CAMPAIGN}, name")
    _piloop_metrics(draft, told.get("metrics"))
    _piloop_command(draft, config)
    _piloop_limits(draft, config)
    reading.fill_scope(draft)
    return [draft]


def _piloop_command(draft: Draft, config: _Fields) -> None:
    words = [str(word) for word in _listed(config.told.get("evaluate"))]
    files = [word.removeprefix("./") for word in words if (draft.root / word).is_file()]
    draft.fields["off_limits"] += files
    draft.texts = scripts.read(draft.root, [name for name in files if name.endswith((".sh", ".bash"))])
    if linked := [str(path).rstrip("/") for path in _listed(config.told.get("link"))]:
        draft.give("link", [path for path in linked if (draft.root / path).exists()], f"{_CAMPAIGN}, link")
        for path in linked:
            if not (draft.root / path).exists():
                draft.remark(
                    f"{_CAMPAIGN}, link: there is no {path}", f"create {path}, or remove it from `link`", "link"
                )
    prefix = reading.fill_surroundings(draft)
    if words:
        uv = "UV_NO_SYNC=1 UV_OFFLINE=1 " if words[0] == "uv" and "UV_NO_SYNC" not in prefix else ""
        draft.give("command", f"{prefix}{uv}{shlex.join(words)}", f"{_CAMPAIGN}, evaluate")
    else:
        draft.missing["command"] = f"{_CAMPAIGN} has no `evaluate`, so nothing says what to run."
    draft.give(
        "budget_seconds", config.number("evaluate_timeout") or _EVALUATE_SECONDS, f"{_CAMPAIGN}, evaluate_timeout"
    )


def _piloop_metrics(draft: Draft, told: Any) -> None:
    tables = [cast("dict[str, Any]", one) for one in _listed(told) if isinstance(one, dict)]
    metrics = [one for one in tables if isinstance(one.get("name"), str)]
    primaries = [one for one in metrics if one.get("role") == "primary"]
    name = primaries[0]["name"] if len(primaries) == 1 else ""
    if name:
        draft.give("metric", {"name": name}, f"{_CAMPAIGN}, metrics")
        if (way := primaries[0].get("direction")) in _WAYS:
            draft.give("direction", way, f"{_CAMPAIGN}, metrics")
        else:
            draft.missing["direction"] = f"{_CAMPAIGN}, metrics, {name}: it says no direction."
    else:
        named = ", ".join(one["name"] for one in primaries)
        told = f"several primary metrics ({named}), and a study has one" if named else "no primary metric"
        draft.missing["metric"] = draft.missing["direction"] = f"{_CAMPAIGN} has {told}."
    bounds = {one["name"]: bound for one in metrics if (bound := _floor(one)) and one["name"] != name}
    reading.fill_figures(draft, [one["name"] for one in metrics], name, bounds)
    if margins := [one["name"] for one in metrics if one.get("margin") is not None and one.get("role") != "primary"]:
        told = f"{_CAMPAIGN}: the margins of {', '.join(margins)} are in units, which no bound here is"
        draft.remark(told, "`metrics: {NAME: {share: 1.1}}` bounds it by the incumbent's", "metrics")
    repeats = [one["repeats"] for one in metrics if isinstance(one.get("repeats"), int)]
    if repeats and max(repeats) > 1:
        draft.give("repeats", max(repeats), f"{_CAMPAIGN}, repeats")
        draft.give("paired", True, f"{_CAMPAIGN}, repeats")


def _floor(metric: Mapping[str, Any]) -> dict[str, float]:
    """A floor is the worst value that is allowed: the highest, where lower is better."""
    floor = metric.get("floor")
    if not isinstance(floor, int | float) or isinstance(floor, bool):
        return {}
    return {"min" if metric.get("direction") == "higher" else "max": float(floor)}


def _piloop_limits(draft: Draft, config: _Fields) -> None:
    rule = _Fields(draft, f"{_CAMPAIGN}, plugins.stop_rule", _inner(config.table("plugins"), "stop_rule"))
    counts = {"experiments": rule.number("max_runs", 1), "plateau": rule.number("plateau", 1)}
    stop: dict[str, float] = {name: int(value) for name, value in counts.items() if value}
    stop |= {name: value for name, value in {"hours": rule.number("max_hours")}.items() if value}
    if isinstance(target := rule.told.get("target"), int | float):
        stop["target"] = target
    if stop:
        draft.give("stop", stop, rule.place)
    if lost := [name for name in _NO_LIMITS if name in rule.told]:
        draft.remark(
            f"{rule.place}: {' and '.join(lost)} not read: the server sees no cost", "limit the client", "stop"
        )


def _inner(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _listed(told: Any) -> list[Any]:
    return cast("list[Any]", told) if isinstance(told, list) else []
