"""Repositories fetched by https from a real git server, and read where they are; nothing of theirs is run."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import SourceUnreachable
from server.library.fetching.addresses import Allowed
from server.library.fetching.git_objects import MOST_BLOB, GitLimits, Repository, opened
from server.library.fetching.reach import Reach
from server.library.fetching.sources import read_source
from tests.support.git_server import git_serving, make_certificate
from tests.support.repositories import git
from tests.support.web_server import Site, page, redirect, serving

OPEN = Reach(Allowed(["127.0.0.1"]))
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "served" / "thing.git"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "README.md").write_text("# Thing\n\nIt is one.\n", encoding="utf-8")
    (folder / "large.txt").write_text("x" * (MOST_BLOB + 1), encoding="utf-8")
    (folder / "link.md").symlink_to("/etc/passwd")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    (folder / "README.md").write_text("# Thing\n\nIt is two.\n", encoding="utf-8")
    git(folder, "commit", "-qam", "two")
    return folder


@pytest.fixture
def site(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    with git_serving(source.parent, certificate, key) as made:
        yield made


def _text(repository: Repository, path: str) -> str:
    (oid,) = [blob.oid for blob in repository.files() if blob.path == path]
    return repository.contents([oid])[oid].decode()


def test_a_folder_is_read_where_it_is(source: Path) -> None:
    with opened(read_source(str(source)), Reach()) as repository:
        assert repository.commit == git(source, "rev-parse", "HEAD").strip()
        assert [blob.path for blob in repository.files()] == ["README.md"]  # no link, nothing large
        assert _text(repository, "README.md").endswith("It is two.\n")


def test_nothing_of_a_repository_is_run(source: Path, tmp_path: Path) -> None:
    """What its configuration names: hooks, filters, a file system monitor, a helper for what it lacks."""
    mark = tmp_path / "run"
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
    script.chmod(0o755)
    (source / ".gitattributes").write_text("* filter=evil diff=evil\n", encoding="utf-8")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "attributes")
    lacking = git(source, "rev-parse", "HEAD:large.txt").strip()
    for name, value in {
        "core.fsmonitor": str(script),
        "core.pager": str(script),
        "core.sshCommand": str(script),
        "filter.evil.smudge": str(script),
        "filter.evil.process": str(script),
        "diff.evil.textconv": str(script),
        "core.hooksPath": str(tmp_path),
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{script}",
        "protocol.ext.allow": "always",
    }.items():
        git(source, "config", name, value)
    (source / ".git" / "objects" / lacking[:2] / lacking[2:]).unlink()
    try:
        with opened(read_source(str(source)), Reach()) as repository:
            assert _text(repository, "README.md")
    except SourceUnreachable:
        pass  # an older git gives up where an object is missing
    assert not mark.exists()


@needs_openssl
def test_a_commit_is_fetched_by_https_and_no_more_than_is_read(site: Site, source: Path) -> None:
    with opened(read_source(f"{site.url}/thing.git"), OPEN) as repository:
        assert repository.commit == git(source, "rev-parse", "HEAD").strip()
        assert [blob.path for blob in repository.files()] == ["README.md"]
        assert _text(repository, "README.md").endswith("It is two.\n")
    with opened(read_source(f"{site.url}/thing.git@v1"), OPEN) as repository:
        assert _text(repository, "README.md").endswith("It is one.\n")
    assert all("authorization" not in headers for headers in site.headers)


@needs_openssl
def test_what_cannot_be_fetched_is_one_sentence(site: Site, source: Path) -> None:
    (source / "noise.bin").write_bytes(b"".join(bytes([n * 7 % 256, n * 31 % 251]) * 50 for n in range(1500)))
    git(source, "add", "-A")
    git(source, "commit", "-qm", "noise")
    site.pages |= {
        "/private.git/*": page(b"", 401, WWW_Authenticate='Basic realm="x"'),
        "/leads.git/*": redirect("https://169.254.169.254/x.git/info/refs"),
        "/plain.git/*": redirect("http://127.0.0.1:1/x.git/info/refs"),
    }
    site.pages["/*"] = site.pages.pop("/*")  # it comes last
    for name, reach, limits, words in (
        ("thing.git", Reach(), GitLimits(), "this machine"),
        ("thing.git@nowhere", OPEN, GitLimits(), "no such branch"),
        ("none.git", OPEN, GitLimits(), "is not a repository"),
        ("private.git", OPEN, GitLimits(), "asks for a login"),
        ("leads.git", OPEN, GitLimits(), "cloud's own service"),
        ("plain.git", OPEN, GitLimits(), "cannot be read|https alone"),
        ("thing.git", OPEN, GitLimits(most_bytes=3000), "more than 0.003 MB"),
    ):
        with (
            pytest.raises(SourceUnreachable, match=words) as refused,
            opened(read_source(f"{site.url}/{name}"), reach, limits),
        ):
            pass
        assert "\n" not in refused.value.problem and name in refused.value.problem


@needs_openssl
def test_a_server_that_cannot_be_trusted_is_refused(tmp_path: Path, source: Path) -> None:
    with git_serving(source.parent, *make_certificate(tmp_path)) as site:
        with pytest.raises(SourceUnreachable, match="not safe"), opened(read_source(f"{site.url}/thing.git"), OPEN):
            pass


@needs_openssl
def test_a_server_that_sends_git_elsewhere_reaches_nothing(site: Site) -> None:
    """The old protocol of plain files, whose list of alternates names other places."""
    with serving(Site()) as other:
        oid = "1" * 40
        site.pages = {
            "/dumb.git/info/refs": page(f"{oid}\trefs/heads/main\n".encode(), Content_Type="text/plain"),
            "/dumb.git/HEAD": page(b"ref: refs/heads/main\n"),
            "/dumb.git/objects/info/http-alternates": page(f"{other.url}/\nfile:///etc\next::id\n".encode()),
            "/dumb.git/objects/info/alternates": page(b"/etc\n"),
            **site.pages,
        }
        with pytest.raises(SourceUnreachable) as refused, opened(read_source(f"{site.url}/dumb.git"), OPEN):
            pass
        assert "dumb.git" in refused.value.problem and "\n" not in refused.value.problem and not other.asked


@needs_openssl
def test_hooks_submodules_and_odd_names_of_a_server_are_left_alone(site: Site, source: Path, tmp_path: Path) -> None:
    mark = tmp_path / "run"
    hook = source / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
    hook.chmod(0o755)
    (source / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = x\n\turl = "ext::touch {mark}"\n\tupdate = !touch {mark}\n', encoding="utf-8"
    )
    git(source, "add", "-A")
    head, blob = git(source, "rev-parse", "HEAD").strip(), git(source, "rev-parse", "HEAD:README.md").strip()
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{head},x")
    git(source, "update-index", "--add", "--cacheinfo", f"120000,{blob},docs/link.md")
    git(source, "update-index", "--add", "--cacheinfo", f"100755,{blob},-rf --upload-pack=id.md")
    git(source, "commit", "-qm", "tricks")
    with opened(read_source(f"{site.url}/thing.git"), OPEN) as repository:
        paths = [one.path for one in repository.files()]
        assert sorted(paths) == ["-rf --upload-pack=id.md", ".gitmodules", "README.md"]
        assert _text(repository, "-rf --upload-pack=id.md").endswith("It is two.\n")
    assert not mark.exists()


def test_folders_that_are_no_repository_are_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "fresh").mkdir()
    git(tmp_path / "fresh", "init", "-q")
    (source / "docs").mkdir()
    for folder, words in (
        (tmp_path / "empty", "not a git repository"),
        (tmp_path / "fresh", "no commit"),
        (source / "docs", "inside a repository"),
    ):
        with pytest.raises(SourceUnreachable, match=words), opened(read_source(str(folder)), Reach()):
            pass


def test_a_tree_that_names_itself_many_times_ends(source: Path) -> None:
    """A few objects that stand for a hundred million files."""
    blob = git(source, "rev-parse", "HEAD:README.md").strip()
    tree = _tree(source, [f"100644 blob {blob}\tf{number}" for number in range(10)])
    for _ in range(7):
        tree = _tree(source, [f"040000 tree {tree}\td{number}" for number in range(10)])
    commit = git(source, "commit-tree", "-m", "bomb", tree).strip()
    git(source, "update-ref", "refs/heads/main", commit)
    with (
        pytest.raises(SourceUnreachable, match=r"too large|too long"),
        opened(read_source(str(source)), Reach()) as repository,
    ):
        repository.files()


def _tree(folder: Path, lines: list[str]) -> str:
    (folder / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (folder / "lines").open() as told:
        return subprocess.check_output(["git", "mktree"], cwd=folder, stdin=told, text=True).strip()
