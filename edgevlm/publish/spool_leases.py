"""Who may count on a spooled message: what is under way is not dropped, what was dropped does not leave.

The event loop takes a lease before it hands a message to a sink; the spool's thread picks what to drop. Both
hold one lock for as long as that takes, so that a message ends either way, never both.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence


class Leases:
    """Knows what is under way and what has just been dropped; for both threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[int] = Counter()  # seq → to how many sinks
        self._gone: set[int] = set()

    def take(self, seq: int) -> bool:
        """Return whether the message is still there, and keep it until `release`."""
        with self._lock:
            if seq in self._gone:
                return False
            self._under_way[seq] += 1
            return True

    def release(self, seq: int) -> None:
        """Let it be dropped again."""
        with self._lock:
            self._under_way[seq] -= 1
            if not self._under_way[seq]:
                del self._under_way[seq]

    def under_way(self) -> int:
        """Return how many messages cannot be dropped now."""
        with self._lock:
            return len(self._under_way)

    def pick(self, candidates: Sequence[int], limit: int | None = None) -> list[int]:
        """Return the first of `candidates` that may be dropped; from now on they are gone."""
        with self._lock:
            victims = [seq for seq in candidates if seq not in self._under_way][:limit]
            self._gone.update(victims)
            return victims

    def forget(self, victims: Iterable[int]) -> None:
        """Stop remembering drops: nobody has them in hand any more, or they did not happen after all."""
        with self._lock:
            self._gone.difference_update(victims)
