"""The referee: an MCP server that owns the clock, the score, the verdict, git and the history."""

import os

__version__ = "0.1.0"

os.environ["GIT_PYTHON_REFRESH"] = "quiet"  # GitPython's import fails without git; server.vcs says it in a sentence
