"""Pages from a real server that answers as badly as it can: each is one clear sentence, within limits."""

import gzip
import socket
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from server.errors import SourceUnreachable
from server.library.fetching import arxiv
from server.library.fetching.addresses import Allowed
from server.library.fetching.reach import Reach
from server.library.fetching.web import Limits, Missing, Pace, Web
from tests.support.web_server import Handler, Page, Site, page, redirect, serving

HTML = b"<html><head><title>Muon</title></head><body><p>Muon orthogonalises momentum.</p></body></html>"
FEW = Limits(read_seconds=5, seconds=20, most_bytes=100_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as made:
        yield made


def web(limits: Limits = FEW) -> Web:
    return Web(Reach(Allowed(["127.0.0.1"])), limits, Pace(0))


def test_a_page_with_what_the_server_says_of_it(site: Site) -> None:
    kind = 'text/html; charset="ISO-8859-1"'
    site.pages["/a"] = page(gzip.compress(HTML), Content_Encoding="gzip", Content_Type=kind)
    found = web().fetch(f"{site.url}/a")
    assert found.data == HTML
    assert (found.content_type, found.charset) == ("text/html", "iso-8859-1")
    assert found.source == found.final_url == f"{site.url}/a"
    assert site.headers[0]["user-agent"].startswith("autoresearch/")
    assert site.headers[0]["host"] == site.url.removeprefix("http://")


def test_a_redirect_is_followed_and_its_end_is_noted(site: Site) -> None:
    site.pages |= {"/a": redirect("b?token=s3cret"), "/b": page(HTML)}
    found = web().fetch(f"{site.url}/a?key=s3cret")
    assert site.asked == ["/a?key=s3cret", "/b?token=s3cret"]  # the request has what is not saved
    assert found.source == f"{site.url}/a?key=" and found.final_url == f"{site.url}/b?token="


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(b"", 404), "there is no such page"),
        (page(b"", 410), "gone for good"),
        (page(b"", 401), "asks for a login"),
        (page(b"", 403), "refuses programs"),
        (page(b"", 429), "too many requests"),
        (page(b"", 503), "status 503"),
        (page(b""), "the page is empty"),
        (page(b"  \n"), "the page is empty"),
        (page(HTML, Content_Encoding="br"), "not requested"),
        (page(HTML, Content_Encoding="gzip"), "damaged"),
        (page(b"x" * 100_001), "0.1 MB"),
        (page(b"x" * 10, Content_Length="99"), "breaks off"),
        (page(b"x", Content_Length="99999999999"), "MB"),
        (redirect("/a"), "redirects more than 5 times"),
        (redirect("/login?next=/a"), "asks for a login"),
        (redirect("http://accounts.example.org/ServiceLogin"), "asks for a login"),
        (redirect("file:///etc/passwd"), "redirects to file:"),
        (redirect("gopher://127.0.0.1/x"), "redirects to gopher:"),
        (redirect("http://169.254.169.254/latest/meta-data"), "cloud's own service"),
        (redirect("http://10.0.0.1/"), "a private network"),
        (redirect("http://[::1]/"), "this machine"),
        (redirect("http://2130706434/"), "this machine"),
        (redirect("http://[::ffff:10.0.0.1]/"), "a private network"),
        (redirect("http://["), "no address"),
        (redirect(""), "breaks off|redirects more"),
    ],
)
def test_every_bad_answer_is_one_sentence(site: Site, answer: Page, words: str) -> None:
    site.pages["/a"] = answer
    with pytest.raises(SourceUnreachable, match=f"(?i){words}") as refused:
        web().fetch(f"{site.url}/a?token=s3cret")
    assert "s3cret" not in str(refused.value)
    assert refused.value.problem.endswith(".") and refused.value.next_step
    assert "\n" not in refused.value.problem


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://nowhere.invalid/", "has no address"),
        ("http://127.0.0.1:1/", "cannot be reached"),
        ("http://127.0.0.2/", "this machine"),
        ("http://127.0.0.1:99999/", "not a web address|cannot be reached|has no address"),
        ("ftp://127.0.0.1/", "not a web address"),
    ],
)
def test_what_cannot_be_reached_is_one_sentence(address: str, words: str) -> None:
    with pytest.raises(SourceUnreachable, match=f"(?i){words}"):
        web().fetch(address)


HIDDEN = (  # a port stands for that of a server on this machine
    "http://example.org@127.0.0.1:{port}/a",
    "http://example.org:80@127.0.0.1:{port}/a",
    "http://example.org%00@127.0.0.1:{port}/a",
    "http://127.0.0.1:{port}\\@example.invalid/a",
    "http://127.0.0.1:{port}#@example.invalid/a",
    "http://127.0.0.1:{port}?@example.invalid/a",
    "http://0x7f.1:{port}/a",
    "http://017700000001:{port}/a",
    "http://2130706433:{port}/a",
    "http://127.1:{port}/a",
    "http://0:{port}/a",
    "http://[::1]:{port}/a",
    "http://[::ffff:127.0.0.1]:{port}/a",
    "http://[::ffff:7f00:1%25lo]:{port}/a",
    "http://[64:ff9b::7f00:1]:{port}/a",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/a",
    "http://127\u30020\u30020\u30021:{port}/a",
    "http://localhost%2f@127.0.0.1:{port}/a",
    "HTTP:127.0.0.1:{port}/a",
    "http:///127.0.0.1:{port}/a",
)


