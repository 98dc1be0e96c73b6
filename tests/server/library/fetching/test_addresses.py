"""Only public addresses are connected to, in whatever form they are written."""

import socket
from ipaddress import ip_address

import pytest

from server.errors import SourceUnreachable
from server.library.fetching.addresses import Allowed, why_closed
from server.library.fetching.reach import Deadline, Reach

CLOSED = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1
100.100.100.200 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 168.63.129.16 192.88.99.1
::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 fec0::1 2001:db8::1 2001::1 2001:10::1 100::1 3fff::1 5f00::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::10.0.0.1 ::ffff:0:127.0.0.1
2002:7f00:1:: 2002:a00:1:: 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1
""".split()
OPEN = "1.1.1.1 8.8.8.8 172.32.0.1 192.0.1.1 2606:4700::1111 64:ff9b::8.8.8.8 ::ffff:8.8.8.8".split()
# What the system's resolver takes for 127.0.0.1 or another address of this machine.
SPELT = """
127.0.0.1 127.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 0.0.0.0 0 ::1 [::1] ::ffff:7f00:1
""".split()


@pytest.mark.parametrize("address", CLOSED)
def test_addresses_that_are_not_public_are_closed(address: str) -> None:
    assert why_closed(ip_address(address))


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_open(address: str) -> None:
    assert not why_closed(ip_address(address))


@pytest.mark.parametrize("host", [*SPELT, "localhost", "LOCALHOST."])
def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    made: list[str] = []

    def connect(address: str, port: int, seconds: float) -> None:
        made.append(address)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(SourceUnreachable) as refused:
            Reach().connect(host, listener.getsockname()[1], Deadline(30), connect)
    assert not made
    assert "known here" in refused.value.problem or "--allow-address" in refused.value.next_step


def test_what_the_operator_opens_is_open_and_nothing_beside_it() -> None:
    allowed = Allowed(["10.0.0.0/8", "127.0.0.1", "wiki.local", "fd00::/8"])
    assert not allowed.why_not("a.example", "10.1.2.3") and not allowed.why_not("a.example", "::ffff:10.1.2.3")
    assert not allowed.why_not("a.example", "127.0.0.1") and allowed.why_not("a.example", "127.0.0.2")
    assert not allowed.why_not("WIKI.local.", "192.168.3.4") and allowed.why_not("a.example", "192.168.3.4")
    assert not allowed.why_not("a.example", "fd12::1") and allowed.why_not("a.example", "fe80::1%eth0")


@pytest.mark.parametrize("entry", ["10.0.0.0/40", "http://127.0.0.1", "a b", "", "127.0.0.1:80"])
def test_an_entry_that_opens_nothing_is_refused(entry: str) -> None:
    with pytest.raises(SourceUnreachable, match="is not an address"):
        Allowed([entry])


def test_of_several_addresses_the_one_that_may_be_is_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        made = Reach(Allowed(["127.0.0.0/8"])).connect(
            "localhost", port, Deadline(30), lambda address, port, seconds: (address, port)
        )
    assert made == ("127.0.0.1", port)
