"""Downloads from a server that fails in every way a network does."""

import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.file_server import Shelf, served, sha256
from trainer.datasets.download import _Redirects, fetch  # pyright: ignore[reportPrivateUsage]
from trainer.datasets.errors import DataUnavailable

BODY = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with served(Shelf({"/x.bin": BODY})) as shelf:
        yield shelf


def got(shelf: Shelf, target: Path, retries: int = 2) -> str:
    return fetch(f"{shelf.url}/x.bin", target, lambda done, total: None, retries, pause=0.001)


def test_a_file_arrives_whole_and_its_progress_is_told(shelf: Shelf, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    found = fetch(f"{shelf.url}/x.bin", tmp_path / "new" / "x.bin", lambda done, total: told.append((done, total)))
    assert found == sha256(BODY) and (tmp_path / "new" / "x.bin").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY)) and [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_cut_connection_is_resumed_where_it_broke(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [1_000_000, 700_000]
    assert got(shelf, tmp_path / "x.bin", retries=1) == sha256(BODY)
    assert shelf.asked == ["", "bytes=1000000-", "bytes=1700000-"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["x.bin", "x.bin.sha256"]


def test_what_another_call_left_is_resumed_too(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [1_000_000]
    with pytest.raises(DataUnavailable, match=r"cut after 1000000 of 3000000 bytes.*goes on where it stopped"):
        got(shelf, tmp_path / "x.bin", retries=0)
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY) and shelf.asked[-1] == "bytes=1000000-"


def test_a_server_that_knows_no_ranges_sends_it_all_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts, shelf.ranges = [1_000_000], False
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY)
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(BODY + b"more")
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY)


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(shelf: Shelf, tmp_path: Path, status: int) -> None:
    shelf.statuses = [status, status]
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY)


def test_a_server_that_stays_busy_is_given_up_with_its_answer(shelf: Shelf, tmp_path: Path) -> None:
    shelf.statuses = [503] * 3
    with pytest.raises(DataUnavailable, match="the server answers 503 Service Unavailable"):
        got(shelf, tmp_path / "x.bin")
    assert not shelf.statuses


def test_a_file_that_is_not_there_is_not_asked_for_twice(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files, shelf.statuses = {}, []
    with pytest.raises(DataUnavailable, match="answers 404"):
        got(shelf, tmp_path / "x.bin", retries=1000)


def test_a_file_that_is_not_what_was_stated_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    shelf.stated = sha256(BODY)
    assert got(shelf, tmp_path / "right.bin") == sha256(BODY)
    shelf.stated = "0" * 64
    with pytest.raises(DataUnavailable, match=f"arrived with sha256 {sha256(BODY)}, and 0000"):
        got(shelf, tmp_path / "wrong.bin", retries=0)
    assert not list(tmp_path.glob("wrong*"))


def test_a_file_that_is_there_is_not_fetched_again_unless_it_was_damaged(shelf: Shelf, tmp_path: Path) -> None:
    for _ in range(2):
        got(shelf, tmp_path / "x.bin")
    assert len(shelf.asked) == 1
    (tmp_path / "x.bin").write_bytes(BODY[:-1])
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY) and len(shelf.asked) == 2
    assert (tmp_path / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize("location", ["/there/x.bin", "there/x.bin", "//{host}/there/x.bin", "{url}/there/x.bin"])
def test_a_redirect_is_followed_relative_or_not(shelf: Shelf, tmp_path: Path, location: str) -> None:
    shelf.location = location.format(url=shelf.url, host=shelf.url.removeprefix("http://"))
    assert got(shelf, tmp_path / "x.bin") == sha256(BODY)


@pytest.mark.parametrize(
    ("location", "words"),
    [("ftp://127.0.0.1/x.bin", "leaves http for ftp"), ("file:///etc/passwd", "not allowed"), ("/x.bin", "loop")],
)
def test_a_redirect_that_leads_nowhere_good_is_refused_at_once(
    shelf: Shelf, tmp_path: Path, location: str, words: str
) -> None:
    shelf.location = location
    with pytest.raises(DataUnavailable, match=f"the server answers 302 .*{words}"):
        got(shelf, tmp_path / "x.bin", retries=1000)


def test_no_redirect_leaves_https() -> None:
    asked = urllib.request.Request("https://x.example/a", headers={"Range": "bytes=1-"})
    with pytest.raises(urllib.error.HTTPError, match="leaves https for http"):
        _Redirects().redirect_request(asked, None, 302, "Found", {}, "http://x.example/a")
    followed = _Redirects().redirect_request(asked, None, 302, "Found", {}, "https://y.example/a")
    assert followed.get_header("Range") == "bytes=1-"
