"""What an operator names as a source, and that no secret of it is saved."""

from pathlib import Path

import pytest

from server.errors import SourceUnreachable
from server.library.fetching.sources import SourceKind, read_source, without_secrets


@pytest.mark.parametrize(
    ("told", "kind", "name"),
    [
        ("https://example.org/a?b=1#c", SourceKind.WEB, "https://example.org/a?b=1"),
        ("2301.12345", SourceKind.ARXIV, "arXiv:2301.12345"),
        ("arXiv:2301.12345v2", SourceKind.ARXIV, "arXiv:2301.12345v2"),
        ("cs/9901001", SourceKind.ARXIV, "arXiv:cs/9901001"),
        ("https://arxiv.org/abs/2301.12345", SourceKind.ARXIV, "arXiv:2301.12345"),
        ("https://arxiv.org/pdf/2301.12345v1.pdf", SourceKind.ARXIV, "arXiv:2301.12345v1"),
        ("https://github.com/karpathy/nanoGPT", SourceKind.GIT, "https://github.com/karpathy/nanoGPT"),
        ("https://github.com/karpathy/nanoGPT@v1.0", SourceKind.GIT, "https://github.com/karpathy/nanoGPT@v1.0"),
        ("https://me:pw@git.example.org/x.git", SourceKind.GIT, "https://git.example.org/x.git"),
        ("https://github.com/karpathy/nanoGPT/blob/master/train.py", SourceKind.WEB, None),
        ("https://github.com/topics/muon", SourceKind.WEB, None),
        ("-", SourceKind.STDIN, "stdin"),
    ],
)
def test_sources(told: str, kind: SourceKind, name: str | None) -> None:
    source = read_source(told)
    assert source.kind is kind
    assert source.name == (told if name is None else name)
    assert kind is SourceKind.STDIN or read_source(source.name).name == source.name


def test_what_git_alone_can_tell_is_said_with_a_prefix_and_kept_so() -> None:
    source = read_source("git+https://git.example.org/team/x")
    assert (source.kind, source.target) == (SourceKind.GIT, "https://git.example.org/team/x")
    assert read_source(source.name) == source


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("file:///etc/passwd", "file:// is not fetched"),
        ("ftp://example.org/a", "ftp:// is not fetched"),
        ("ssh://git@github.com/a/b.git", "ssh:// is not fetched"),
        ("git@github.com:a/b.git", "https alone"),
        ("ext::sh -c id", "no file"),
        ("http://example.org/a.git", "https alone"),
        ("https://github.com/a/b@--upload-pack=x", "not a branch"),
        ("https://github.com/a/b@main:refs/heads/x", "not a branch"),
        ("https://github.com/a/b@../../x", "not a branch"),
        ("git+https://h.org/x@-c", "not a branch"),
        ("git+https://h.org/x --upload-pack=id", "not a web address"),
        ("git+file:///etc", "file:// is not fetched"),
        ("git+ssh://h.org/x", "ssh:// is not fetched"),
        ("git+ext::sh -c id", "no file"),
        ("ext::https://h.org/x", "no file"),
        ("--upload-pack=id", "no file"),
        ("-oProxyCommand=id", "no file"),
        ("https:///a", "not a web address"),
        ("https://exa mple.org/", "not a web address"),
        ("https://[::1", "not a web address"),
        ("example.org/page", "https://example.org/page"),
        ("nowhere.md", "no file"),
        ("javascript:alert(1)", "no file"),
        ("a\0b", "no file"),
    ],
)
def test_what_is_no_source_is_refused_in_a_sentence(told: str, words: str) -> None:
    with pytest.raises(SourceUnreachable) as refused:
        read_source(told)
    assert words in f"{refused.value.problem} {refused.value.next_step}"


def test_files_and_folders_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.html").write_text("x", encoding="utf-8")
    assert read_source("./a.html").kind is SourceKind.FILE
    assert read_source("./a.html").name == read_source("a.html").name == "a.html"
    assert read_source(".").kind is SourceKind.FOLDER
    here = read_source(".")
    assert here.name == f"../{tmp_path.name}"
    (tmp_path / "below").mkdir()
    for told in (here.name, "below/.."):  # what is saved is found again
        again = read_source(told)
        assert Path(again.target).resolve() == tmp_path and again.name.endswith(here.name)


@pytest.mark.parametrize(
    ("address", "saved"),
    [
        ("https://u:p@h.org/a?token=s3cret&page=2", "https://h.org/a?token=&page=2"),
        (
            "https://h.org/a?X-Amz-Signature=s3cret&X-Amz-Credential=s3cret",
            "https://h.org/a?X-Amz-Signature=&X-Amz-Credential=",
        ),
        ("https://h.org/a?accessToken=s3cret&API_KEY=s3cret&sig=s3cret", "https://h.org/a?accessToken=&API_KEY=&sig="),
        ("https://h.org/a?design=3&monkey=4&signal=5", "https://h.org/a?design=3&monkey=4&signal=5"),
        ("https://h.org/a#access_token=s3cret", "https://h.org/a"),
        ("https://u:s3cret@[::1/a", None),
    ],
)
def test_secrets_are_stripped(address: str, saved: str | None) -> None:
    assert "s3cret" not in without_secrets(address)
    assert saved is None or without_secrets(address) == saved
