"""A site in network namespaces: a gateway, a LAN, a router, and behind it a stand-in for the internet.

    gateway 10.77.1.2 ── 10.77.1.1 router 10.77.2.1 ── 10.77.2.2 LAN
                                    └── 198.51.100.1 ── 198.51.100.7, 8.8.8.8 "public"

`uplink` is what the router hears from the gateway: the destination of every packet. Servers stay in the
test's own process and namespace; `open_door` lets them be reached at an address of the site. Needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import pytest

from edgevlm.runtime.addresses import Address, place_of

GATEWAY, LAN, PUBLIC = "10.77.1.2", "10.77.2.2", ("198.51.100.7", "8.8.8.8")
_CLONE_NEWNET = 0x40000000
_OUTGOING = 4
_ETH_IPV4, _ETH_IPV6 = 0x0800, 0x86DD
_NETNS = Path("/run/netns")
_ETC = Path("/etc/netns")


def _why_not() -> str | None:
    """Return why namespaces cannot be had here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    made = subprocess.run(["ip", "netns", "add", f"probe-{os.getpid()}"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", f"probe-{os.getpid()}"], capture_output=True, check=False)
    return None if made.returncode == 0 else f"no network namespaces here: {made.stderr.decode().strip()}"


class Door:
    """An address of the site that leads to a server of the test."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, sock=self._listener)

    def shut(self) -> None:
        """End all connections and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, inner}
        await asyncio.gather(_copy(reader, inner), _copy(inner_reader, writer))
        self._writers -= {writer, inner}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
    writer.close()


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for IPv4 addresses out of `names`; all others are not found."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        name, kind = ".".join(labels).lower(), int.from_bytes(data[at + 1 : at + 3], "big")
        self.asked.append(name)
        found = self.names.get(name, []) if kind == 1 else []
        answers = b"".join(
            b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + ipaddress.ip_address(text).packed for text in found
        )
        flags = b"\x81\x80" if name in self.names else b"\x81\x83"
        counts = b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0"
        self._transport.sendto(data[:2] + flags + counts + data[12 : at + 5] + answers, addr)


class Site:
    """The four namespaces; use it with `async with`."""

    def __init__(self) -> None:
        self._mark = f"ev{os.getpid()}"
        self.uplink: list[Address] = []
        self.names = NameServer()
        self._doors: list[Door] = []
        self._stack = contextlib.ExitStack()
        self._listening = True

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another in the gateway."""
        return ("ip", "netns", "exec", self._name("gw"))

    def public_packets(self) -> list[Address]:
        """Return where packets went that should not have left the gateway."""
        return [address for address in self.uplink if place_of(address).reach == "internet"]

    async def open_door(self, port: int, to: int) -> Door:
        """Let the test's server on port `to` be reached at the LAN's address."""
        door = Door(self._socket("lan", LAN, port, socket.SOCK_STREAM), to)
        await door.open()
        self._doors.append(door)
        return door

    async def __aenter__(self) -> Self:
        try:
            self._build()
            self._listen_to_uplink()
            talking = self._socket("lan", LAN, 53, socket.SOCK_DGRAM)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: self.names, sock=talking)
            self._stack.callback(transport.close)
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        for door in self._doors:
            door.shut()
        self._listening = False
        self._stack.close()

    # --- building -----------------------------------------------------------------------------------------

    def _name(self, namespace: str) -> str:
        return f"{self._mark}-{namespace}"

    def _build(self) -> None:
        for namespace in ("gw", "rt", "lan", "pub"):
            self._ip("netns", "add", self._name(namespace))
            self._stack.callback(self._ip, "netns", "del", self._name(namespace))
            self._in(namespace, "link", "set", "lo", "up")
        self._link("gw", (f"{GATEWAY}/24",), "10.77.1.1/24")
        self._link("lan", (f"{LAN}/24",), "10.77.2.1/24")
        self._link("pub", (f"{PUBLIC[0]}/24", f"{PUBLIC[1]}/32"), "198.51.100.1/24")
        self._in("rt", "route", "add", PUBLIC[1], "via", PUBLIC[0])
        for namespace, router in (("gw", "10.77.1.1"), ("lan", "10.77.2.1"), ("pub", "198.51.100.1")):
            self._in(namespace, "route", "add", "default", "via", router)
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run(["ip", "netns", "exec", self._name("rt"), "sh", "-c", forward], check=True)
        self._write_resolv_conf()

    def _link(self, namespace: str, addresses: tuple[str, ...], router: str) -> None:
        """Connect a namespace with the router."""
        inner, outer = f"{self._mark}{namespace}0", f"{self._mark}{namespace}1"
        self._ip("link", "add", inner, "netns", self._name(namespace), "type", "veth", "peer", "name", outer)
        self._ip("link", "set", outer, "netns", self._name("rt"))
        for address in addresses:
            self._in(namespace, "addr", "add", address, "dev", inner)
        self._in(namespace, "link", "set", inner, "up")
        self._in("rt", "addr", "add", router, "dev", outer)
        self._in("rt", "link", "set", outer, "up")

    def _write_resolv_conf(self) -> None:
        """Let `ip netns exec` show the gateway a resolv.conf of its own."""
        directory = _ETC / self._name("gw")
        directory.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, directory)
        (directory / "resolv.conf").write_text(f"nameserver {LAN}\noptions timeout:1 attempts:1\n")

    def _in(self, namespace: str, *words: str) -> None:
        self._ip("-n", self._name(namespace), *words)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    # --- sockets in a namespace -----------------------------------------------------------------------------

    def _socket(self, namespace: str, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.settimeout(0)
            return made

        return self._made_in(namespace, make)

    def _listen_to_uplink(self) -> None:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # every protocol
            made.bind((f"{self._mark}gw1", 0))
            made.settimeout(0.2)
            return made

        ear = self._made_in("rt", make)
        thread = threading.Thread(target=self._hear, args=(ear,), name="uplink")
        thread.start()
        self._stack.callback(thread.join)

    def _hear(self, ear: socket.socket) -> None:
        with ear:
            while self._listening:
                with contextlib.suppress(TimeoutError):
                    frame, (_, protocol, direction, *_) = ear.recvfrom(65_535)
                    if direction == _OUTGOING:
                        continue
                    if protocol == _ETH_IPV4:
                        self.uplink.append(ipaddress.ip_address(frame[30:34]))
                    elif protocol == _ETH_IPV6:
                        self.uplink.append(ipaddress.ip_address(frame[38:54]))

    def _made_in(self, namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
        """Make a socket in another namespace: a thread goes there, and the socket stays."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_enter, self._name(namespace)).result()
            return thread.submit(make).result()


def _enter(name: str) -> None:
    """Move this thread into a network namespace."""
    with (_NETNS / name).open() as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def namespaces() -> None:
    """Skip where network namespaces cannot be made."""
    if (why := _why_not()) is not None:
        pytest.skip(why)
