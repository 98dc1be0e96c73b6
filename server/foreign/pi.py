"""pi-autoresearch's workspaces, in its layout `.auto/` and in the older one, and codex-autoresearch's, which has that.

If any file of a session is in `.auto/`, the older files are ignored altogether, as the tool itself does.
"""

import json
import os
from pathlib import Path
from typing import Any, cast

from server.errors import ProgramInvalid
from server.foreign import reading, scripts
from server.foreign.prose import title
from server.foreign.workspace import Draft

_NEW = {
    "prompt": ".auto/prompt.md",
    "measure": ".auto/measure.sh",
    "checks": ".auto/checks.sh",
    "log": ".auto/log.jsonl",
    "ideas": ".auto/ideas.md",
    "config": ".auto/config.json",
    "hooks": ".auto/hooks",
}
_OLD = {
    "prompt": "autoresearch.md",
    "measure": "autoresearch.sh",
    "checks": "autoresearch.checks.sh",
    "log": "autoresearch.jsonl",
    "ideas": "autoresearch.ideas.md",
    "config": "autoresearch.config.json",
    "hooks": "autoresearch.hooks",
}
_DEFINING = ("prompt", "measure", "log", "config")  # of the older layout: one of these alone is a workspace
_OF_CODEX = ("autonomyMode", "checksPolicy", "keepPolicy", "commitPaths")
PI = "pi-autoresearch"
CODEX = "codex-autoresearch"
_SECONDS = {"budget_seconds": 600, "checks_seconds": 300}  # its own limits


def drafts(root: Path, tracked: frozenset[str]) -> list[Draft]:
    """The workspace of this format; none where there is none. Raises ProgramInvalid: a file cannot be read."""
    names = _layout(root)
    config_file = names["config"] if names and (root / names["config"]).is_file() else ""
    config = _config(root, config_file)
    below = _below(root, config, config_file)
    names = _layout(root / below) or names
    if not names:
        return []
    draft = Draft(format=PI, where="", root=root, tracked=tracked, below=below)
    draft.where = ", ".join(_there(draft, names)) or config_file or names["ideas"]
    if config_file:
        draft.files.append(config_file)
    log = root / draft.path(names["log"])
    draft.log = log if log.is_file() else None
    header = draft.reported().header
    if any(name in config for name in _OF_CODEX) or (header and header.extra) or (root / "autoresearch.ps1").is_file():
        draft.format = CODEX
    _fill(draft, names, config, config_file)
    return [draft]


def _layout(top: Path) -> dict[str, str]:
    """The names of the layout that counts; empty if there is none."""
    if any((top / name).exists() for name in _NEW.values()):
        return _NEW
    if any((top / _OLD[kind]).is_file() for kind in _DEFINING) or (top / "autoresearch.ps1").is_file():
        return _OLD
    return {}


def _there(draft: Draft, names: dict[str, str]) -> list[str]:
    found = (draft.path(names[kind]) for kind in ("prompt", "measure", "log"))
    return [name for name in found if (draft.root / name).is_file()]


