"""Where a packet stands in time: a monotone internal PTS, and the moment of capture on our own clocks.

Cameras' clocks jump, wrap, drift and lie; bursts arrive late, but nothing arrives before it was captured.
So the smallest seen distance between arrival and PTS is the truest, and it may rise only slowly (1 ms a
second, more than any crystal drifts) to follow a camera whose clock is slower than ours.

Invariants: internal PTS in decode order never falls by more than a reordering of B-frames; the moment of
capture is never later than the arrival.
"""

from __future__ import annotations

from dataclasses import dataclass

JUMP_NS = 5_000_000_000
"""A step of decode time beyond this, or below zero, is a discontinuity, not a pause."""
_CREEP = 0.001
_ASSUMED_STEP_NS = 1_000_000


@dataclass(slots=True)
class Timeline:
    """One session's times; owned by the camera's thread."""

    jumps: int = 0
    """Discontinuities so far."""
    _shift_ns: int = 0
    _last_dts_ns: int | None = None
    _last_arrival_ns: int = 0
    _offset_ns: int | None = None

    def place(self, pts_ns: int | None, dts_ns: int | None, arrival_mono_ns: int) -> tuple[int, int]:
        """Return `(internal_pts_ns, captured_mono_ns)` of a packet that arrived just now.

        Args:
            pts_ns: presentation time as the stream says it, if it does.
            dts_ns: decoding time, if the stream says it.
            arrival_mono_ns: our monotonic clock at receipt.

        """
        dts = dts_ns if dts_ns is not None else pts_ns
        if dts is None:
            dts = self._guess(arrival_mono_ns) - self._shift_ns
        pts = pts_ns if pts_ns is not None and abs(pts_ns - dts) <= JUMP_NS else dts
        self._mend(dts, arrival_mono_ns)
        captured = self._captured(dts + self._shift_ns, arrival_mono_ns)
        self._last_dts_ns = dts + self._shift_ns
        self._last_arrival_ns = arrival_mono_ns
        return pts + self._shift_ns, min(arrival_mono_ns, captured + pts - dts)

    def _guess(self, arrival_ns: int) -> int:
        """Put a packet without any time where its arrival says."""
        if self._last_dts_ns is None:
            return 0
        return self._last_dts_ns + max(_ASSUMED_STEP_NS, arrival_ns - self._last_arrival_ns)

    def _mend(self, dts: int, arrival_ns: int) -> None:
        """After a jump, go on from where the last packet stood."""
        if self._last_dts_ns is None:
            return
        step = dts + self._shift_ns - self._last_dts_ns
        if 0 <= step <= JUMP_NS:
            return
        waited = arrival_ns - self._last_arrival_ns
        if step > 0 and abs(step - waited) <= JUMP_NS:
            return  # a true pause: our own clock saw it as well
        self._shift_ns = self._guess(arrival_ns) - dts
        self._offset_ns = None
        self.jumps += 1

    def _captured(self, dts: int, arrival_ns: int) -> int:
        offset = arrival_ns - dts
        if self._offset_ns is not None:
            crept = self._offset_ns + int((arrival_ns - self._last_arrival_ns) * _CREEP)
            offset = min(offset, crept)
        self._offset_ns = offset
        return dts + offset
