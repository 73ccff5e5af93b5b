"""Where a packet stands in time: a monotone internal clock, and the moment of capture on our own clock.

Cameras' clocks jump, wrap, drift and lie; bursts arrive late, but nothing arrives before it was captured. So
the smallest distance between arrival and PTS that was seen in the last seconds is the truest one. It is the
smallest of some seconds only, not of all time, so that a camera whose clock runs too slow (a stream that
announces 25 frames a second and gives 20) does not seem to fall behind for ever.

Invariants, for any times that a stream may bring:
- internal decode time never falls, save by less than `_REORDER_NS` where a stream does not tell decode times;
- internal PTS is never before decode time;
- the moment of capture is never later than the arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

JUMP_NS = 5_000_000_000
"""A step of decode time beyond this, or below zero, is a discontinuity, not a pause."""
_REORDER_NS = 1_000_000_000
"""How far PTS may step back while decode time is not known: pictures come in decode order."""
_ASSUMED_STEP_NS = 1_000_000
_MEMORY_NS = 5_000_000_000


class Times(NamedTuple):
    """A packet's times: its place in the stream, and its capture on the monotonic clock."""

    pts_ns: int
    dts_ns: int
    captured_mono_ns: int


@dataclass(slots=True)
class _Lag:
    """The smallest distance between arrival and PTS, over the last one to two times `_MEMORY_NS`."""

    _before_ns: int | None = None
    _now_ns: int | None = None
    _since_ns: int = 0

    def smallest_ns(self, distance_ns: int, arrival_ns: int) -> int:
        """Take one more distance; return the smallest that counts."""
        if self._now_ns is None or arrival_ns - self._since_ns > _MEMORY_NS:
            self._before_ns, self._now_ns, self._since_ns = self._now_ns, distance_ns, arrival_ns
        self._now_ns = min(self._now_ns, distance_ns)
        return self._now_ns if self._before_ns is None else min(self._before_ns, self._now_ns)


@dataclass(slots=True)
class Timeline:
    """One session's times; owned by the camera's thread."""

    jumps: int = 0
    """Discontinuities so far."""
    _shift_ns: int = 0
    _last_ns: int | None = None
    _highest_ns: int = 0
    _last_was_exact: bool = False
    _last_arrival_ns: int = 0
    _last_pts_ns: int | None = None
    _repeats: int = 0
    _lag: _Lag = field(default_factory=_Lag)

    def place(self, pts_ns: int | None, dts_ns: int | None, arrival_mono_ns: int) -> Times:
        """Return where a packet belongs that arrived just now.

        Args:
            pts_ns: presentation time as the stream says it, if it does.
            dts_ns: decoding time, if the stream says it.
            arrival_mono_ns: our monotonic clock at receipt.

        """
        stated = dts_ns if dts_ns is not None else pts_ns
        if stated is None:
            stated = self._guess(arrival_mono_ns) - self._shift_ns
        self._mend(stated, arrival_mono_ns, exact=dts_ns is not None)
        dts = stated + self._shift_ns
        delay = 0 if pts_ns is None else pts_ns - stated
        pts = self._unlike_the_last(dts + (delay if 0 <= delay <= JUMP_NS else 0))
        self._highest_ns = dts if self._last_ns is None else max(self._highest_ns, dts)
        self._last_ns, self._last_arrival_ns = dts, arrival_mono_ns
        self._last_was_exact = dts_ns is not None
        return Times(pts, dts, pts + self._lag.smallest_ns(arrival_mono_ns - pts, arrival_mono_ns))

    def _unlike_the_last(self, pts_ns: int) -> int:
        """Move a repeated PTS on by a nanosecond, so that it names one frame only (MPEG-PS has such)."""
        self._repeats = self._repeats + 1 if pts_ns == self._last_pts_ns else 0
        self._last_pts_ns = pts_ns
        return pts_ns + self._repeats

    def _guess(self, arrival_ns: int) -> int:
        """Return the internal time of a packet without any: as long after the last one as it arrived."""
        if self._last_ns is None:
            return 0
        return self._highest_ns + max(_ASSUMED_STEP_NS, arrival_ns - self._last_arrival_ns)

    def _mend(self, stated_ns: int, arrival_ns: int, *, exact: bool) -> None:
        """After a jump, go on from where the last packet stood."""
        if self._last_ns is None:
            return
        dts_ns = stated_ns + self._shift_ns
        least_ns = self._last_ns if exact and self._last_was_exact else self._highest_ns - _REORDER_NS
        step_ns, waited_ns = dts_ns - self._last_ns, arrival_ns - self._last_arrival_ns
        seen_by_us_too = abs(step_ns - waited_ns) <= JUMP_NS
        if dts_ns < least_ns or (step_ns > JUMP_NS and not seen_by_us_too):
            self._shift_ns = self._guess(arrival_ns) - stated_ns
            self.jumps += 1
