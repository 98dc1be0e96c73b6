"""A server over HTTP, as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

_END_SECONDS = 30


@contextmanager
def served(module: str, *options: str) -> Generator[str]:
    """A server process; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert process.stdout
    try:
        found = re.search(r"http://\S+/mcp", process.stdout.readline())
        assert found, process.stdout.read()
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=_END_SECONDS)
