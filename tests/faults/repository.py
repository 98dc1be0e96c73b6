"""What a user, or git, does to the repository while a night works in it."""

import os
import sys
from pathlib import Path
from subprocess import CalledProcessError

import anyio
import pytest

from tests.faults.catalogue import fault
from tests.faults.night import TAG, Night, Refused
from tests.support.corruption import emptied
from tests.support.repositories import git

_BRANCH = f"autoresearch/{TAG}"


@fault("index.lock left behind, in the checkout and in the worktree")
async def index_lock(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
    locks = [
        night.repository / ".git" / "index.lock",
        night.repository / ".git" / "worktrees" / "worktree" / "index.lock",
    ]
    for lock in locks:
        lock.write_bytes(b"")
    await night.recover()
    assert all(lock.exists() for lock in locks)


@fault("the user commits on the branch while a run is on")
async def moved(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        tip = git(night.repository, "rev-parse", _BRANCH)
        await agent.start()
        tree = git(night.repository, "rev-parse", f"{_BRANCH}^{{tree}}")
        theirs = git(night.repository, "commit-tree", tree, "-p", tip, "-m", "theirs")
        git(night.repository, "update-ref", f"refs/heads/{_BRANCH}", theirs)
        assert (await agent.finish())["verdict"] == "improved"
        with pytest.raises(Refused, match="somebody else moved it"):
            await agent.call("keep", reason="better")
        await agent.call("discard", reason="the branch is theirs")
    async with night.agent() as agent:  # the next server starts, says so, and leaves the branch to them
        told = await agent.call("status")
        assert (night.in_main()[-1].decision, told["phase"]) != (None, "improved")
        assert "git branch" in told["head_moved"]
        with pytest.raises(Refused, match="somebody else moved it"):
            await agent.start()
        assert git(night.repository, "rev-parse", _BRANCH) == theirs
        git(night.repository, "update-ref", f"refs/heads/{_BRANCH}", tip)  # the operator, as they are told
        assert (await agent.experiment())["val_bpb"] is not None
    await night.recover()


@fault("the branch deleted in the middle of a night")
async def deleted(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        tip = git(night.repository, "rev-parse", _BRANCH)
        git(night.repository, "update-ref", "-d", f"refs/heads/{_BRANCH}")
        await agent.start()
        assert git(night.repository, "rev-parse", _BRANCH) == tip
        await agent.finish()
        git(night.repository, "update-ref", "-d", f"refs/heads/{_BRANCH}")
    await night.recover()


@fault("refs cut to nothing by a power cut, and the repository moved")
async def emptied_and_moved(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        await agent.experiment()
    for ref in (f"heads/{_BRANCH}", f"autoresearch/{TAG}/1", f"autoresearch/{TAG}/2", f"autoresearch-rows/{TAG}/2"):
        emptied(night.repository / ".git" / "refs" / ref)
    elsewhere = night.repository.rename(night.repository.with_name("moved"))
    night.repository, night.home = elsewhere, elsewhere / ".autoresearch"
    night.state = night.home / TAG
    night.accept()
    await night.recover()


@fault("git clean -ffdx in the middle of a night")
async def cleaned(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        await agent.start()
        await agent.finish()
        git(night.repository, "clean", "-ffdxq")
        night.home.mkdir()
        (night.home / "data").symlink_to(night.data)
        while (await agent.call("status"))["phase"] != "idle":
            await agent.call("discard", reason="its worktree is gone")
        assert (await agent.experiment())["val_bpb"] is not None
    await night.recover()


@fault("the user edits, commits and switches branches in the checkout while a run is on")
async def at_work(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        await agent.start()
        git(night.repository, "switch", "--quiet", "-c", "mine")
        (night.repository / "train.py").write_text("# mine\n", encoding="utf-8")
        git(night.repository, "commit", "--quiet", "-am", "mine")
        (night.repository / "train.py").write_text("# mine, and not committed\n", encoding="utf-8")
        night.accept()
        assert (await agent.finish())["verdict"] == "improved"
        await agent.call("keep", reason="better")
    await night.recover()


@fault("the checkout in the middle of a merge with conflicts")
async def merging(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
    for name in ("one", "other"):
        git(night.repository, "switch", "--quiet", "-c", name, "main")
        (night.repository / "notes.txt").write_text(name, encoding="utf-8")
        git(night.repository, "add", "notes.txt")
        git(night.repository, "commit", "--quiet", "-m", name)
    with pytest.raises(Exception, match="merge"):
        git(night.repository, "merge", "--quiet", "one")
    night.accept()
    await night.recover()


def _trap(hooks: Path, witness: Path) -> None:
    """Hooks that leave a trace and fail, whatever is done."""
    hooks.mkdir(parents=True, exist_ok=True)
    for name in ("pre-commit", "post-commit", "reference-transaction", "post-index-change", "post-checkout"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch '{witness}'\nexit 1\n", encoding="utf-8")
        hook.chmod(0o755)


@fault("hooks that fail, in the repository and in core.hooksPath")
async def hooks(night: Night) -> None:
    witness = night.folder / "hooked"
    _trap(night.repository / ".git" / "hooks", witness)
    for path in ("", str(night.folder / "hooks")):
        if path:
            _trap(Path(path), witness)
            git(night.repository, "config", "core.hooksPath", path)
        night.accept()
        with pytest.raises(CalledProcessError):
            git(night.repository, "update-ref", "refs/heads/theirs", "HEAD")
        witness.unlink()  # that is how they would be noticed
        await night.recover()
        assert not witness.exists()


@fault("git gc --prune=now between two runs")
async def pruned(night: Night) -> None:
    async with night.agent() as agent:
        for _ in range(3):
            await agent.experiment()
        git(night.repository, "gc", "--quiet", "--prune=now")
        for number in (1, 2, 3):
            assert (await agent.call("history", experiment=number))["detail"]["record"]
    await night.recover()


@fault("git gc --prune=now, and then the ledger deleted")
async def pruned_and_lost(night: Night) -> None:
    async with night.agent() as agent:
        for _ in range(3):
            await agent.experiment()
        before = night.in_main()
    git(night.repository, "gc", "--quiet", "--prune=now")
    (night.state / "ledger.sqlite3").unlink()
    await night.recover()
    assert night.in_main()[:3] == before


@fault("signing, filters and a template with hooks in the user's configuration")
async def configured(night: Night) -> None:
    (night.repository / ".gitattributes").write_text("*.py filter=large\n", encoding="utf-8")
    git(night.repository, "add", ".gitattributes")
    git(night.repository, "commit", "--quiet", "-m", "attributes")
    night.accept()
    witness, template, everywhere = (night.folder / name for name in ("ran", "template", "gitconfig"))
    _trap(template / "hooks", witness)
    trap = template / "hooks" / "pre-commit"
    everywhere.write_text(
        f'[init]\n templateDir = "{template}"\n[commit]\n gpgSign = true\n[gpg]\n program = "{trap}"\n'
        f'[core]\n fsmonitor = "{trap}"\n autocrlf = true\n'
        f'[filter "large"]\n clean = "{trap}"\n smudge = "{trap}"\n required = true\n',
        encoding="utf-8",
    )
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": str(everywhere)}
    new = night.folder / "new"
    await anyio.run_process([sys.executable, "-m", "server.cli", "init", str(new)], env=environment)
    assert (new / ".git" / "hooks" / "pre-commit").exists(), "the template was not used: this shows nothing"
    async with night.agent(GIT_CONFIG_GLOBAL=str(everywhere)) as agent:
        await agent.experiment()
        await agent.experiment()
    assert not witness.exists()
    await night.recover()


@fault("the user edits the candidate in the worktree between two calls")
async def candidate(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        path = night.state / "worktree" / "train.py"
        path.write_text(path.read_text(encoding="utf-8") + "# theirs\n", encoding="utf-8")
        assert (await agent.call("status"))["phase"] == "patched"
        with pytest.raises(Refused):  # but for a comment it is the incumbent
            await agent.call("run_experiment", description="what somebody wrote", wait_seconds=0)
        await agent.call("discard", reason="not mine")
    await night.recover()
