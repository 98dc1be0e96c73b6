"""The configurations in examples/, as `autoresearch connect` makes them: `python -m tests.examples` writes them."""

from pathlib import Path

from server.connect import CLIENTS, Place, configuration

ROOT = Path(__file__).parent.parent
LOCAL = Place.local(Path("/absolute/path/to/your/repository"), "/absolute/path/to/.venv/bin/python")
REMOTE = Place(url="http://127.0.0.1:8765/mcp")


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
