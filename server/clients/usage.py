"""What clients report about tokens and cost in their JSON output, line by line.

Each client has its own form: Claude Code (`stream-json`, and `json`), Codex (`--json`), Gemini CLI (`stream-json`, and
`json`) and opencode (`--format json`). A line that is none of them says nothing.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, cast

_LONGEST = 8 << 20  # bytes of a line; a longer one is passed over
_CHUNK = 1 << 20


class Spent(NamedTuple):
    """Tokens in (with cached ones) and out; US dollars, None if the client does not report its cost."""

    tokens_in: int = 0
    cached: int = 0
    tokens_out: int = 0
    usd: float | None = None

    def plus(self, other: "Spent") -> "Spent":
        usd = None if self.usd is None and other.usd is None else (self.usd or 0.0) + (other.usd or 0.0)
        into, out = self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out
        return Spent(into, self.cached + other.cached, out, usd)


class Meter:
    """One start of a client."""

    def __init__(self) -> None:
        self._messages: dict[str, Spent] = {}  # of Claude Code, by id: one is told several times
        self._steps = Spent()
        self._total: Spent | None = None  # as the client sums it up at its end

    @property
    def spent(self) -> Spent:
        """So far."""
        if self._total is not None:
            return self._total
        found = self._steps
        for one in self._messages.values():
            found = found.plus(one)
        return found

    def read(self, line: bytes) -> None:
        """Read a line of the client's output."""
        if not line.lstrip().startswith(b"{"):
            return
        try:
            told: Any = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(told, dict):
            self._take(cast("dict[str, Any]", told))

    def _take(self, told: dict[str, Any]) -> None:
        kind = told.get("type")
        if kind == "assistant":
            message = _inner(told, "message")
            self._messages[str(message.get("id"))] = _claude(_inner(message, "usage"))
        elif kind == "turn.completed":
            self._steps = self._steps.plus(_codex(_inner(told, "usage")))
        elif kind in ("step_finish", "step-finish"):
            self._steps = self._steps.plus(_opencode(_inner(told, "part")))
        elif _inner(told, "stats"):
            self._total = _gemini(_inner(told, "stats"))
        elif kind == "result":
            self._total = _claude_result(told, self.spent)
        elif (message := _inner(told, "msg")).get("type") == "token_count":  # Codex of 2025
            self._total = _codex(_inner(_inner(message, "info"), "total_token_usage"))


def _inner(told: dict[str, Any], name: str) -> dict[str, Any]:
    found = told.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _count(told: dict[str, Any], *names: str) -> int:
    """The first of these that is a number."""
    found = (told.get(name) for name in names)
    return next((int(one) for one in found if isinstance(one, int | float) and 0 <= one < 1e15), 0)


def _usd(value: object) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good and isinstance(value, int | float) else None


def _claude(usage: dict[str, Any]) -> Spent:
    cached = _count(usage, "cache_read_input_tokens", "cacheReadInputTokens")
    made = _count(usage, "cache_creation_input_tokens", "cacheCreationInputTokens")
    fresh = _count(usage, "input_tokens", "inputTokens")
    return Spent(fresh + made + cached, cached, _count(usage, "output_tokens", "outputTokens"))


def _claude_result(told: dict[str, Any], before: Spent) -> Spent:
    """The sum of all models, those of helpers as well; without one, what the messages said."""
    models, usage = _inner(told, "modelUsage"), _inner(told, "usage")
    found = Spent()
    for name in models:
        found = found.plus(_claude(_inner(models, name)))
    if not models:
        found = _claude(usage) if usage else before
    return found._replace(usd=_usd(told.get("total_cost_usd")))


def _codex(usage: dict[str, Any]) -> Spent:
    return Spent(_count(usage, "input_tokens"), _count(usage, "cached_input_tokens"), _count(usage, "output_tokens"))


def _opencode(part: dict[str, Any]) -> Spent:
    tokens = _inner(part, "tokens")
    cache = _inner(tokens, "cache")
    read = _count(cache, "read")
    into = _count(tokens, "input") + read + _count(cache, "write")
    return Spent(into, read, _count(tokens, "output") + _count(tokens, "reasoning"), _usd(part.get("cost")))


def _gemini(stats: dict[str, Any]) -> Spent:
    models = _inner(stats, "models")
    found = Spent()
    for name in models:
        tokens = _inner(_inner(models, name), "tokens")
        out = _count(tokens, "candidates") + _count(tokens, "thoughts")
        found = found.plus(Spent(_count(tokens, "prompt", "input"), _count(tokens, "cached"), out))
    if found.tokens_in:
        return found
    return Spent(_count(stats, "input_tokens"), _count(stats, "cached"), _count(stats, "output_tokens"))


class LogTail:
    """New lines of a log that another process writes, and that may be cut to nothing in between."""

    def __init__(self, path: Path) -> None:
        """From its end on."""
        self._path, self._rest, self._skipping = path, b"", False
        self._at = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[bytes]:
        """Those that are whole since the last call. Raises OSError."""
        if not self._path.exists():
            return []
        if self._path.stat().st_size < self._at:
            self._at = 0
        found: list[bytes] = []
        with self._path.open("rb") as log:
            log.seek(self._at)
            while chunk := log.read(_CHUNK):
                self._at += len(chunk)
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                found += whole[1:] if self._skipping and whole else whole
                self._skipping = self._skipping and not whole
                if len(self._rest) > _LONGEST:
                    self._rest, self._skipping = b"", True
        return found
