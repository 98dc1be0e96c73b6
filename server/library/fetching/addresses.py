"""Which addresses may be connected to: those of the public internet, and what the operator has opened."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from server.errors import SourceUnreachable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's registries of special addresses. Written out, as Python's own answers differ between its versions.
_CLOSED_4: dict[IPv4Network, str] = {
    IPv4Network(network): why
    for network, why in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's own network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("169.254.0.0/16", "a local link or a cloud's own service"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "a multicast group"),
        ("240.0.0.0/4", "reserved"),
    )
}
_OPEN_6 = IPv6Network("2000::/3")  # all that is given out so far
_CLOSED_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16")))
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_MAPPED = (IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"))


class Allowed:
    """What the operator has opened with `--allow-address`."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """
        Args:
            entries: addresses, networks as `10.0.0.0/8`, or names of hosts.

        Raises:
            SourceUnreachable: one is none of them.
        """
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in entries:
            self._add(entry.strip().strip("[]"))

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry, strict=False))
        except ValueError:
            if not entry or any(sign in entry for sign in "/:@ "):
                step = "Give an address, a network such as 10.0.0.0/8, or the name of a host."
                raise SourceUnreachable(f"--allow-address {entry!r} is not an address.", step) from None
            self._hosts.add(_folded(entry))

    def why_not(self, host: str, address: str) -> str:
        """Why a host's address is not connected to, as the end of "it is ..."; empty if it may be."""
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return "no address"
        if _folded(host) in self._hosts:
            return ""
        if any(one in network for one in (found, *_within(found)) for network in self._networks):
            return ""
        return why_closed(found)


def why_closed(address: Address) -> str:
    """Why an address is no public one; empty if it is."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _CLOSED_4.items() if address in network), "")
    if inner := _within(address):
        return why_closed(inner[0])
    if address.is_loopback or address.is_unspecified:
        return "this machine"
    if address.is_multicast:
        return "a multicast group"
    if address not in _OPEN_6 or any(address in network for network in _CLOSED_6):
        return "a private network, a local link or reserved"
    return ""


def _within(address: Address) -> list[IPv4Address]:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return []
    if address in _NAT64 or any(address in network for network in _MAPPED):
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if address in _6TO4:
        return [IPv4Address(int(address) >> 80 & 0xFFFFFFFF)]
    return []


def _folded(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
