"""Recordings, played at their own speed as if they were live."""

from __future__ import annotations

import threading
import time

from edgevlm.capture.container import Container
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import FileSpec
from edgevlm.errors import CameraUnreachable, SourceEnded

_PAUSE_SECS = 0.5
"""A longer wait for the next packet is taken in pieces, so that stopping is quick."""
_LEAP_NS = 10_000_000_000
"""Times that go back, or on by more than this, are a seam in the recording and are not waited for."""
_ASSUMED_STEP_NS = 40_000_000


class FileSource:
    """A recording; each packet is given out when its time has come."""

    live = False
    patience_secs = 30.0

    def __init__(self, camera: str, spec: FileSpec) -> None:
        self._camera = camera
        self._spec = spec
        # "file:" keeps FFmpeg from taking a colon in the name for the end of a protocol's.
        options = {"protocol_whitelist": "file"}
        self._container = Container(camera, f"file:{spec.path}", options=options)
        self._params: StreamParams | None = None
        self._waiting: RawPacket | None = None
        self._pace = _Pace()

    def open(self) -> StreamParams:
        """Open the recording at its beginning."""
        self._params = self._container.open()
        self._pace = _Pace()
        return self._params

    def read(self, quit_event: threading.Event) -> RawPacket | None:
        """Return the next packet when it is due."""
        if self._waiting is None:
            self._waiting = self._container.next() or self._again()
            self._pace.follow(self._waiting)
        pause_secs = (self._pace.due_mono_ns - time.monotonic_ns()) / 1e9
        if pause_secs > 0:
            quit_event.wait(min(pause_secs, _PAUSE_SECS))
        if pause_secs > _PAUSE_SECS or quit_event.is_set():
            return None
        packet, self._waiting = self._waiting, None
        return packet

    def _again(self) -> RawPacket:
        """Begin anew, or end; by opening, since some containers cannot go back to their first keyframe."""
        if not self._spec.loop:
            raise SourceEnded(self._camera, "the recording is over")
        self._container.close()
        if self._container.open() != self._params:
            raise CameraUnreachable(self._camera, "the recording has been replaced by another")
        packet = self._container.next()
        if packet is None:
            raise SourceEnded(self._camera, "the recording holds no pictures")
        return packet

    def close(self) -> None:
        """Close the recording."""
        self._container.close()
        self._waiting = None


class _Pace:
    """Says when packets are due, on the monotonic clock."""

    def __init__(self) -> None:
        self.due_mono_ns = time.monotonic_ns()
        self._last_ns: int | None = None
        self._step_ns = _ASSUMED_STEP_NS

    def follow(self, packet: RawPacket) -> None:
        """Move on to `packet`: by the recording's own step, or by a usual one over a seam."""
        at_ns = packet.dts_ns if packet.dts_ns is not None else packet.pts_ns
        if self._last_ns is not None:
            step_ns = self._step_ns if at_ns is None else at_ns - self._last_ns
            if 0 <= step_ns <= _LEAP_NS:
                self._step_ns = step_ns
            else:
                step_ns = self._step_ns
            # After a long standstill (a suspended machine) the past is not played in haste.
            self.due_mono_ns = max(self.due_mono_ns + step_ns, time.monotonic_ns() - _LEAP_NS)
        if at_ns is not None:
            self._last_ns = at_ns
