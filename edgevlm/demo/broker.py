"""The demo's MQTT broker: the one on this machine if it answers, else an embedded one."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import struct
from types import TracebackType
from typing import Self

from edgevlm.demo.process import Child
from edgevlm.errors import EdgevlmError

DEFAULT_PORT = 1883
PROBE_TIMEOUT_SECS = 1.0

_CONNACK_ACCEPTED = b"\x20\x02"
_DISCONNECT = b"\xe0\x00"


async def broker_answers(host: str, port: int, timeout_secs: float = PROBE_TIMEOUT_SECS) -> bool:
    """Ask whether a broker there lets an anonymous MQTT 3.1.1 client in."""
    try:
        async with asyncio.timeout(timeout_secs):
            return await _connack(host, port)
    except (OSError, EOFError):  # TimeoutError is an OSError, IncompleteReadError an EOFError
        return False


async def _connack(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_connect_packet())
        answer = await reader.readexactly(4)
        writer.write(_DISCONNECT)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer.startswith(_CONNACK_ACCEPTED) and answer[3] == 0


def _connect_packet() -> bytes:
    """Return a CONNECT (MQTT 3.1.1, section 3.1): clean session, keep-alive 5 s, no login."""
    name = f"edgevlm-probe-{secrets.token_hex(4)}".encode()
    body = struct.pack(">H4sBBH", 4, b"MQTT", 4, 0x02, 5) + struct.pack(">H", len(name)) + name
    return bytes((0x10, len(body))) + body


class DemoBroker:
    """A broker for the demo while the `async with` block runs.

    Attributes:
        host, port: where it listens.
        embedded: whether we started it; it then speaks MQTT 3.1.1 only and forgets all at its end.

    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        self.host = host
        self.port = port
        self.embedded = False
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        if not await broker_answers(self.host, self.port):
            await self._start_embedded()
        return self

    async def _start_embedded(self) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise EdgevlmError(
                f"no MQTT broker answers on {self.host}:{self.port}, and the embedded one is not installed:"
                " pip install 'edgevlm[demo]'"
            )
        self._child = Child("edgevlm.demo.embedded_broker")
        said = await self._child.start()
        self.host, self.port, self.embedded = "127.0.0.1", said["port"], True

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child:
            await self._child.stop()
