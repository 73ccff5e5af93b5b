"""Folds a log line that keeps coming back into one line a minute with a count."""

from __future__ import annotations

from edgevlm.runtime.clock import Clock

_MAX_KEYS = 256


class Fold:
    """Decides which of many equal lines is written; belongs to the event loop."""

    def __init__(self, clock: Clock, every_secs: float = 60.0) -> None:
        self._clock = clock
        self._every_ns = int(every_secs * 1e9)
        self._lines: dict[str, tuple[int, int]] = {}  # what → when it was last written, how many since

    def due(self, what: str) -> int | None:
        """Return how many lines about `what` were swallowed before this one, or None to swallow it too."""
        now_ns = self._clock.monotonic_ns()
        written_ns, swallowed = self._lines.get(what, (now_ns - self._every_ns, 0))
        if now_ns - written_ns < self._every_ns:
            self._lines[what] = (written_ns, swallowed + 1)
            return None
        if len(self._lines) >= _MAX_KEYS:
            self._lines.clear()
        self._lines[what] = (now_ns, 0)
        return swallowed

    def forget(self, what: str) -> int:
        """Write the next line about `what` at once; return how many were swallowed until now."""
        return self._lines.pop(what, (0, 0))[1]