def _config(root: Path, name: str) -> dict[str, Any]:
    """The fields of the configuration. Raises ProgramInvalid: it is not a JSON object."""
    if not name:
        return {}
    try:
        told: Any = json.loads((root / name).read_bytes())
    except json.JSONDecodeError as error:
        raise _broken(name, f"line {error.lineno}: is not JSON: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(name, f"cannot be read: {error}") from None
    if not isinstance(told, dict):
        raise _broken(name, "line 1: is not a JSON object")
    return cast("dict[str, Any]", told)


def _broken(name: str, why: str) -> ProgramInvalid:
    return ProgramInvalid(f"{name}, {why}.", "Correct the file; the next call reads it again.")


def _below(root: Path, config: dict[str, Any], name: str) -> str:
    """Its `workingDir` as a path from the top; empty if that is the top itself.

    Raises:
        ProgramInvalid: it is no folder of this repository.
    """
    told = config.get("workingDir")
    if told is None or told == "":
        return ""
    if not isinstance(told, str):
        raise _broken(name, f"workingDir: is no path but {told!r}")
    place = Path(os.path.normpath(root.resolve() / told))
    if not place.is_dir():
        raise _broken(name, f"workingDir: there is no folder {told}")
    if not place.is_relative_to(root.resolve()):
        step = f"Serve that repository: --workspace '{place}'; its files must be there."
        raise ProgramInvalid(f"{name}, workingDir: {told} is not in this repository.", step)
    below = place.relative_to(root.resolve()).as_posix()
    return "" if below == "." else below


def _fill(draft: Draft, names: dict[str, str], config: dict[str, Any], config_file: str) -> None:
    draft.goal_file = draft.path(names["prompt"])
    draft.goal = draft.read(draft.goal_file) or ""
    if not draft.goal:
        draft.goal_file = ""
    draft.fields["off_limits"] = _own_files(draft)
    _fill_commands(draft, names)
    reading.fill_metric(draft)
    reading.fill_scope(draft, _strings(config.get("commitPaths")))
    prefix = reading.fill_surroundings(draft)
    for field in ("command", "checks"):
        if field in draft.fields:
            inside = f"cd {draft.below} && " if draft.below else ""
            draft.fields[field] = f"{inside}{prefix}{draft.fields[field]}"
    _fill_limits(draft, config, config_file)
    header = draft.reported().header
    name = (header.name if header else None) or title(draft.goal)
    if name:
        draft.give("name", name[:100], draft.goal_file)
    _remark_others(draft, names, config)


def _own_files(draft: Draft) -> list[str]:
    """What belongs to the tool: the agent changes none of it."""
    globs = (".auto/**", "autoresearch.*", "autoresearch.*/**")
    return list(dict.fromkeys([*globs, *map(draft.path, globs)]))


def _fill_commands(draft: Draft, names: dict[str, str]) -> None:
    measure, checks = draft.path(names["measure"]), draft.path(names["checks"])
    for kind, field, path in (("measure", "command", measure), ("checks", "checks", checks)):
        if (draft.root / path).is_file():
            draft.give(field, f"{scripts.interpreter(draft.root / path)} {names[kind]}", path)
        elif (draft.root / path.replace(".sh", ".ps1")).is_file() and names is _OLD:
            draft.give(field, f"pwsh -File {names[kind].replace('.sh', '.ps1')}", path)
    draft.texts = scripts.read(draft.root, [path for path in (measure, checks) if (draft.root / path).is_file()])
    draft.files += draft.texts
    if "command" not in draft.fields:
        old = _OLD["measure"] if names is _NEW and (draft.root / draft.path(_OLD["measure"])).is_file() else ""
        ignored = f" {old} is there and ignored, because .auto/ is newer." if old else ""
        draft.missing["command"] = f"There is no {measure}, so nothing says what to run.{ignored}"


def _fill_limits(draft: Draft, config: dict[str, Any], config_file: str) -> None:
    for name, seconds in _SECONDS.items():
        if name == "budget_seconds" or "checks" in draft.fields:
            draft.give(name, seconds, draft.format)
    most = config.get("maxIterations")
    if isinstance(most, int) and not isinstance(most, bool) and most > 0:
        draft.give("stop", {"experiments": most}, config_file)
    elif most is not None:
        draft.remark(
            f"{config_file}, maxIterations: {most!r} is no number above 0", "`stop: {experiments: 50}`", "stop"
        )


def _remark_others(draft: Draft, names: dict[str, str], config: dict[str, Any]) -> None:
    hooks = draft.path(names["hooks"])
    if (draft.root / hooks).is_dir() and any((draft.root / hooks).iterdir()):
        draft.remark(f"{hooks}: hooks are not run here", "what they tell the agent belongs into the prompt")
    if names is _NEW and (old := [name for name in _OLD.values() if (draft.root / draft.path(name)).exists()]):
        told = f"{', '.join(old)}: the older layout is ignored where .auto/ is, as {PI} itself does"
        draft.remark(told, "remove .auto/ where the older files are meant")
    policies = [name for name in ("checksPolicy", "keepPolicy") if name in config]
    if policies:
        draft.remark(
            f"{' and '.join(policies)}: not read; checks always count", "`keep_rule` in program.md decides", "keep_rule"
        )


def _strings(told: Any) -> list[str]:
    values = cast("list[Any]", told) if isinstance(told, list) else []
    return [value for value in values if isinstance(value, str)]
