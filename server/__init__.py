"""The referee: an MCP server that owns the clock, the score, the verdict, git and the history."""

__version__ = "0.1.0"
