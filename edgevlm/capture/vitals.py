"""A camera's state and figures, measured on the stream itself.

Written by the camera's thread (and, for silence, by the host's main thread); read by others as snapshots.
"""

from __future__ import annotations

import threading

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.ring import Packet
from edgevlm.records import CameraHealth, CameraState

_SMOOTH = 0.05
_STALL_FACTOR = 20
_STALL_FLOOR_NS = 3_000_000_000


class Vitals:
    """Figures of one camera over all its sessions, rates over the present one."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._lock = threading.Lock()
        self._state = CameraState.STARTING
        self._detail = ""
        self._params: StreamParams | None = None
        self._size: tuple[int, int] | None = None
        self._step_ns: float | None = None
        self._gop_ns: float | None = None
        self._bits_per_ns: float | None = None
        self._last_packet_mono_ns: int | None = None
        self._last_pts_ns: int | None = None
        self._last_key_pts_ns: int | None = None
        self._gop_bytes = 0
        self._sessions = self._packets = self._looks = 0
        self.decode_errors = 0

    def begin_session(self, params: StreamParams) -> int:
        """Forget the last session's rates; return the new session's number."""
        with self._lock:
            self._params = params
            self._step_ns = self._gop_ns = self._bits_per_ns = None
            self._last_packet_mono_ns = self._last_pts_ns = self._last_key_pts_ns = None
            self._gop_bytes = 0
            self._sessions += 1
            return self._sessions

    def count_packet(self, packet: Packet, now_mono_ns: int) -> bool:
        """Measure `packet`; return True when the camera was not online until now."""
        with self._lock:
            pts_ns = packet.instant.pts_ns
            if self._last_pts_ns is not None and pts_ns > self._last_pts_ns:
                self._step_ns = _smooth(self._step_ns, pts_ns - self._last_pts_ns)
            self._last_pts_ns = pts_ns
            if packet.keyframe:
                self._end_gop(pts_ns)
            self._gop_bytes += len(packet.data)
            self._packets += 1
            self._last_packet_mono_ns = now_mono_ns
            return self._state != CameraState.ONLINE

    def _end_gop(self, pts_ns: int) -> None:
        if self._last_key_pts_ns is not None and pts_ns > self._last_key_pts_ns:
            length_ns = pts_ns - self._last_key_pts_ns
            self._gop_ns = _smooth(self._gop_ns, length_ns, 0.3)
            self._bits_per_ns = _smooth(self._bits_per_ns, self._gop_bytes * 8 / length_ns, 0.3)
        self._last_key_pts_ns = pts_ns
        self._gop_bytes = 0

    def count_look(self, width: int, height: int) -> None:
        """Note that a frame of this size was decoded."""
        with self._lock:
            self._size = (width, height)
            self._looks += 1

    def change(self, state: CameraState, detail: str) -> bool:
        """Set the state; return whether that is news."""
        with self._lock:
            news = (state, detail) != (self._state, self._detail)
            self._state, self._detail = state, detail
            return news

    def notice_silence(self, now_mono_ns: int, *, live: bool) -> None:
        """Call an online camera stalled when it is silent for long by its own measured rate."""
        with self._lock:
            if not live or self._state != CameraState.ONLINE or self._last_packet_mono_ns is None:
                return
            limit_ns = max(_STALL_FLOOR_NS, _STALL_FACTOR * (self._step_ns or 0))
            silent_ns = now_mono_ns - self._last_packet_mono_ns
            if silent_ns > limit_ns:
                self._state, self._detail = CameraState.STALLED, "the stream is silent"

    def health(self) -> CameraHealth:
        """Return a snapshot."""
        with self._lock:
            width, height = self._size or (None, None)
            return CameraHealth(
                camera=self._camera,
                state=self._state,
                detail=self._detail,
                codec=self._params.codec if self._params else None,
                width=width,
                height=height,
                fps=round(1e9 / self._step_ns, 2) if self._step_ns else None,
                gop_secs=round(self._gop_ns / 1e9, 3) if self._gop_ns else None,
                bitrate_bps=round(self._bits_per_ns * 1e9) if self._bits_per_ns else None,
                sessions=self._sessions,
                packets=self._packets,
                looks=self._looks,
                decode_errors=self.decode_errors,
            )


def _smooth(old: float | None, new: float, weight: float = _SMOOTH) -> float:
    return new if old is None else old + weight * (new - old)
