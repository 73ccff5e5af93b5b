"""H.264 as RTP over TCP: from coded pictures to packets and back to bytes on the wire.

RFC 6184 (non-interleaved mode: whole NAL units, and FU-A where one does not fit), RFC 3550 (RTP, sender
reports), RFC 2326 section 10.12 (`$` framing). Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

import re
import secrets
import struct
from dataclasses import dataclass

CLOCK_HZ = 90_000
"""Ticks a second of RTP timestamps of video."""
PAYLOAD_TYPE = 96
MAX_PAYLOAD_BYTES = 1400
"""What fits an Ethernet frame; over TCP only a habit, but one that every client is used to."""

IDR, SPS, PPS = 5, 7, 8
_FU_A = 28
_NTP_EPOCH_SECS = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture: its NAL units without start codes, and its time in ticks of 90 kHz."""

    nals: tuple[bytes, ...]
    timestamp: int

    @property
    def keyframe(self) -> bool:
        """Whether decoding can begin here."""
        return any(nal_type(nal) == IDR for nal in self.nals)

    def first(self, wanted_type: int) -> bytes | None:
        """Return the first NAL unit of a type."""
        return next((nal for nal in self.nals if nal_type(nal) == wanted_type), None)


def nal_type(nal: bytes) -> int:
    """Return the type in a NAL unit's first byte."""
    return nal[0] & 0x1F


def split_annex_b(stream: bytes) -> tuple[bytes, ...]:
    """Return the NAL units between the start codes of an Annex B byte stream."""
    pieces = re.split(b"\x00\x00\x01", stream)[1:]
    return tuple(nal for piece in pieces if (nal := piece.rstrip(b"\x00")))


def payloads(nal: bytes, max_bytes: int = MAX_PAYLOAD_BYTES) -> list[bytes]:
    """Return the RTP payloads that carry one NAL unit: itself, or FU-A fragments."""
    if len(nal) <= max_bytes:
        return [nal]
    indicator = (nal[0] & 0xE0) | _FU_A
    step = max_bytes - 2
    starts = range(1, len(nal), step)
    return [
        bytes((indicator, _fu_header(nal, first=start == 1, last=start + step >= len(nal))))
        + nal[start : start + step]
        for start in starts
    ]


def _fu_header(nal: bytes, *, first: bool, last: bool) -> int:
    return first << 7 | last << 6 | nal_type(nal)


class RtpSender:
    """One RTP stream: numbers packets and counts what its sender reports tell."""

    def __init__(self, cname: str = "edgevlm@localhost") -> None:
        self.ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._cname = cname.encode()
        self._packets = 0
        self._octets = 0

    def packets(self, unit: AccessUnit) -> list[bytes]:
        """Return the RTP packets of one picture; the last carries the marker."""
        parts = [payload for nal in unit.nals for payload in payloads(nal)]
        return [self._packet(part, unit.timestamp, last=i == len(parts) - 1) for i, part in enumerate(parts)]

    def _packet(self, payload: bytes, timestamp: int, *, last: bool) -> bytes:
        kind = last << 7 | PAYLOAD_TYPE
        header = struct.pack(">BBHII", 0x80, kind, self._sequence, timestamp & 0xFFFFFFFF, self.ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        return header + payload

    def report(self, timestamp: int, utc_ns: int) -> bytes:
        """Return an RTCP sender report, which ties `timestamp` to a UTC time, and our name (SDES)."""
        secs, nanos = divmod(utc_ns, 1_000_000_000)
        fields = (
            (secs + _NTP_EPOCH_SECS) & 0xFFFFFFFF,
            (nanos << 32) // 1_000_000_000,
            timestamp & 0xFFFFFFFF,
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )
        return struct.pack(">BBHI5I", 0x80, 200, 6, self.ssrc, *fields) + self._description()

    def _description(self) -> bytes:
        item = struct.pack(">IBB", self.ssrc, 1, len(self._cname)) + self._cname
        item += bytes(4 - len(item) % 4)
        return struct.pack(">BBH", 0x81, 202, len(item) // 4) + item


def interleaved(channel: int, packet: bytes) -> bytes:
    """Frame a packet for the RTSP connection."""
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet
