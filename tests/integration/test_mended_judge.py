"""A judge that fails on the baseline and is mended: the agent goes on under the same tag, through the real server."""

import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tests.integration.test_hidden_final import JUDGE
from tests.integration.test_loop import call
from tests.support.commands import write_tree
from tests.support.judged_runs import WORKER
from tests.support.repositories import git, make_repository

PROGRAM = """---
judge: judge/judge.py
worker: "{python} judge/worker.py"
metric: points
direction: higher
editable: [src/**]
---
"""


@pytest.mark.slow
async def test_a_mended_judge_is_measured_by_under_the_same_tag(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "work", "x = 1\n")
    judge = JUDGE.format([1, 2, 3])
    files = {
        "program.md": PROGRAM,
        "judge/judge.py": judge.replace("truth * truth", "truth * turth"),
        "judge/worker.py": WORKER,
        "src/work.py": "def work(n):\n    return n\n",
    }
    write_tree(root, files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "squares")
    arguments = ["-m", "server", "--workspace", str(root), "--tag", "t1"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        failed = await call(client, "run_experiment", description="baseline", wait_seconds=300)
        assert failed["status"] == "env_fail" and "line 6: score() raised NameError" in failed["why"], failed
        assert "It takes effect with the next run if nothing has a score yet" in failed["why"]
        (root / "judge" / "judge.py").write_text(judge, encoding="utf-8")
        git(root, "commit", "--quiet", "--all", "-m", "spell it right")
        scored = await call(client, "run_experiment", description="baseline", wait_seconds=300)
        assert (scored["verdict"], scored["value"]) == ("baseline", 1 / 3), scored
        told = await call(client, "status")
        assert told["phase"] == "idle" and told["tag"] == "t1" and not told["head_moved"]
        assert any("the baseline is now commit" in note for note in told["memory"]["notes"])
