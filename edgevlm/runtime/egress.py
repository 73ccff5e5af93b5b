"""The one policy about what this process may connect to, and the hook that holds every socket to it.

`Policy` decides on names and addresses and does nothing else. Whoever opens a connection asks it first, with
the address that is about to be connected to, after the look-up, at each attempt: so neither a redirect nor a
name that changes its address gets past it. Behind that stands an audit hook (`enforce`): whatever Python code
in this process connects, sends or looks up, known to us or not, comes by here. Sockets that C libraries open
by themselves do not, nor what `socket.connect` looks up when it is given a name. So FFmpeg gets a relay
(`capture.relay`), nobody here connects by name, and the kernel is the last wall (`edgevlm egress`).

Light enough for capture hosts: standard library only. A refusal is an `OSError`, so that libraries treat it
as a connection that failed, and is told to whoever asked for that in `enforce`, from any thread.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgevlm.runtime import clouds
from edgevlm.runtime.addresses import (
    Address,
    Network,
    Reach,
    beyond,
    nearest,
    numeric_address,
    place_of,
    plain_host,
)

Connectivity = Literal["online", "offline", "air-gapped"]

RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")


class EgressRefused(PermissionError):
    """A connection that the policy forbids; `strerror` says to where and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(errno.EACCES, f"{where} is refused: {why}")
        self.where = where
        self.why = why


@dataclass(frozen=True, slots=True)
class Policy:
    """How far connections may go."""

    limit: Reach = "internet"
    lan_networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, connectivity: Connectivity, lan_networks: Sequence[Network] = ()) -> Policy:
        """Return what a site's connectivity means for sockets."""
        return cls("lan" if connectivity == "air-gapped" else "internet", tuple(lan_networks))

    def within(self, limit: Reach) -> Policy:
        """Return this policy, going no further than `limit`."""
        return replace(self, limit=nearest(self.limit, limit))

    def objection(self, address: Address) -> str | None:
        """Return why nobody may connect to `address`, or None."""
        place = place_of(address, self.lan_networks)
        if place.is_metadata:
            return "a cloud hands out this machine's credentials there"
        if not beyond(place.reach, self.limit):
            return None
        return f"the address is {place.kind}, and {_BOUNDS[self.limit]}"

    def objection_to_name(self, name: str) -> str | None:
        """Return why `name` (`plain_host`) may not even be looked up, or None."""
        if clouds.is_metadata(name):
            return "a cloud hands out this machine's credentials there"
        operator = clouds.operator_of(name) if beyond("internet", self.limit) else None
        return None if operator is None else f"it belongs to {operator.name}, and {_BOUNDS[self.limit]}"

    def objection_to_all(self, addresses: Sequence[Address]) -> str | None:
        """Return why a name that stands for all these addresses may not be used, or None.

        One bad address is enough: which of them answers is not in our hand.
        """
        objections = [(address, why) for address in addresses if (why := self.objection(address))]
        if not objections:
            return None
        address, why = objections[0]
        also = "" if len(objections) == len(addresses) else ", also if its other addresses are near"
        return f"{address}: {why}{also}"

    def nameserver_objection(self) -> str | None:
        """Return why no name may be looked up by DNS, or None.

        Google's machines have their name server at their metadata address: it may be asked for names.
        """
        for server in nameservers():
            if beyond(place_of(server, self.lan_networks).reach, self.limit):
                return f"its name server {server} is public, and {_BOUNDS[self.limit]}"
        return None


_BOUNDS: dict[Reach, str] = {
    "none": "nothing may leave this box",
    "lan": "nothing may leave the site",
    "internet": "",
}


def nameservers(path: Path | None = None) -> list[Address]:
    """Return the servers that the system's resolver asks."""
    found = [numeric_address(fields[1]) for fields in _fields(path or RESOLV_CONF) if _names_server(fields)]
    return [server for server in found if server] or [ipaddress.IPv4Address("127.0.0.1")]


def _names_server(fields: list[str]) -> bool:
    return len(fields) > 1 and fields[0] == "nameserver"


def in_hosts_file(name: str, path: Path | None = None) -> list[Address]:
    """Return the addresses of `name` in the hosts file, which are found without asking anybody."""
    lines = [fields for fields in _fields(path or HOSTS) if name in map(str.lower, fields[1:])]
    return [address for fields in lines if (address := numeric_address(fields[0])) is not None]


