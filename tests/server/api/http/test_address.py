"""Addresses as people write them: right, or a sentence that says how to write one."""

import pytest

from server.api.http.address import client_url
from server.api.http.server import Address
from server.errors import Unavailable


@pytest.mark.parametrize(
    ("told", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("9000", "127.0.0.1", 9000),
        (":9000", "127.0.0.1", 9000),
        ("localhost", "localhost", 8765),
        ("LocalHost:9000", "localhost", 9000),
        ("0.0.0.0", "0.0.0.0", 8765),
        ("[::1]:9000", "::1", 9000),
        ("[::]", "::", 8765),
        ("::1", "::1", 8765),
        ("fe80::1", "fe80::1", 8765),
        ("[fe80::1%eth0]:9000", "fe80::1%eth0", 9000),
        ("http://127.0.0.1:9000/mcp", "127.0.0.1", 9000),
        ("HTTP://[::1]:9000/mcp/", "::1", 9000),
        ("gpubox:9000/", "gpubox", 9000),
        ("gpubox:0", "gpubox", 0),
    ],
)
def test_an_address_to_listen_on_is_read_as_it_is_meant(told: str, host: str, port: int) -> None:
    address = Address(told)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("http://127.0.0.1:9000/mcp", "http://127.0.0.1:9000/mcp"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/mcp"),
        ("9000", "http://127.0.0.1:9000/mcp"),
        ("localhost", "http://localhost:8765/mcp"),
        ("http://localhost", "http://localhost:8765/mcp"),
        ("HTTP://LOCALHOST:9000/MCP/", "http://localhost:9000/mcp"),
        ("http://gpubox:9000/", "http://gpubox:9000/mcp"),
        ("http://gpubox", "http://gpubox/mcp"),
        ("https://gpubox.example.org", "https://gpubox.example.org/mcp"),
        ("https://gpubox.example.org/Night/mcp/", "https://gpubox.example.org/Night/mcp"),
        ("gpubox:9000", "http://gpubox:9000/mcp"),
        ("[::1]:9000", "http://[::1]:9000/mcp"),
        ("::1", "http://[::1]:8765/mcp"),
        ("http://[2001:DB8::1]/mcp", "http://[2001:db8::1]/mcp"),
        ("http://0.0.0.0:9000", "http://127.0.0.1:9000/mcp"),
        ("http://[::]:9000/mcp", "http://[::1]:9000/mcp"),
        (" http://127.0.0.1:9000/mcp\n", "http://127.0.0.1:9000/mcp"),
    ],
)
def test_a_client_is_given_the_whole_url(told: str, url: str) -> None:
    assert client_url(told) == url
    assert client_url(url) == url


WRONG = [
    *("", "host", "host:", "host:port", "h:99999", "h:-1", "h:\u0663", "h:" + "9" * 5000, "a b:1", "C:\\x", "/sock"),
    *("::1:8765", "[::1", "::1]:1", "http://", "http:/h:1", "http//h:1", "//h:1", "http://::1:1"),
    *("http://h:1/mcp?a=b", "http://h:1/mcp#a", "http://user:secret@h:1/mcp", "secret@h:1"),
    *("ftp://h:1", "ws://h:1", "unix:///sock"),
]


@pytest.mark.parametrize("told", WRONG)
def test_what_is_no_address_is_refused_with_one(told: str) -> None:
    for read in (Address, client_url):
        with pytest.raises(Unavailable, match=r"Write (HOST:PORT|it).* such as .*127\.0\.0\.1:8765") as refused:
            read(told)
        assert "secret" not in str(refused.value) and len(str(refused.value)) < 400


def test_what_the_server_does_not_serve_is_told() -> None:
    with pytest.raises(Unavailable, match=r"does not support.* proxy"):
        Address("https://gpubox.example.org:8765")
    with pytest.raises(Unavailable, match=r"has a path: the server answers at /mcp"):
        Address("127.0.0.1:8765/other")
    with pytest.raises(Unavailable, match="no port that a server can listen on"):
        client_url("http://127.0.0.1:0/mcp")
