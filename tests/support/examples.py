"""The configurations in examples/, as `autoresearch connect` makes them.

`python -m tests.support.examples` writes them.
"""

from pathlib import Path

from server.clients.client_config import CLIENTS, ServerEntry, configuration

ROOT = Path(__file__).parents[2]
LOCAL = ServerEntry.local(Path("/absolute/path/to/your/repository"), "/absolute/path/to/.venv/bin/python")
REMOTE = ServerEntry(url="http://127.0.0.1:8765/mcp")


def examples() -> dict[str, str]:
    """Path below the repository → text."""
    made = {"claude_config.example.json": configuration("claude-desktop", LOCAL)}
    for name, client in CLIENTS.items():
        suffix = Path(client.path).suffix
        made[f"examples/{name}{suffix}"] = configuration(name, LOCAL)
        if client.far:
            made[f"examples/{name}-http{suffix}"] = configuration(name, REMOTE)
    return made


if __name__ == "__main__":
    for path, text in examples().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
