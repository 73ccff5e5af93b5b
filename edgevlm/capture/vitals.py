"""A camera's state and figures, measured on the stream itself.

Written by the camera's thread (and, for silence, by the host's sender thread); read by others as snapshots.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.ring import Packet
from edgevlm.records import CameraHealth, CameraState

_STALL_FACTOR = 20
_STALL_FLOOR_NS = 3_000_000_000
_FIRST_RATE_NS, _RATE_NS = 1_000_000_000, 2_000_000_000


@dataclass(slots=True)
class FrameRate:
    """Frames a second by decode times, which rise evenly also where B-frames are shown in another order."""

    per_sec: float | None = None
    _began_ns: int | None = None
    _steps: int = 0

    def count(self, dts_ns: int) -> None:
        """Take a frame; the rate is that of the last two whole seconds, or of the first one."""
        if self._began_ns is None or dts_ns < self._began_ns:
            self._began_ns, self._steps = dts_ns, 0
            return
        self._steps += 1
        span_ns = dts_ns - self._began_ns
        if span_ns >= (_FIRST_RATE_NS if self.per_sec is None else _RATE_NS):
            self.per_sec = self._steps * 1e9 / span_ns
            self._began_ns, self._steps = dts_ns, 0


class Vitals:
    """Figures of one camera over all its sessions, rates over the present one."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._lock = threading.Lock()
        self._state = CameraState.STARTING
        self._detail = ""
        self._params: StreamParams | None = None
        self._size: tuple[int, int] | None = None
        self._rate = FrameRate()
        self._gop_ns: float | None = None
        self._bits_per_ns: float | None = None
        self._last_packet_mono_ns: int | None = None
        self._last_key_pts_ns: int | None = None
        self._gop_bytes = 0
        self._session = self._packets = self._looks = self._decode_errors = 0

    @property
    def state(self) -> CameraState:
        """The state of now."""
        return self._state

    def begin_session(self, number: int, params: StreamParams) -> None:
        """Forget the last session's rates."""
        with self._lock:
            self._session = number
            self._params = params
            self._rate = FrameRate()
            self._gop_ns = self._bits_per_ns = self._last_packet_mono_ns = self._last_key_pts_ns = None
            self._gop_bytes = 0

    def count_packet(self, packet: Packet, now_mono_ns: int) -> None:
        """Measure a packet that begins a picture."""
        with self._lock:
            self._rate.count(packet.dts_ns)
            if packet.keyframe:
                self._end_gop(packet.instant.pts_ns)
            self._gop_bytes += len(packet.data)
            self._packets += 1
            self._last_packet_mono_ns = now_mono_ns

    def count_rest(self, size: int) -> None:
        """Measure what came later of the same picture."""
        with self._lock:
            self._gop_bytes += size

    def _end_gop(self, pts_ns: int) -> None:
        if self._last_key_pts_ns is not None and pts_ns > self._last_key_pts_ns:
            length_ns = pts_ns - self._last_key_pts_ns
            self._gop_ns = _smooth(self._gop_ns, length_ns)
            self._bits_per_ns = _smooth(self._bits_per_ns, self._gop_bytes * 8 / length_ns)
        self._last_key_pts_ns = pts_ns
        self._gop_bytes = 0

    def count_look(self, width: int, height: int) -> None:
        """Note that a frame of this size was decoded."""
        with self._lock:
            self._size = (width, height)
            self._looks += 1

    def count_decode_error(self) -> None:
        """Note that a keyframe could not be decoded."""
        with self._lock:
            self._decode_errors += 1

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
            step_ns = 1e9 / self._rate.per_sec if self._rate.per_sec else 0
            silent_ns = now_mono_ns - self._last_packet_mono_ns
            if silent_ns > max(_STALL_FLOOR_NS, _STALL_FACTOR * step_ns):
                self._state, self._detail = CameraState.STALLED, "the stream is silent"

    def health(self, ring_bytes: int = 0) -> CameraHealth:
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
                fps=round(self._rate.per_sec, 2) if self._rate.per_sec else None,
                gop_secs=round(self._gop_ns / 1e9, 3) if self._gop_ns else None,
                bitrate_bps=round(self._bits_per_ns * 1e9) if self._bits_per_ns else None,
                sessions=self._session,
                packets=self._packets,
                looks=self._looks,
                decode_errors=self._decode_errors,
                ring_bytes=ring_bytes,
            )


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else old + 0.3 * (new - old)
