"""Patches that nobody would write, thousands of them: each is applied whole or refused with a sentence."""

import anyio.to_thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import PatchRefused
from server.source import patch
from tests.faults.catalogue import fault
from tests.faults.night import TRAIN, Night
from tests.support.builders import only

_TRIES = 6000
_VALID = (
    "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 1e-5\n>>>>>>> REPLACE",
    "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-import torch\n+import torch as t\n from torch import nn\n",
    "*** Begin Patch\n*** Update File: train.py\n@@\n-RATE = 1e-6\n+RATE = 1e-5\n*** End Patch",
)
_LINES = sorted({line for text in (*_VALID, TRAIN) for line in text.splitlines()})
_ODD = [
    "\x00",
    "\r",
    "\ufeff",
    "\u202e",
    "../x",
    "/etc/passwd",
    "GIT binary patch",
    "rename to x",
    "@@ -0,0 +9999999999 @@",
    "x" * 70_000,
]
_line = st.one_of(st.sampled_from(_LINES), st.sampled_from(_ODD), st.text(max_size=30))


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """A valid patch with lines put in, left out and changed."""
    lines: list[str] = list(draw(st.sampled_from(_VALID)).splitlines())
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(lines)))
        lines[place : place + draw(st.integers(0, 2))] = draw(st.lists(_line, max_size=2))
    return str(draw(st.sampled_from(["\n", "\r\n", "\r"]))).join(lines)


@settings(
    max_examples=_TRIES,
    deadline=None,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.large_base_example),
)
@given(st.one_of(_mutated(), _mutated(), st.lists(_line, max_size=30).map("\n".join), st.text(max_size=300)))
def _applied_or_refused(text: str) -> None:
    try:
        after = patch.apply(TRAIN, text, "train.py")
        patch.check(only(after))
    except PatchRefused as refusal:
        assert refusal.problem and refusal.next_step
        return
    compile(after, "train.py", "exec")
    assert len(after.splitlines()) <= 630 and "\x00" not in after


@fault(f"{_TRIES:,} made-up patches: applied whole or refused (hypothesis)")
async def made_up(night: Night) -> None:
    await anyio.to_thread.run_sync(_applied_or_refused)
    await night.recover()
