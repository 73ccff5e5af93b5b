"""Where an address is: on this box, on the site's network, or on the internet; pure, no look-up, no I/O.

An address is judged by where its packets end: `::ffff:8.8.8.8`, `64:ff9b::8.8.8.8` (NAT64) and
`2002:808:808::` (6to4) are all 8.8.8.8. Whatever is not known to be near counts as the internet. The
addresses at which clouds hand out a machine's credentials are `metadata`, wherever they lie.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reach = Literal["none", "lan", "internet"]
"""How far something goes: not off this box, within the site, or anywhere."""
Kind = Literal[
    "this box", "private", "link-local", "CGNAT", "multicast", "broadcast", "listed", "public", "metadata"
]

REACHES: tuple[Reach, ...] = ("none", "lan", "internet")
_WIDEST_PREFIX = {4: 8, 6: 16}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is, and by what rule."""

    reach: Reach
    kind: Kind

    @property
    def is_metadata(self) -> bool:
        """Whether nobody may connect there, in any mode."""
        return self.kind == "metadata"


def farthest(reaches: Iterable[Reach]) -> Reach:
    """Return the farthest of `reaches`; `none` when there are none."""
    return max(reaches, key=REACHES.index, default="none")


def nearest(*reaches: Reach) -> Reach:
    """Return the nearest of `reaches`."""
    return min(reaches, key=REACHES.index)


def beyond(reach: Reach, limit: Reach) -> bool:
    """Say whether `reach` goes further than `limit`."""
    return REACHES.index(reach) > REACHES.index(limit)


def place_of(address: Address, lan_networks: Sequence[Network] = ()) -> Place:
    """Return where `address` is; `lan_networks` count as lan, metadata addresses in them do not."""
    places = [_place(inner, lan_networks) for inner in (_without_zone(address), *_inner(address))]
    metadata = next((place for place in places if place.is_metadata), None)
    # What carries another address is judged by that one alone, by each of them where there is doubt.
    return metadata or max(places[1:] or places, key=lambda place: REACHES.index(place.reach))


def _place(address: Address, lan_networks: Sequence[Network]) -> Place:
    if address in _METADATA:
        return Place("lan", "metadata")
    if address.is_loopback or address.is_unspecified:  # Linux connects 0.0.0.0 and :: to itself
        return Place("none", "this box")
    found = next((kind for kind, networks in _LAN.items() if _in(address, networks)), None)
    if found is not None:
        return Place("lan", found)
    return Place("lan", "listed") if _in(address, lan_networks) else Place("internet", "public")


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _without_zone(address: Address) -> Address:
    """Return a link-local address without its interface: `fe80::1%eth0` is in fe80::/10 all the same."""
    return ipaddress.ip_address(int(address)) if _has_zone(address) else address


def _has_zone(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None


def _inner(address: Address) -> Iterator[Address]:
    """Yield the IPv4 addresses that an IPv6 address may stand for."""
    if not isinstance(address, ipaddress.IPv6Address):
        return
    bits = int(address)
    if any(address in network for network in _CARRY_IN_LAST_32_BITS):
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:  # whose operator chose where it stands: RFC 8215, RFC 6052 section 2.2
        yield ipaddress.IPv4Address((bits >> 64 & 0xFFFF) << 16 | (bits >> 40 & 0xFFFF))
    if address in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_LAN: dict[Kind, tuple[Network, ...]] = {
    "private": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "CGNAT": _networks("100.64.0.0/10"),
    "multicast": _networks("224.0.0.0/4", "ff00::/8"),
    "broadcast": _networks("255.255.255.255/32"),
}
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, Oracle, OpenStack and most others
        "fd00:ec2::254",
        "fd20:ce::254",  # Google by IPv6
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, Kubernetes
        "fd00:ec2::23",
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle, of old
        "168.63.129.16",  # Azure's host
    )
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_CARRY_IN_LAST_32_BITS = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # mapped
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # translated: RFC 2765
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64
    _LOCAL_NAT64,
)


# --- as people write them -----------------------------------------------------------------------------


def plain_host(host: str) -> str:
    """Return a host as resolvers compare it: no brackets, no last dot, small letters, IDN as ASCII.

    Raises:
        ValueError: nobody can be called so.

    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:  # IPv6, maybe with an interface, whose name may have any letters
        return bare
    try:
        name = bare.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise ValueError("not a host name") from error
    if not name or any(not char.isprintable() or char in ' /@?#\\"%[]' for char in name):
        raise ValueError("not a host name")
    return name


def numeric_address(host: str) -> Address | None:
    """Return the address that `host` spells out, as the system's resolver reads it; None for a name.

    `2130706433`, `0x7f.1`, `0177.0.0.1` and `127.1` are all 127.0.0.1 to it.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        return None
    return ipaddress.ip_address(str(found[0][4][0]))


def network_of(text: str) -> Network:
    """Return an entry of `site.lan_networks`.

    Raises:
        ValueError: it is no network, or so wide that nothing would be outside.

    """
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(_network_hint(text)) from None
    widest = _WIDEST_PREFIX[network.version]
    if network.prefixlen < widest:
        raise ValueError(f"this is no site but half the internet: the widest that is taken is /{widest}")
    return network


def _network_hint(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return "must be a network or an address, not a name, e.g. 2001:db8:1::/64 or 203.0.113.9"
    return f"must be a network's first address: {meant}"
