"""What a server needs for Ray, before it asks any cluster: the right version, and a token."""

import os
import sys
from importlib import metadata
from pathlib import Path

from server.errors import RunnerUnavailable

VERSION = "2.60.0"  # drivers and nodes of different versions do not talk
ADDRESS = "RAY_ADDRESS"
MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
_INSTALL = (
    f"The operator must install it: pip install 'autoresearch-mcp[ray]' (ray {VERSION} exactly), as on all nodes."
)


def require() -> None:
    """Raises RunnerUnavailable: Ray cannot be used from here, with a sentence that says why."""
    try:
        found = metadata.version("ray")
    except metadata.PackageNotFoundError as error:
        raise RunnerUnavailable("Ray is not installed here.", _INSTALL) from error
    if found != VERSION:
        raise RunnerUnavailable(f"Ray {found} is installed here, but {VERSION} is needed.", _INSTALL)
    if os.environ.get(MODE, "token") == "token" and not (told := token_file()):
        raise RunnerUnavailable(
            "There is no token for the Ray cluster: without one, anyone who reaches its port can run code.",
            f"`ray get-auth-token --generate` makes one; copy it to all nodes and name it in {TOKEN_PATH}{told}.",
        )


def token_file() -> Path | str:
    """Where the token is; empty where there is none, and a word for one in the environment."""
    if os.environ.get(TOKEN):
        return TOKEN
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    try:
        return path if path.read_text(encoding="utf-8").strip() else ""
    except (OSError, ValueError):
        return ""


def loose_token() -> str:
    """Why others can read the token; empty if they cannot."""
    path = token_file()
    if isinstance(path, Path) and path.stat().st_mode & 0o077:
        return f"others can read {path}"
    return ""


def environment(address: str) -> dict[str, str]:
    """Of the process that talks with the cluster.

    Args:
        address: the operator's; empty: what RAY_ADDRESS says, or else the cluster that this machine is a node of.
    """
    own = {MODE: os.environ.get(MODE, "token"), "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    told = {ADDRESS: address} if address else {}
    packages = str(Path(__file__).resolve().parents[4])
    return {**os.environ, **own, **told, "PYTHONPATH": packages, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}


def command() -> list[str]:
    """What starts that process."""
    return [sys.executable, "-P", "-B", "-m", "server.runs.engines.ray.child"]
