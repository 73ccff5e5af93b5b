"""What we tell systemd: one datagram a message, sd_notify(3) without its library.

Telling never blocks and never fails the daemon: without systemd nothing is sent, and a full or vanished
socket only makes a call return False.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_MAX_STATUS = 512


class Notifier:
    """Sends to the socket that systemd named; without one (`address` None) it keeps silent."""

    def __init__(self, address: str | None) -> None:
        self._address = _socket_address(address) if address else None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Return a notifier for `NOTIFY_SOCKET`."""
        return cls(environ.get("NOTIFY_SOCKET"))

    def ready(self, status: str = "") -> bool:
        """Tell that everything required is open, at start and after a reload."""
        return self._send("READY=1", *_status(status))

    def reloading(self, now_mono_ns: int) -> bool:
        """Tell that a reload begins; `ready` ends it. The time lets systemd tell one reload from the next."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_mono_ns // 1000}")

    def stopping(self, status: str = "") -> bool:
        """Tell that the drain begins."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, status: str) -> bool:
        """Set the line that `systemctl status` shows."""
        return self._send(*_status(status))

    def watchdog(self) -> bool:
        """Tell that we are alive."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        """Send one message; return whether systemd got it."""
        if self._address is None or not lines:
            return False
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as link:
                link.sendto("\n".join(lines).encode(), self._address)
        except OSError:  # its queue is full, or systemd is being replaced: the next message will do
            return False
        return True


def watchdog_interval_secs(
    environ: Mapping[str, str] = os.environ, *, process_id: int | None = None
) -> float | None:
    """Return how often to ping, half of the unit's `WatchdogSec=`; None when nobody watches us."""
    process_id = os.getpid() if process_id is None else process_id
    watched = environ.get("WATCHDOG_PID", str(process_id))
    allowed_usec = environ.get("WATCHDOG_USEC", "")
    if watched != str(process_id) or not allowed_usec.isdecimal() or int(allowed_usec) == 0:
        return None
    return int(allowed_usec) / 2_000_000


def _socket_address(address: str) -> str | None:
    """Return the address as the kernel wants it: a path, or an abstract name (`@` for the zero byte)."""
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None  # vsock:… is for virtual machines


def _status(status: str) -> list[str]:
    """Return the STATUS line: one line whatever the text, so that it cannot carry another assignment."""
    text = " ".join(status.split())
    return [f"STATUS={text[:_MAX_STATUS]}"] if text else []
