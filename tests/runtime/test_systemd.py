"""What systemd hears, through a real socket of the kind it opens."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgevlm.runtime.systemd import Notifier, watchdog_interval_secs


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgevlm-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address.replace("@", "\0", 1))
        server.settimeout(0)
        yield address, server


@pytest.mark.parametrize(
    ("tell", "heard"),
    [
        (lambda n: n.ready("3 cameras"), "READY=1\nSTATUS=3 cameras"),
        (lambda n: n.ready(), "READY=1"),
        (lambda n: n.reloading(12_345_678), "RELOADING=1\nMONOTONIC_USEC=12345"),
        (lambda n: n.stopping("draining"), "STOPPING=1\nSTATUS=draining"),
        (lambda n: n.status("a\nREADY=1"), "STATUS=a READY=1"),
        (lambda n: n.watchdog(), "WATCHDOG=1"),
    ],
)
def test_messages(listener: tuple[str, socket.socket], tell: Callable[[Notifier], bool], heard: str) -> None:
    address, server = listener
    assert tell(Notifier.from_environ({"NOTIFY_SOCKET": address}))
    assert server.recv(4096).decode() == heard


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/nowhere/notify", "@edgevlm-nobody-listens"])
def test_without_a_listener_telling_is_harmless(address: str | None) -> None:
    assert not Notifier(address).ready("up")


def test_a_full_socket_does_not_block(listener: tuple[str, socket.socket]) -> None:
    """systemd that does not read (frozen, being replaced) must not stop the event loop."""
    notifier = Notifier(listener[0])
    assert not all(notifier.watchdog() for _ in range(10_000))


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_interval_of_pings(environ: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval_secs(environ, process_id=42) == interval


def test_our_own_process_is_meant_by_default() -> None:
    environ = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert watchdog_interval_secs(environ) == 1.0
