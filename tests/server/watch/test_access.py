"""Who may see and steer the page: a real `autoresearch watch`, real sockets, and those who were not let in."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import Unavailable
from server.paths import Home
from server.study.find_study import OperatorRequest, read_request
from server.watch.access import PageAccess
from server.watch.local_page import bind
from tests.server.reporting.test_view_summary import NIGHT
from tests.support.made_studies import study_paths, write
from tests.support.watching import Watch

GUARDED = ["api/session", "api/summary", "api/experiments/1", "api/events", "chart.png", "report"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("watched")
    (root / "program.md").write_text("---\nname: a study\n---\nDo research.\n", encoding="utf-8")
    (root / ".git").mkdir()
    write(study_paths(root), NIGHT)
    return root


@pytest.fixture(scope="module")
def inside(root: Path) -> Iterator[Watch]:
    """The page, and a browser that has followed its link."""
    watch = Watch(root)
    watch.enter()
    yield watch
    watch.close()


def test_the_link_lets_in_and_the_cookie_is_for_its_path_alone(inside: Watch) -> None:
    cookie = inside.enter()["set-cookie"]
    assert f"Path={inside.prefix}/" in cookie and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert inside.summary()["headline"]["best"]["number"] == 4
    assert len(inside.prefix) > 12 and inside.token not in cookie


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": ""}, 401),
        ({"Cookie": "autoresearch=nonsense"}, 401),
        ({"Cookie": "autoresearch="}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "[localhost]evil.example"}, 421),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),  # another port of this machine: it is sent the cookies of all ports
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=str,
)
def test_nobody_else_sees_anything(inside: Watch, path: str, headers: dict[str, str], status: int) -> None:
    found, text, answered = inside.ask(path, **headers)
    assert found == status and "headline" not in text and "access-control-allow-origin" not in answered


@pytest.mark.parametrize("path", GUARDED)
def test_the_token_as_a_header_shows_what_a_cookie_shows_and_changes_nothing(inside: Watch, path: str) -> None:
    if path != "api/events":  # which never ends
        assert inside.ask(path, Cookie="", X_Token=inside.token)[0] == inside.ask(path)[0]
    for wrong in ("nonsense", inside.token[:-1], inside.token + "x"):
        assert inside.ask(path, Cookie="", X_Token=wrong)[0] == 401
    assert inside.ask("api/request", {"word": "pause"}, Cookie="", X_Csrf="", X_Token=inside.token)[0] == 403


@pytest.mark.parametrize("token", ["", "nonsense", None, 7, ["a"], {"a": 1}, "é" * 40, "\ud800" * 40], ids=ascii)
def test_a_wrong_token_lets_nobody_in(inside: Watch, token: object) -> None:
    status, text, headers = inside.ask("api/session", {"token": token}, Cookie="")
    assert (status, "set-cookie" in headers) == (401, False) and "csrf" not in text


@pytest.mark.parametrize("body", ["", "[", "[]", '"x"', "{" * 100_000, "[" * 60_000, '{"token": ' + '"A' * 50_000])
def test_what_is_no_json_object_is_no_token(inside: Watch, body: str) -> None:
    assert inside.ask("api/session", body, Cookie="")[0] in (401, 413)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Csrf": "", "Cookie_": ""}, 403),
        ({"X_Csrf": "nonsense"}, 403),
        ({"Cookie": ""}, 401),
        ({"Content_Type": "text/plain"}, 415),  # what a form of another page can send without being asked
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
    ids=str,
)
def test_nobody_else_steers(inside: Watch, root: Path, headers: dict[str, str], status: int) -> None:
    told = {name.replace("_", "-") if name == "X_Csrf" else name: value for name, value in headers.items()}
    told.pop("Cookie_", None)
    assert inside.ask("api/request", {"word": "stop"}, **told)[0] == status
    assert read_request(study_paths(root).state) is None


@pytest.mark.parametrize("path", ["", *GUARDED, "api/request"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_no_other_method_than_post_changes_anything(inside: Watch, root: Path, path: str, method: str) -> None:
    state = study_paths(root).state
    before = {entry: entry.stat().st_mtime_ns for entry in state.iterdir()}
    if path != "api/events" or method not in ("GET", "HEAD"):  # a stream that does not end
        inside.ask(path, method=method)
    assert {entry: entry.stat().st_mtime_ns for entry in state.iterdir()} == before


def test_the_operators_requests_are_those_of_the_commands(inside: Watch, root: Path) -> None:
    state = study_paths(root).state
    for word, known in (("pause", OperatorRequest.PAUSE), ("stop", OperatorRequest.STOP), ("resume", None)):
        status, text, _ = inside.ask("api/request", {"word": word})
        assert status == 200 and json.loads(text)["told"] and read_request(state) is known
    assert inside.ask("api/request", {"word": "stop-now"})[0] == 200
    assert read_request(state) is OperatorRequest.STOP
    inside.ask("api/request", {"word": "resume"})
    for word in ("explode", None, 3, ["stop"]):
        assert inside.ask("api/request", {"word": word})[0] == 400
    assert read_request(state) is None


def test_the_page_itself_holds_no_data_and_may_load_nothing(inside: Watch) -> None:
    status, text, headers = inside.ask("", Cookie="")
    policy = headers["content-security-policy"]
    assert status == 200 and "a smaller batch" not in text and inside.token not in text
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    for part in ("frame-ancestors 'none'", "form-action 'none'", "require-trusted-types-for 'script'"):
        assert part in policy
    told = {name: headers[name] for name in ("cache-control", "referrer-policy", "x-content-type-options")}
    assert told == {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}


def test_a_link_may_be_followed_from_anywhere_and_shown_in_no_frame(inside: Watch) -> None:
    told = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert inside.ask("", **told)[0] == 200
    assert inside.ask("", **{**told, "Sec_Fetch_Dest": "iframe"})[0] == 403
    assert inside.ask("api/summary", **told)[0] == 403


def test_without_the_secret_path_there_is_nothing(inside: Watch) -> None:
    for path in ("/", "/api/summary", "/mcp", f"{inside.prefix}x/api/summary", "/..%2f", inside.prefix[:-1] + "/"):
        assert inside.ask(path)[0] in (404, 307), path
    status, _, headers = inside.ask(inside.prefix)
    assert status == 307 and headers["location"].endswith(f"{inside.prefix}/")


def test_an_experiment_that_is_not_there_is_told_so(inside: Watch) -> None:
    assert inside.ask("api/experiments/99")[0] == 404
    for number in ("x", "-1", "1e9", "9" * 400, "../summary"):
        assert inside.ask(f"api/experiments/{number}")[0] in (404, 503), number


def test_the_secret_is_its_owners_alone_and_outlives_a_restart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first, again = PageAccess.of(home), PageAccess.of(home)
    assert (first.token, first.prefix) == (again.token, again.prefix)
    assert home.page_token.stat().st_mode & 0o777 == 0o600
    assert PageAccess.of(Home(tmp_path / "other")).token != first.token
    home.page_token.chmod(0o644)
    with pytest.raises(Unavailable, match="Users other than its owner"):
        PageAccess.of(home)
    home.page_token.chmod(0o600)
    home.page_token.write_text("", encoding="utf-8")  # as a full disk leaves it
    assert len(PageAccess.of(home).token) > 32


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_disk_that_cannot_be_written_takes_the_page_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert PageAccess.of(Home(tmp_path)).token
    finally:
        tmp_path.chmod(0o700)


def test_the_port_stays_the_same_unless_somebody_has_it(tmp_path: Path) -> None:
    with bind(0, tmp_path) as first:
        port = first.getsockname()[1]
        with bind(0, tmp_path) as other:
            assert other.getsockname()[1] != port
        with pytest.raises(Unavailable, match="cannot listen on"):
            bind(port, tmp_path)
    with bind(port, tmp_path) as named:
        assert named.getsockname() == ("127.0.0.1", port) and named.family is socket.AF_INET