@pytest.mark.parametrize("address", HIDDEN)
@pytest.mark.parametrize("by", ["name", "redirect"])
def test_this_machine_is_not_reached_however_it_is_hidden(site: Site, address: str, by: str) -> None:
    """Neither as the operator may paste it nor behind a redirect of a server that may be asked."""
    site.pages["/a"] = page(HTML)
    address = address.format(port=site.port)
    with pytest.raises(SourceUnreachable) as refused:
        if by == "name":
            Web(Reach(), FEW, Pace(0)).fetch(address)
        else:
            with serving(Site({"/r": redirect(address)})) as other:
                Web(Reach(Allowed(["localhost"])), FEW, Pace(0)).fetch(f"http://localhost:{other.port}/r")
    assert not site.asked and "\n" not in refused.value.problem and refused.value.next_step


def test_no_proxy_and_no_password_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/a"] = page(HTML)
    web().fetch(f"{site.url}/a")
    assert "authorization" not in site.headers[0]


def test_a_password_of_the_address_goes_to_its_host_alone(site: Site) -> None:
    with serving(Site({"/b": page(HTML)})) as other:
        site.pages["/a"] = redirect(f"{other.url}/b")
        found = web().fetch(f"{site.url.replace('//', '//me:s3cret@')}/a")
    assert "authorization" in site.headers[0] and "authorization" not in other.headers[0]
    assert "s3cret" not in found.model_dump_json()


def _drip(handler: Handler) -> None:
    """A byte now and then, for ever: each comes well within the time for one byte."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while not handler.site.over.wait(0.05):
        handler.wfile.write(b"x")


def _drip_of_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not handler.site.over.wait(0.05):
        handler.wfile.write(b"x")


def _drip_of_nothing(handler: Handler) -> None:
    """Gzip that never yields a byte."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10])
    while not handler.site.over.wait(0.05):
        handler.wfile.write(b"\0\0\0\xff\xff")


def _silence(handler: Handler) -> None:
    handler.site.over.wait()


@pytest.mark.parametrize(
    ("answer", "limits", "words"),
    [
        (_drip, Limits(seconds=0.5), "more than 0.5 seconds"),
        (_drip_of_headers, Limits(seconds=0.5), "more than 0.5 seconds"),
        (_drip_of_nothing, Limits(seconds=0.5), "more than 0.5 seconds"),
        (_silence, Limits(read_seconds=0.3), "stopped answering"),
    ],
)
def test_slow_servers_are_left(site: Site, answer: Page, limits: Limits, words: str) -> None:
    site.pages["/a"] = answer
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match=words):
        web(limits).fetch(f"{site.url}/a")
    assert time.monotonic() - began < Limits().seconds  # at once, but for the machine


def test_a_flood_takes_little_memory(site: Site) -> None:
    def flood(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.site.over.is_set():
            handler.wfile.write(bytes(1 << 16))

    site.pages["/a"] = flood
    tracemalloc.start()
    try:
        with pytest.raises(SourceUnreachable, match="more than 20 MB"):
            web(Limits()).fetch(f"{site.url}/a")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere when it is resolved once more, as an attacker's does."""
    site.pages["/a"] = page(HTML)
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def rebinding(host: str, *rest: object, **more: object) -> list[object]:
        if host == "rebinding.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.3"
        return list(resolve(host, *rest, **more))  # pyright: ignore

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    found = web().fetch(f"http://rebinding.example:{site.port}/a")
    assert found.data == HTML and len(asked) == 1
    assert site.headers[0]["host"] == f"rebinding.example:{site.port}"


def test_one_request_a_second_to_a_host() -> None:
    pace, began = Pace(0.2), time.monotonic()
    for _ in range(3):
        pace.wait("one.example")
    assert time.monotonic() - began >= 0.4
    pace.wait("two.example")


def test_a_paper_is_taken_as_html_where_there_is_one_else_as_pdf(site: Site) -> None:
    places = tuple(f"{site.url}/{name}/{{number}}" for name in ("html", "ar5iv", "pdf"))
    site.pages["/pdf/2301.12345"] = page(b"%PDF-1.7")
    assert arxiv.fetch_paper("2301.12345", web(), places).data == b"%PDF-1.7"
    site.pages |= {"/ar5iv/2301.12345": redirect("/abs/2301.12345"), "/abs/2301.12345": page(HTML)}
    assert arxiv.fetch_paper("2301.12345", web(), places).data == b"%PDF-1.7"
    site.pages["/ar5iv/2301.12345"] = page(HTML + b"5")
    assert arxiv.fetch_paper("2301.12345", web(), places).data == HTML + b"5"
    site.pages["/html/2301.12345"] = page(HTML)
    found = arxiv.fetch_paper("2301.12345", web(), places)
    assert found.data == HTML and found.source == "arXiv:2301.12345"
    with pytest.raises(Missing, match="no such paper"):
        arxiv.fetch_paper("2301.99999", web(), places)


def test_arxiv_that_cannot_be_reached_is_asked_once(site: Site) -> None:
    site.pages["/*"] = page(b"", 503)
    with pytest.raises(SourceUnreachable, match="status 503"):
        arxiv.fetch_paper("2301.12345", web(), (f"{site.url}/html/{{number}}", f"{site.url}/pdf/{{number}}"))
    assert site.asked == ["/html/2301.12345"]
