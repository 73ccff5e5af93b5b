"""What a capture host has to say, bounded: the newest look and health of a camera replace the older ones.

Filled by camera threads and the picture thread, emptied by the one sender thread. A daemon that does not
read for a while finds the present, not the past; how many looks it has missed is told with the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from edgevlm.capture.link import HealthReport, LookTaken, ToDaemon

_MAX_REPLIES = 256


class Outbox:
    """A bounded hand-over between threads; `put` never blocks."""

    def __init__(self) -> None:
        self._looks: dict[str, LookTaken] = {}
        self._health: dict[str, HealthReport] = {}
        self._replies: deque[ToDaemon] = deque(maxlen=_MAX_REPLIES)
        self._ready = threading.Condition()

    def put(self, message: ToDaemon) -> None:
        """Leave `message` for the sender."""
        with self._ready:
            match message:
                case LookTaken(look):
                    older = self._looks.get(look.camera)
                    missed = older.superseded + 1 if older else 0
                    self._looks[look.camera] = replace(message, superseded=missed)
                case HealthReport(health):
                    self._health[health.camera] = message
                case _:
                    self._replies.append(message)
            self._ready.notify()

    def take(self, timeout_secs: float) -> list[ToDaemon]:
        """Return everything that waits, replies first; an empty list after `timeout_secs` of silence."""
        with self._ready:
            self._ready.wait_for(lambda: self._replies or self._health or self._looks, timeout_secs)
            waiting = [*self._replies, *self._health.values(), *self._looks.values()]
            self._replies.clear()
            self._health.clear()
            self._looks.clear()
            return waiting
