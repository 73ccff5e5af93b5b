"""A client that speaks RTSP by hand and puts pictures together again, to see what servers really send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet."""

    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes


@dataclass(slots=True)
class Unit:
    """The NAL units of one picture."""

    timestamp: int
    nals: list[bytes] = field(default_factory=list)


def parse_packet(packet: bytes) -> Packet:
    first, second, sequence, timestamp, ssrc = struct.unpack(">BBHII", packet[:12])
    assert first == 0x80, "RTP version 2, no padding, no extension, no sources"
    return Packet(sequence, timestamp, ssrc, bool(second >> 7), packet[12:])


def join_payloads(payloads: Iterable[bytes]) -> list[bytes]:
    """Return the NAL units in RFC 6184 payloads: single ones, and FU-A fragments put together."""
    nals: list[bytes] = []
    building: bytearray | None = None
    for payload in payloads:
        if payload[0] & 0x1F != 28:
            assert building is None, "a fragmented unit has no end"
            nals.append(payload)
            continue
        header = payload[1]
        if header & 0x80:
            assert building is None, "a fragmented unit begins inside another"
            building = bytearray([(payload[0] & 0xE0) | (header & 0x1F)])
        assert building is not None, "a fragmented unit has no beginning"
        building += payload[2:]
        if header & 0x40:
            nals.append(bytes(building))
            building = None
    assert building is None, "a fragmented unit has no end"
    return nals


class RtspClient:
    """One connection; RTCP that arrives is kept in `reports`."""

    def __init__(self, port: int) -> None:
        self.reports: list[bytes] = []
        self.packets: list[Packet] = []
        self._port = port
        self._cseq = 0
        self._reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def ask(self, method: str, path: str, **headers: str) -> Reply:
        """Send a request and return the response; packets that come before it are kept."""
        self._cseq += 1
        lines = [f"{method} rtsp://127.0.0.1:{self._port}{path} RTSP/1.0", f"CSeq: {self._cseq}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return await self.ask_raw("\r\n".join([*lines, "", ""]).encode())

    async def ask_raw(self, request: bytes) -> Reply:
        """Send whatever bytes and return the response."""
        self.writer.write(request)
        while (first := await self._reader.readexactly(1)) == b"$":
            await self._keep_frame()
        head = (first + await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(int(status.split()[1]), headers, body.decode())

    async def play(self, path: str) -> None:
        """Go through the whole greeting until pictures come."""
        assert (await self.ask("DESCRIBE", path)).status == 200
        set_up = await self.ask("SETUP", f"{path}/stream=0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        assert set_up.status == 200
        session = set_up.headers["session"].split(";")[0]
        assert (await self.ask("PLAY", path, Session=session)).status == 200

    async def next_unit(self) -> Unit:
        """Return the next whole picture."""
        while not any(packet.marker for packet in self.packets):
            assert await self._reader.readexactly(1) == b"$"
            await self._keep_frame()
        end = next(i for i, packet in enumerate(self.packets) if packet.marker) + 1
        own, self.packets = self.packets[:end], self.packets[end:]
        assert len({packet.timestamp for packet in own}) == 1
        return Unit(own[0].timestamp, join_payloads(packet.payload for packet in own))

    async def next_report(self) -> bytes:
        """Return the next RTCP packet, whatever comes before it."""
        while not self.reports:
            assert await self._reader.readexactly(1) == b"$"
            await self._keep_frame()
        return self.reports.pop(0)

    async def _keep_frame(self) -> None:
        channel, length = struct.unpack(">BH", await self._reader.readexactly(3))
        packet = await self._reader.readexactly(length)
        if channel == 0:
            self.packets.append(parse_packet(packet))
        else:
            self.reports.append(packet)

    async def wait_closed(self) -> bool:
        """Read until the connection ends; return whether that happened in good form."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionResetError:
            return False
        return True

    async def __aenter__(self) -> Self:
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()
