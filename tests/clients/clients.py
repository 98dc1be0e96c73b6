"""The clients: what each must be told beside our own configuration, and how it is asked for one turn."""

import json
from collections.abc import Callable
from dataclasses import dataclass

PROMPT = "Run the baseline experiment with autoresearch and wait for its result."
_KEY = "sk-dummy"


@dataclass(frozen=True)
class Client:
    """A client from npm. `settings` is what it needs in an empty home; `turn` is its command for one prompt."""

    name: str  # as `autoresearch connect` calls it
    package: str
    program: str
    transports: tuple[str, ...]  # drive: over stdio, started by `autoresearch drive`
    variables: Callable[[str], dict[str, str]]  # by the model's URL
    turn: list[str]
    settings: dict[str, str]  # path below the home folder → text; {model} stands for the model's URL
    listing: bool = True  # `mcp list` connects


_CODEX = """model = "mock"
model_provider = "mock"

[model_providers.mock]
name = "mock"
base_url = "{model}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
"""


def _opencode(model: str) -> dict[str, str]:
    options = {"baseURL": f"{model}/v1", "apiKey": _KEY}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "mock",
        "options": options,
        "models": {"mock": {"name": "mock"}},
    }
    told = {"provider": {"mock": provider}, "model": "mock/mock", "autoupdate": False, "share": "disabled"}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(told), "OPENCODE_DISABLE_MODELS_FETCH": "1"}


CLIENTS = (
    Client(
        "claude-code",
        "@anthropic-ai/claude-code",
        "claude",
        ("stdio", "http", "drive"),
        lambda model: {
            "ANTHROPIC_BASE_URL": model,
            "ANTHROPIC_API_KEY": _KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        ["-p", PROMPT, "--allowedTools", "mcp__autoresearch"],
        {".claude/settings.json": json.dumps({"enableAllProjectMcpServers": True})},
    ),
    Client(
        "codex",
        "@openai/codex",
        "codex",
        ("stdio", "http", "drive"),
        lambda model: {"OPENAI_API_KEY": _KEY},
        ["exec", "--skip-git-repo-check", PROMPT],
        {".codex/config.toml": _CODEX},
        listing=False,
    ),
    Client(
        "opencode",
        "opencode-ai",
        "opencode",
        ("stdio", "http", "drive"),
        _opencode,
        ["run", PROMPT],
        {},
    ),
    Client(
        "gemini",
        "@google/gemini-cli",
        "gemini",
        ("stdio", "http", "drive"),
        lambda model: {
            "GOOGLE_GEMINI_BASE_URL": model,
            "GEMINI_API_KEY": _KEY,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        },
        ["-p", PROMPT, "--yolo"],
        {".gemini/settings.json": json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}})},
    ),
)
