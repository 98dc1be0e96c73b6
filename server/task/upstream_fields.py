"""Which fields of program.md the repository karpathy/autoresearch itself decides. Pure."""

from collections.abc import Mapping
from typing import Any

from server.records import lm_names

WHY = (
    "the referee `karpathy` uses the repository as it is, and this is fixed there: leave it out, or measure with a "
    "`command`"
)
# By field, the value that may be said again; None: there is none to give.
_FIXED: dict[str, Any] = {
    **dict.fromkeys(("build", "build_seconds", "off_limits", "scale", "paired", "repeats", "network", "home")),
    "metric": {"name": lm_names.NAME},
    "direction": "lower",
    "editable": ["train.py"],
}


def contradicted(given: Mapping[str, Any]) -> str:
    """The first field whose given value is another than upstream's; empty if there is none."""
    return next((name for name, value in _FIXED.items() if name in given and given[name] != value), "")
