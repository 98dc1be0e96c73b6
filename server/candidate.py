"""The candidate's text, and what a patch, or an earlier attempt done once more, makes of it."""

from server import patch
from server.errors import StaleText
from server.ledger import Ledger
from server.structure import sha256
from server.workspace import Workspace


def patched(workspace: Workspace, text: str, base_sha256: str) -> str:
    """The candidate with a patch applied. Raises PatchRefused, StaleText, WorkspaceUnusable."""
    before = workspace.candidate()
    _require_base(before, base_sha256)
    return patch.apply(before, text, workspace.file)


def again(workspace: Workspace, ledger: Ledger, number: int, base_sha256: str) -> str:
    """The candidate with what experiment `number` changed. Raises PatchRefused, StaleText, WorkspaceUnusable."""
    before, found = workspace.candidate(), ledger.get(number)
    _require_base(before, base_sha256)
    assert found is not None
    base, theirs = (workspace.text(commit) for commit in (found.attempt.parent, found.commit))
    return workspace.merge(base, before, theirs, f"experiment {number}")


def _require_base(before: str, base_sha256: str) -> None:
    if base_sha256 and base_sha256 != sha256(before):
        raise StaleText(
            f"train.py has sha256 {sha256(before)}, the patch was written against {base_sha256}.",
            "Call read_train() and write the patch against what it shows.",
        )
