"""What becomes of refs that somebody deletes or damages, between two servers or under one."""

from pathlib import Path

from tests.faults.catalogue import fault
from tests.faults.night import Night
from tests.support.corruption import garbage
from tests.support.repositories import git


@fault("all refs of experiments deleted between two servers, then git gc --prune=now")
async def unreferenced(night: Night) -> None:
    async with night.agent() as agent:
        for _ in range(3):
            await agent.experiment()
    _delete_refs(night.repository)
    _forget(night.repository)
    await night.recover()


@fault("all refs of experiments deleted under a server, then git gc --prune=now")
async def unreferenced_meanwhile(night: Night) -> None:
    async with night.agent() as agent:
        for _ in range(3):
            await agent.experiment()
        _delete_refs(night.repository)
        _forget(night.repository)
        for number in (1, 2, 3):
            assert (await agent.call("history", experiment=number))["detail"]["record"]
    await night.recover()


@fault("packed-refs overwritten between two servers")
async def overwritten_refs(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        await agent.experiment()
    git(night.repository, "pack-refs", "--all")
    main = git(night.repository, "rev-parse", "main")
    (night.repository / ".git" / "refs" / "heads" / "main").write_text(f"{main}\n", encoding="utf-8")
    garbage(night.repository / ".git" / "packed-refs")
    await night.recover()


def _delete_refs(repository: Path) -> None:
    """As a script does that cleans up."""
    told = git(repository, "for-each-ref", "--format=%(refname)", "refs/autoresearch", "refs/autoresearch-rows")
    for ref in told.split():
        git(repository, "update-ref", "-d", ref)


def _forget(repository: Path) -> None:
    """Nothing stays that no ref names."""
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "--quiet", "--prune=now")
