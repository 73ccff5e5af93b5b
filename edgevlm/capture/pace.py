"""When a camera's next look is due: one an interval on average, though keyframes are never punctual."""

from __future__ import annotations

_EARLY = 0.25
"""A keyframe may come this part of the interval too early; else a GOP as long as it would halve the looks."""
_LATE = 0.9


class LookPace:
    """Thins keyframes out to looks; pure."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ns = interval_ms * 1_000_000
        self._next_mono_ns = 0

    def due(self, now_mono_ns: int) -> bool:
        """Return whether a keyframe of now becomes a look."""
        return now_mono_ns >= self._next_mono_ns - int(_EARLY * self._interval_ns)

    def taken(self, now_mono_ns: int) -> None:
        """Note that a look was taken."""
        steady = self._next_mono_ns + self._interval_ns
        self._next_mono_ns = max(steady, now_mono_ns + int(_LATE * self._interval_ns))
