"""Which of many like messages are worth a line: the first, then fewer and fewer, each with its count.

Pure: the caller tells the time. A camera that fails every second for a day gives about thirty lines, not
86,400, and no failure goes uncounted.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

_NS = 1_000_000_000


@dataclass(slots=True)
class _Series:
    """The like messages under one key."""

    due_ns: int
    pause_ns: int
    folded: int = 0


class Fold:
    """Tells of each message whether to write it; forgets the key seen longest ago beyond `max_keys`."""

    def __init__(
        self, *, first_secs: float = 10.0, growth: float = 4.0, cap_secs: float = 3600.0, max_keys: int = 1000
    ) -> None:
        self._first_ns = int(first_secs * _NS)
        self._growth = growth
        self._cap_ns = int(cap_secs * _NS)
        self._max_keys = max_keys
        self._series: dict[Hashable, _Series] = {}

    def seen(self, key: Hashable, now_ns: int) -> int | None:
        """Return None to fold this message, else how many like it were folded since the last one written."""
        series = self._series.pop(key, None)
        if series is None:
            series = self._begin(now_ns)
            self._series[key] = series
            return 0
        self._series[key] = series  # now the one seen last
        if now_ns < series.due_ns:
            series.folded += 1
            return None
        folded, series.folded = series.folded, 0
        quiet = now_ns - series.due_ns > series.pause_ns
        series.pause_ns = self._first_ns if quiet else min(self._cap_ns, int(series.pause_ns * self._growth))
        series.due_ns = now_ns + series.pause_ns
        return folded

    def forget(self, key: Hashable) -> int:
        """Begin anew with `key`, as when its cause is over; return how many were folded and not yet told."""
        series = self._series.pop(key, None)
        return series.folded if series else 0

    def _begin(self, now_ns: int) -> _Series:
        if len(self._series) >= self._max_keys:
            del self._series[next(iter(self._series))]
        return _Series(due_ns=now_ns + self._first_ns, pause_ns=self._first_ns)
