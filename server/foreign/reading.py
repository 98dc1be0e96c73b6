"""From the texts of another tool to the fields of a task: files, metric, direction, further figures, surroundings."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from server.foreign import scope, scripts, surroundings
from server.foreign.prose import direction, primary
from server.foreign.workspace import MOST_BYTES, Draft
from server.records import MEASURED, Figures

_NAME = re.compile(r"[\w.\-µ]{1,60}")
_MOST_FIGURES = 40
_SHOWN = 5


def fill_scope(draft: Draft, more: Iterable[str] = ()) -> None:
    """Which files may be changed, by the prompt; `more`: globs from elsewhere, where the prompt names none."""
    told = scope.read(draft.goal, draft.tracked, draft.below)
    place = f"{draft.goal_file}, line {told.line}" if told.line else draft.goal_file
    editable = [glob for glob in told.editable if not _is_own(glob, draft)]
    if not editable:
        editable = [found for word in more for found in scope.resolve(word, draft.tracked, draft.below)]
        place = draft.where
    if told.unknown:
        names = _named([name for name, _ in told.unknown])
        where = f"{draft.goal_file}, line {told.unknown[0][1]}"
        draft.remark(
            f"{where}: git has no {names}", "commit what the agent may change, or correct the list", "editable"
        )
    off_limits = [*told.off_limits, *_unfit(draft, editable)]
    draft.give("off_limits", [*dict.fromkeys([*off_limits, *draft.fields.get("off_limits", [])])], draft.goal_file)
    if editable:
        draft.give("editable", list(dict.fromkeys(editable)), place)
    else:
        who = draft.goal_file or f"The workspace of {draft.format}"
        draft.missing["editable"] = f"{who} names no file of git's that the agent may change (`## Files in Scope`)."


def _is_own(glob: str, draft: Draft) -> bool:
    """Whether it is a file of the tool's, which a prompt lets the agent write."""
    return bool(scope.matching(draft.fields.get("off_limits", []), [glob]))


def _unfit(draft: Draft, editable: list[str]) -> list[str]:
    """The files among them that no patch can change: no text, or too large."""
    unfit = [path for path in scope.matching(editable, sorted(draft.tracked)) if not _is_text(draft.root / path)]
    if unfit:
        told = f"no patch can change {_named(unfit)}: too large, or no text"
        draft.remark(told, "they are off limits here", "off_limits")
    return unfit


def _is_text(path: Path) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size > MOST_BYTES:
            return False
        return "\0" not in path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    except OSError:
        return True  # gone from the checkout: the commit has it


