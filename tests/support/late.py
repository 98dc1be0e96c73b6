"""Modules that take seconds to import: every process of tests collects all files, and few run what needs them."""

import importlib
from typing import Any


def import_into(names: dict[str, Any], *wanted: str) -> None:
    """Import what a file of tests names under TYPE_CHECKING alone, for a fixture of its module.

    Args:
        names: globals() of that file. wanted: `module`, or `module:name` for a name in it.
    """
    for one in wanted:
        module, _, name = one.partition(":")
        found = importlib.import_module(module)
        names[name or module] = getattr(found, name) if name else found
