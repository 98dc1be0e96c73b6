"""The clients: what each must be told beside our own configuration, and how it is asked for one turn."""

import json
from collections.abc import Callable
from dataclasses import dataclass

PROMPT = "Run the baseline experiment with autoresearch and wait for its result."
_KEY = "sk-dummy"


@dataclass(frozen=True)
class Client:
    """A client from npm. `prepare` writes what it needs into an empty home; `turn` is its command for one prompt."""

    name: str  # as `autoresearch connect` calls it
    package: str
    program: str
    transports: tuple[str, ...]
    variables: Callable[[str], dict[str, str]]  # by the model's URL
    turn: Callable[[str], list[str]]
    settings: dict[str, str]  # path below the home folder → text
    listing: bool = True  # `mcp list` connects


def _codex(model: str) -> list[str]:
    provider = f'{{name = "mock", base_url = "{model}/v1", wire_api = "responses", env_key = "OPENAI_API_KEY"}}'
    chosen = ["-c", "model_provider=mock", "-c", f"model_providers.mock={provider}", "-m", "mock"]
    return ["exec", "--skip-git-repo-check", *chosen, PROMPT]


def _opencode(model: str) -> dict[str, str]:
    options = {"baseURL": f"{model}/v1", "apiKey": _KEY}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "mock",
        "options": options,
        "models": {"mock": {"name": "mock"}},
    }
    told = {"provider": {"mock": provider}, "autoupdate": False, "share": "disabled"}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(told), "OPENCODE_DISABLE_MODELS_FETCH": "1"}


CLIENTS = (
    Client(
        "claude-code", "@anthropic-ai/claude-code", "claude", ("stdio", "http"),
        lambda model: {
            "ANTHROPIC_BASE_URL": model, "ANTHROPIC_API_KEY": _KEY, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        lambda model: ["-p", PROMPT, "--allowedTools", "mcp__autoresearch"],
        {".claude/settings.json": json.dumps({"enableAllProjectMcpServers": True})},
    ),
    Client(
        "codex", "@openai/codex", "codex", ("stdio", "http"),
        lambda model: {"OPENAI_API_KEY": _KEY},
        _codex,
        {},
        listing=False,
    ),
    Client(
        "opencode", "opencode-ai", "opencode", ("stdio", "http"),
        _opencode,
        lambda model: ["run", "--model", "mock/mock", PROMPT],
        {},
    ),
    Client(
        "gemini", "@google/gemini-cli", "gemini", ("stdio", "http"),
        lambda model: {
            "GOOGLE_GEMINI_BASE_URL": model, "GEMINI_API_KEY": _KEY, "GEMINI_CLI_TRUST_WORKSPACE": "true",
        },
        lambda model: ["-p", PROMPT, "--yolo"],
        {".gemini/settings.json": json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}})},
    ),
)  # fmt: skip
