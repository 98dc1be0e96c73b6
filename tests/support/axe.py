"""axe-core, which looks for what keeps people with other senses or hands from using a page."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.browser import Tab

_FOUND = find_spec("axe_core_python")  # carries the script, and is asked for nothing else
needs_axe = pytest.mark.skipif(not _FOUND and not os.environ.get("CI"), reason="axe-core-python is not installed")


def violations(tab: Tab, *rules: str) -> list[str]:
    """What axe-core finds wrong with the page as it is, by all its rules or some. Empty: nothing."""
    assert _FOUND and _FOUND.origin, "pip install axe-core-python"
    if not tab.ask("'axe' in window"):
        tab.ask(Path(_FOUND.origin).with_name("axe.min.js").read_text(encoding="utf-8") + "; 0")
    only = {"runOnly": list(rules)} if rules else {}
    options = json.dumps({"resultTypes": ["violations"], **only})
    found = "found => found.violations.flatMap(one => one.nodes.map(node => `${one.id}: ${node.target} ${node.html}`))"
    return tab.ask(f"axe.run(document, {options}).then({found})")
