"""Recordings, played at their own speed as if they were live."""

from __future__ import annotations

import threading
import time

from edgevlm.capture.container import Container
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import FileSpec
from edgevlm.errors import SourceEnded

_PAUSE_SECS = 0.5
"""A longer wait for the next packet is taken in pieces, so that stopping is quick."""


class FileSource:
    """A recording; each packet is given out when its time has come."""

    live = False
    patience_secs = 30.0

    def __init__(self, camera: str, spec: FileSpec) -> None:
        self._camera = camera
        self._spec = spec
        self._container = Container(camera, spec.path, options={"protocol_whitelist": "file"})
        self._waiting: RawPacket | None = None
        self._start_mono_ns: int | None = None
        self._first_ns = 0
        self._last_ns = 0
        self._seen = 0

    def open(self) -> StreamParams:
        """Open the recording at its beginning."""
        return self._container.open()

    def read(self, quit_event: threading.Event) -> RawPacket | None:
        """Return the next packet when it is due."""
        packet = self._waiting or self._next()
        pause_secs = self._due_in_secs(packet)
        if pause_secs > 0 and quit_event.wait(min(pause_secs, _PAUSE_SECS)):
            return None
        self._waiting = packet if pause_secs > _PAUSE_SECS else None
        return None if self._waiting else packet

    def _next(self) -> RawPacket:
        packet = self._container.next()
        if packet is None:
            packet = self._again()
        self._seen += 1
        return packet

    def _again(self) -> RawPacket:
        """Begin anew, or end."""
        if not self._spec.loop or self._seen == 0:
            raise SourceEnded(self._camera, "the recording is over")
        self._container.rewind()
        self._start_mono_ns = None
        packet = self._container.next()
        if packet is None:
            raise SourceEnded(self._camera, "the recording cannot be played again")
        return packet

    def _due_in_secs(self, packet: RawPacket) -> float:
        at_ns = packet.dts_ns if packet.dts_ns is not None else packet.pts_ns
        if at_ns is None:
            at_ns = self._last_ns + 40_000_000
        now_ns = time.monotonic_ns()
        if self._start_mono_ns is None:
            self._start_mono_ns, self._first_ns = now_ns, at_ns
        self._last_ns = at_ns
        return (self._start_mono_ns + at_ns - self._first_ns - now_ns) / 1e9

    def close(self) -> None:
        """Close the recording."""
        self._container.close()
        self._waiting = None
