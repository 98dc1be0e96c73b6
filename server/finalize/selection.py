"""Which kept changes a branch gets: those that are surely better, all of them, or some by number. Pure."""

import re
from collections.abc import Mapping, Sequence

from server.errors import Unavailable
from server.finalize.effect import Effect

_NUMBERS = re.compile(r"\s*[0-9]{1,9}\s*(,\s*[0-9]{1,9}\s*)*")


def chosen(only: str, groups: Sequence[Sequence[int]], effects: Mapping[int, Effect]) -> list[list[int]]:
    """The groups that are taken, with what is left of them.

    Args:
        only: "sure", "all", or numbers with commas between them. groups: the kept experiments, each in one of them.
        effects: by the last number of a group, what all of it brought.

    Raises:
        Unavailable: a number was not kept, or nothing is sure.
    """
    if only == "all":
        return [list(group) for group in groups]
    if only == "sure":
        sure = [list(group) for group in groups if effects[group[-1]].sure]
        if groups and not sure:
            raise Unavailable(
                "No kept change is certainly larger than the noise.",
                "`--only all` takes what was kept, and `--only 4,7` some by number.",
            )
        return sure
    if not _NUMBERS.fullmatch(only):
        raise Unavailable(f"--only takes sure, all, or numbers such as 4,7; not {only!r}.", "Correct it.")
    wanted = {int(number) for number in only.split(",")}
    known = {number for group in groups for number in group}
    if unknown := sorted(wanted - known):
        raise Unavailable(
            f"Experiment {unknown[0]} was not kept.", f"Kept were {', '.join(map(str, sorted(known))) or 'none'}."
        )
    found = ([number for number in group if number in wanted] for group in groups)
    return [group for group in found if group]