def _fields(path: Path) -> list[list[str]]:
    """Return a system file's lines, in words, without comments."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.partition("#")[0].split() for line in text.splitlines()]


# --- this process ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A connection that was not made."""

    where: str
    why: str


OnRefusal = Callable[[Refusal], None]
"""Is told of each refusal, in whatever thread it happens."""


@dataclass
class _Process:
    """What holds in this process; an audit hook cannot be taken away again, but what it asks can change."""

    policy: Policy = Policy()
    on_refusal: OnRefusal | None = None
    limits: Mapping[str, Reach] = field(default_factory=dict)
    hooked: bool = False
    asking: threading.local = field(default_factory=threading.local)


_process = _Process()


def enforce(
    policy: Policy, on_refusal: OnRefusal | None = None, *, limits: Mapping[str, Reach] | None = None
) -> None:
    """Hold this process to `policy` from now on; a further call replaces it.

    Args:
        policy: what holds for all of it.
        on_refusal: is told of each refusal.
        limits: components, as `current` is asked about them, that may not go as far.

    """
    _process.policy, _process.on_refusal, _process.limits = policy, on_refusal, dict(limits or {})
    if not _process.hooked:
        sys.addaudithook(_audit)
        _process.hooked = True


def current(component: str = "") -> Policy:
    """Return what this process is held to, or one component of it (`model:local`)."""
    return _process.policy.within(_process.limits.get(component, "internet"))


def refused(where: str, why: str) -> EgressRefused:
    """Return the error for a refusal, after telling who wants to know."""
    if _process.on_refusal is not None:
        _process.on_refusal(Refusal(where, why))
    return EgressRefused(where, why)


def require(address: Address, policy: Policy, *, name: str = "") -> None:
    """Raise `EgressRefused` unless `policy` allows to connect to `address`."""
    if why := policy.objection(address):
        raise refused(f"{name} ({address})" if name else str(address), why)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    check = _CHECKS.get(event)
    if check is None or getattr(_process.asking, "now", False):
        return
    _process.asking.now = True  # what the check itself looks up is numbers only
    try:
        check(*arguments)
    finally:
        _process.asking.now = False


def _check_socket(connection: socket.socket, address: Any) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        _check_target(address[0])


def _check_target(host: Any) -> None:
    """Judge what is about to be connected to: nothing but an address, for a name may change meanwhile."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    address = numeric_address(_WILD.get(text, text))
    if address is not None:
        require(address, _process.policy)
    elif beyond("internet", _process.policy.limit) and not clouds.is_this_box(text.lower()):
        raise refused(text, f"it was not looked up by edgevlm, and {_BOUNDS[_process.policy.limit]}")


_WILD = {"": "0.0.0.0", "<broadcast>": "255.255.255.255"}  # noqa: S104  # as the socket module reads them


def _check_lookup(host: Any, *_: Any) -> None:
    if host in (None, "", b""):
        return
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    if numeric_address(text) is None and (why := lookup_objection(text, _process.policy)):
        raise refused(text, why)


def _check_reverse_lookup(target: Any, *_: Any) -> None:
    """Judge a question for an address's name, which goes to the name server."""
    if why := _process.policy.nameserver_objection():
        raise refused(str(target[0] if isinstance(target, tuple) else target), why)


def lookup_objection(host: str, policy: Policy) -> str | None:
    """Return why the system's resolver may not be asked for `host`, or None."""
    try:
        name = plain_host(host)
    except ValueError as error:
        return str(error) if beyond("internet", policy.limit) else None
    why = policy.objection_to_name(name)
    if why or not beyond("internet", policy.limit):
        return why
    return None if in_hosts_file(name) else policy.nameserver_objection()


_CHECKS: dict[str, Callable[..., None]] = {
    "socket.connect": _check_socket,
    "socket.sendto": _check_socket,
    "socket.sendmsg": _check_socket,
    "socket.getaddrinfo": _check_lookup,
    "socket.gethostbyname": _check_lookup,
    "socket.gethostbyaddr": _check_reverse_lookup,
    "socket.getnameinfo": _check_reverse_lookup,
}
