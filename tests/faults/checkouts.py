"""Repositories as people have them: cut off, sparse, nested, linked, with line ends of their own."""

from pathlib import Path

from tests.faults.catalogue import fault
from tests.faults.night import Night
from tests.support.repositories import git


async def _works(night: Night, repository: Path) -> None:
    """A night in `repository`: three runs, and a server in between that is killed."""
    night.move(repository)
    async with night.agent() as agent:
        await agent.experiment()
        await agent.experiment()
    assert git(repository, "status", "--porcelain") == ""
    await night.recover()
    assert git(repository, "fsck", "--no-dangling", "--connectivity-only") == ""


@fault("a shallow clone")
async def shallow(night: Night) -> None:
    (night.repository / "more.txt").write_text("more", encoding="utf-8")
    git(night.repository, "add", "--all", "--", ":!.autoresearch")
    git(night.repository, "commit", "--quiet", "-m", "more")
    clone = night.folder / "shallow"
    git(night.folder, "clone", "--quiet", "--depth=1", night.repository.as_uri(), str(clone))
    await _works(night, clone)


@fault("a partial clone, without the blobs of the past")
async def partial(night: Night) -> None:
    git(night.repository, "config", "uploadpack.allowFilter", "true")
    clone = night.folder / "partial"
    git(night.folder, "clone", "--quiet", "--filter=blob:none", night.repository.as_uri(), str(clone))
    await _works(night, clone)


@fault("a sparse checkout")
async def sparse(night: Night) -> None:
    for name in ("wanted", "unwanted"):
        (night.repository / name).mkdir()
        (night.repository / name / "file.txt").write_text(name, encoding="utf-8")
    git(night.repository, "add", "--all", "--", ":!.autoresearch")
    git(night.repository, "commit", "--quiet", "-m", "folders")
    clone = night.folder / "sparse"
    git(night.folder, "clone", "--quiet", str(night.repository), str(clone))
    git(clone, "sparse-checkout", "set", "wanted")
    assert not (clone / "unwanted").exists()
    await _works(night, clone)
    assert not (clone / "unwanted").exists()
    assert git(clone, "ls-tree", "--name-only", "autoresearch/t1", "unwanted/") == "unwanted/file.txt"


@fault("a repository with a submodule")
async def nested(night: Night) -> None:
    other = night.folder / "other"
    git(night.folder, "clone", "--quiet", str(night.repository), str(other))
    outer = night.folder / "outer"
    git(night.folder, "clone", "--quiet", str(night.repository), str(outer))
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "inner")
    git(outer, "commit", "--quiet", "-m", "a submodule")
    await _works(night, outer)


@fault("a linked worktree of the user's as the workspace")
async def linked(night: Night) -> None:
    worktree = night.folder / "linked"
    git(night.repository, "worktree", "add", "--quiet", "-b", "mine", str(worktree))
    await _works(night, worktree)
    assert git(night.repository, "status", "--porcelain", "--untracked-files=no") == ""


@fault("line ends that git changes on the way: eol=crlf")
async def line_ends(night: Night) -> None:
    (night.repository / ".gitattributes").write_text("*.py text eol=crlf\n", encoding="utf-8")
    git(night.repository, "add", "--all", "--", ":!.autoresearch")
    git(night.repository, "commit", "--quiet", "-m", "line ends")
    clone = night.folder / "crlf"
    git(night.folder, "clone", "--quiet", str(night.repository), str(clone))
    await _works(night, clone)


@fault("a repository whose name is full of surprises")
async def odd(night: Night) -> None:
    clone = night.folder / "a 'b' \"c\" $d `e` ;f &g #h ünï 研究 -i\\j"
    git(night.folder, "clone", "--quiet", str(night.repository), str(clone))
    await _works(night, clone)