def _named(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def fill_metric(draft: Draft) -> None:
    """Name, unit and direction: from the log's header, then from the prompt, then from what the script prints."""
    log, told = draft.reported(), primary(draft.goal)
    header = log.header
    place = f"{log.file}, line {header.line}" if header else draft.goal_file
    names, _ = scripts.metrics("\n".join(draft.texts.values()))
    name = (header.metric if header else None) or (told.name if told else "") or ("metric" if header else "")
    unit = (header.unit if header else None) or (told.unit if told else "")
    chosen = _printed_name(draft, name)
    if chosen:
        draft.give("metric", {"name": chosen, "unit": unit}, place)
    fill_direction(draft, place)
    fill_figures(draft, [*log.figures, *names], chosen)


def _printed_name(draft: Draft, name: str) -> str:
    """The metric's name as the script prints it; empty where nobody says it. `name`: as header or prompt have it."""
    text, script = "\n".join(draft.texts.values()), next(iter(draft.texts), draft.where)
    marked, made_up = scripts.metrics(text)
    if made_up and name:
        return name
    printed = [] if made_up else marked or scripts.plain_names(text)
    chosen = _alike(name, printed)
    if not chosen and not name:
        known = f"{script} prints {_named(printed)}, and nothing says which number counts" if printed else ""
        draft.missing["metric"] = f"{known or f'Nothing in {draft.where} says what the number is called'}."
    elif chosen and name not in ("", chosen):
        told = f"{script} prints {chosen}, which the log or the prompt calls {name}"
        draft.remark(told, f"`metric: {name}` where another number is meant", "metric")
    elif not chosen and marked:
        draft.remark(f"{script} prints {_named(printed)}, and no {name}", "give `metric` as it is printed", "metric")
    return chosen or name


def _alike(name: str, printed: list[str]) -> str:
    """The printed name that is meant: the same, one that differs in signs alone, or, where none is told, a lone one."""
    if name in printed:
        return name
    found = [one for one in printed if _folded(one) == _folded(name)]
    if not found and not _NAME.fullmatch(name):
        found = printed
    return found[0] if len(found) == 1 else ""


def _folded(name: str) -> str:
    return re.sub(r"[-.]", "_", name.lower().replace("µ", "u").replace("\u03bc", "u"))


def fill_direction(draft: Draft, place: str) -> None:
    """From the header; else from prose, said as a guess; a header of pi's without one means lower."""
    log = draft.reported()
    if log.header and log.header.direction:
        draft.give("direction", log.header.direction, place)
        return
    if told := direction(draft.goal, map(scripts.comments, draft.texts.values())):
        where = f"{draft.goal_file}, line {told.line}" if told.line else "a comment of the script"
        other = "lower" if told.value == "higher" else "higher"
        draft.give("direction", told.value, where)
        remedy = f"`direction: {other}` where that is wrong"
        draft.remark(f"{told.value} numbers are better: guessed from {where}", remedy, "direction")
    elif log.header and log.file.endswith(".jsonl"):
        draft.give("direction", "lower", place)
    else:
        about = " and ".join(filter(None, [draft.goal_file, log.file])) or draft.where
        draft.missing["direction"] = f"Nothing in {about} says whether lower or higher numbers are better."


def fill_figures(
    draft: Draft, names: Iterable[str], metric: str, bounds: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Further numbers: shown beside the score, and bound where the tool bounds them."""
    bounds = bounds or {}
    wanted = [name for name in dict.fromkeys([*bounds, *names]) if name != metric]
    fit = [name for name in wanted if _NAME.fullmatch(name) and (name not in Figures.model_fields or name in MEASURED)]
    if lost := [name for name in bounds if name not in fit]:
        told = f"{', '.join(lost)} cannot be bound: the server itself uses such a name, or it is none"
        draft.remark(told, "have the script print it under another name", "metrics")
    if fit:
        figures: dict[str, Any] = {name: dict(bounds.get(name) or {"weight": 1.0}) for name in fit[:_MOST_FIGURES]}
        draft.give("metrics", figures, draft.where)


def fill_surroundings(draft: Draft) -> str:
    """What the scripts find around them: links, files that git does not have, and what confinement bars.

    Returns:
        What stands in front of a command, with a blank; may be empty.
    """
    files, texts = draft.tracked, list(draft.texts.values())
    linked = surroundings.links(draft.root, files, texts, draft.below)
    linked += [name for name in draft.fields.get("link", []) if name not in linked]
    if linked:
        draft.give("link", linked, draft.where)
        told = f"git does not have {_named(linked)}: linked into each run, where they can only be read"
        draft.remark(told, "`link: [...]` says otherwise", "link")
    draft.wanted = surroundings.wanted(draft.texts)
    draft.pinned = surroundings.brought(draft.root, files, draft.wanted, linked)
    if draft.pinned:
        told = (
            f"git does not have {_named(list(draft.pinned))}: each run gets a copy, and a change begins a new segment"
        )
        draft.remark(told, "commit them before a study begins, and its history has them as well")
    if withheld := surroundings.secrets(draft.root, files, draft.wanted):
        told = f"{next(iter(draft.texts))} names {_named(withheld)}, which looks like a secret: no run gets it"
        draft.remark(told, "let the script go on without it")
    draft.remarks += [("", lack) for lack in surroundings.missing(draft.root, texts, draft.below)]
    _remark_files(draft)
    for name, text in draft.texts.items():
        draft.remarks += scripts.barred(name, text, draft.root)
        draft.remarks += [("", lack) for lack in surroundings.without_programs(name, text)]
    return surroundings.variables(draft.root, linked, texts)


def _remark_files(draft: Draft) -> None:
    """Files that the scripts name and that may be in the way: candidates, outputs, the workspace itself."""
    editable, withheld = draft.fields.get("editable", []), draft.fields.get("off_limits", [])
    for script, text in draft.texts.items():
        named = [path for path in scripts.named(text) if path in draft.tracked]
        own = [path for path in scope.matching(editable, named) if not scope.matching(withheld, [path])]
        if own:
            told = f"{script} names {_named(own)}, which the agent may change"
            remedy = f"`off_limits: [{own[0]}]`, if it measures and is no part of the candidate"
            draft.remark(told, remedy, "off_limits")
        if outputs := [path for path in scripts.written(text) if path in draft.tracked]:
            told = (
                f"{script} writes {_named(outputs)}, which git has: a run that changes a file of the commit is invalid"
            )
            draft.remark(told, f"git rm --cached {outputs[0]}, and name it in .gitignore")
        if re.search(rf"(?<![\w/]){re.escape(str(draft.root.resolve()))}(?![\w-])", text):
            told = f"{script} names the workspace by its absolute path, and a run is in a copy elsewhere"
            draft.remark(told, 'have it begin with `cd "$(dirname "$0")"`')
