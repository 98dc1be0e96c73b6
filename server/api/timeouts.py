"""How long one call may wait for a result: up to the timeout measured for this client. Pure.

If a call takes longer than its client's timeout, the agent does not see the result, although the history has it. If it
ends too early, the agent needs another turn. Measured with real clients and a mock model (docs/clients.md), 2026-11.
"""

SHELL = "autoresearch-call"  # `autoresearch call`, which waits as long as its shell does
UNKNOWN_SECONDS = 50.0  # Claude Desktop, Cursor, VS Code and anything new: some cut at 60 s, and cannot be told to wait
_LONG_SECONDS = 280.0  # below the 300 s at which Codex cuts every call, and Claude Code a silent one over HTTP
_UNLIMITED_SECONDS = 3600.0

# What `clientInfo.name` starts with: seconds with, and without, a progress token; progress resets most idle clocks.
_CLIENTS = {
    SHELL: (_UNLIMITED_SECONDS, _UNLIMITED_SECONDS),
    "claude-code": (_UNLIMITED_SECONDS, _LONG_SECONDS),
    "opencode": (_UNLIMITED_SECONDS, UNKNOWN_SECONDS),
    "codex-mcp-client": (_LONG_SECONDS, _LONG_SECONDS),
    "gemini-cli": (540.0, 540.0),  # ten minutes, unless configured otherwise
    "qwen-code": (540.0, _LONG_SECONDS),
}


def call_timeout(client: str, progress: bool) -> float:
    """Seconds that a call of `client` may take. `progress`: whether the client asked for progress messages."""
    for name, (told, silent) in _CLIENTS.items():
        if client.startswith(name):
            return told if progress else silent
    return UNKNOWN_SECONDS
