"""One camera's messages on their way to one sink: the few that are in memory, and how far the spool was read.

Pure: `courier` moves it on, and asks the spool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgevlm.publish.spool_row import Spooled


@dataclass(slots=True)
class Lane:
    """What waits in the spool beyond `read_up_to` is not in `queue`; `behind` is true while there is any."""

    camera: str
    queue: deque[Spooled] = field(default_factory=deque)
    read_up_to: int = 0
    behind: bool = False
    busy: bool = False
    """The head of the queue is being delivered."""
    attempts: int = 0
    """At the head of the queue."""
    reading: bool = False
    _came_meanwhile: bool = False
    _ended_meanwhile: set[int] = field(default_factory=set)
    _stale: bool = False

    def put(self, spooled: Spooled, limit: int) -> None:
        """Take a message that was just accepted; beyond `limit` it is left in the spool and read later."""
        if spooled.seq is None:
            self.queue.append(spooled)
        elif self.behind or self.reading or len(self.queue) >= limit:
            self.behind = self._came_meanwhile = True
        else:
            self.queue.append(spooled)
            self.read_up_to = spooled.seq

    def head(self) -> Spooled | None:
        """Return the message whose turn it is."""
        return self.queue[0] if self.queue else None

    def drop_head(self) -> None:
        """Let go of a message that has gone from the spool."""
        self.queue.popleft()
        self.attempts = 0

    def end(self, spooled: Spooled) -> None:
        """Let go of the message that was being delivered."""
        if self.reading and spooled.seq is not None:
            self._ended_meanwhile.add(spooled.seq)
        if self.queue and self.queue[0] is spooled:
            self.drop_head()

    def is_hungry(self, limit: int) -> bool:
        """Return whether the spool should be read on."""
        return self.behind and not self.reading and len(self.queue) < limit // 2

    def begin_reading(self) -> None:
        """Note that what comes or ends from now on may or may not be in the page."""
        self.reading = True
        self._came_meanwhile = self._stale = False
        self._ended_meanwhile.clear()

    def take_page(self, page: list[Spooled], *, more: bool) -> None:
        """Append what was read."""
        if self._stale:  # read from where we no longer are
            return
        known = self._ended_meanwhile | {spooled.seq for spooled in self.queue if spooled.seq is not None}
        for spooled in page:
            if spooled.seq is not None and spooled.seq > self.read_up_to:
                self.read_up_to = spooled.seq
                if spooled.seq not in known:
                    self.queue.append(spooled)
        self.behind = more or self._came_meanwhile

    def forget(self, gone: set[int]) -> None:
        """Let go of messages that the spool has dropped; none of them is being delivered."""
        if any(spooled.seq in gone for spooled in self.queue):
            self._keep(lambda spooled: spooled.seq not in gone)

    def begin_again(self) -> None:
        """Read the spool from its beginning; what is being delivered, or in memory only, stays."""
        self._keep(lambda spooled: spooled.seq is None)
        self.read_up_to = 0
        self.behind = self._stale = True

    def drop_oldest_in_memory(self) -> bool:
        """Let go of the oldest message that memory alone holds; return whether there is one to drop."""
        candidates = list(self.queue)[1:] if self.busy else list(self.queue)
        oldest = next((spooled for spooled in candidates if spooled.seq is None), None)
        if oldest is not None:
            self._keep(lambda spooled: spooled is not oldest)
        return oldest is not None

    def _keep(self, wanted: Callable[[Spooled], bool]) -> None:
        head = self.head()
        kept = [spooled for spooled in self.queue if (self.busy and spooled is head) or wanted(spooled)]
        self.queue.clear()
        self.queue.extend(kept)
        if self.head() is not head:
            self.attempts = 0
