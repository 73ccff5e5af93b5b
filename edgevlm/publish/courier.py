"""Carries messages to one sink: keeps them in order, tries again, and counts what it must drop.

Invariants:
- Messages of one camera are handed over one after another, in the order in which they were accepted.
- A message leaves the queue when the sink has confirmed it, when the sink refuses it for good, or when it is
  the oldest of a full queue. The last two are counted.
- The queue is in memory: what has not been delivered when the daemon stops is lost, and counted as that.

Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.publish.fold import Fold
from edgevlm.publish.sink import Message, Sink, Windowed
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CourierStatistics:
    """What a courier has done and holds."""

    sink: str
    waiting: int
    """In the queue, those under way included."""
    under_way: int
    accepted: int
    delivered: int
    dropped: int
    """For any reason."""
    reachable: bool
    """False while the sink does not take anything."""


class Courier:
    """Owns the queue of one sink."""

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Clock,
        counters: Counters,
        max_messages: int = 1000,
        backoff: Backoff | None = None,
    ) -> None:
        self.sink = sink
        self._clock = clock
        self._counters = counters
        self._max_messages = max_messages
        self._window = sink.window if isinstance(sink, Windowed) else 1
        self._backoff = backoff or Backoff(first_secs=0.5, cap_secs=5.0)
        self._fold = Fold(clock)
        self._queue: dict[int, Message] = {}  # by ticket, oldest first
        self._lanes: dict[str, int] = {}  # camera → the ticket under way
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._reachable = True
        self._pausing = False
        self._accepted = self._delivered = self._dropped = 0

    @property
    def name(self) -> str:
        """The sink's name in the configuration."""
        return self.sink.name

    async def open(self) -> None:
        """Open the sink; call it before `run`."""
        await self.sink.open()

    def accept_nowait(self, message: Message) -> None:
        """Take `message` for delivery; of a full queue the oldest message is dropped."""
        if len(self._queue) >= self._max_messages:
            self._drop_oldest()
        self._queue[self._accepted] = message
        self._accepted += 1
        self._empty.clear()
        self._changed.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                ticket = await self._next()
                message = self._queue[ticket]
                self._lanes[message.camera] = ticket
                group.create_task(self._attempt(ticket, message), name=f"edgevlm[{self.name}].deliver")

    async def drain(self, timeout_secs: float) -> bool:
        """Wait until everything is delivered, not longer than `timeout_secs`; return whether it is."""
        try:
            async with asyncio.timeout(timeout_secs):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Count what is left and close the sink; call it when `run` has ended."""
        if self._queue:
            self._count_drop("lost_at_stop", len(self._queue))
            log.error(
                "messages are lost, they were not delivered before the stop",
                sink=self.name,
                messages=len(self._queue),
            )
            self._queue.clear()
        await self.sink.close()

    def statistics(self) -> CourierStatistics:
        """Return a snapshot."""
        return CourierStatistics(
            sink=self.name,
            waiting=len(self._queue),
            under_way=len(self._lanes),
            accepted=self._accepted,
            delivered=self._delivered,
            dropped=self._dropped,
            reachable=self._reachable,
        )

    async def _next(self) -> int:
        """Return the ticket of the oldest message whose turn it is, once there is one."""
        while True:
            if self._pausing:
                await self._clock.sleep(self._backoff.next_secs())
                self._pausing = False  # also for those that failed meanwhile
            ticket = self._pick()
            if ticket is not None:
                return ticket
            self._changed.clear()
            await self._changed.wait()

    def _pick(self) -> int | None:
        if len(self._lanes) >= self._window:
            return None
        waiting = (ticket for ticket, message in self._queue.items() if message.camera not in self._lanes)
        return next(waiting, None)

    async def _attempt(self, ticket: int, message: Message) -> None:
        try:
            await self.sink.deliver(message)
        except SinkUnreachable as err:
            self._keep(err)
        except SinkRejected as err:
            self._reject(ticket, message, err)
        except Exception:
            # The end of an asyncio task: a fault in a sink costs this message, not the daemon.
            log.exception("a sink failed on a message, which is dropped", sink=self.name, id=message.id)
            self._drop(ticket, "sink_fault")
        else:
            self._confirm(ticket)
        finally:
            del self._lanes[message.camera]
            self._changed.set()

    def _confirm(self, ticket: int) -> None:
        self._leave(ticket)
        self._delivered += 1
        self._counters.count("delivered", self.name)
        self._note_reachable()

    def _note_reachable(self) -> None:
        self._backoff.reset()
        if not self._reachable:
            self._reachable = True
            log.info("sink takes messages again", sink=self.name, waiting=len(self._queue))

    def _keep(self, err: SinkUnreachable) -> None:
        self._pausing = True
        if self._reachable:
            self._reachable = False
            log.warning("sink cannot be reached, messages are kept", sink=self.name, why=err.message)

    def _reject(self, ticket: int, message: Message, err: PublishError) -> None:
        self._drop(ticket, "rejected")
        self._note_reachable()
        folded = self._fold.due(err.message)
        if folded is not None:
            log.error(
                "sink refused a message, which is dropped",
                sink=self.name,
                id=message.id,
                why=err.message,
                and_before=folded,
            )

    def _drop_oldest(self) -> None:
        """Make room; what is under way stays, for it may have arrived."""
        under_way = set(self._lanes.values())
        ticket = next((ticket for ticket in self._queue if ticket not in under_way), None)
        if ticket is None:
            return
        self._drop(ticket, "queue_full")
        folded = self._fold.due("queue_full")
        if folded is not None:
            log.error(
                "queue is full, the oldest message is dropped",
                sink=self.name,
                max_messages=self._max_messages,
                and_before=folded,
            )

    def _drop(self, ticket: int, reason: str) -> None:
        self._leave(ticket)
        self._count_drop(reason, 1)

    def _count_drop(self, reason: str, amount: int) -> None:
        self._dropped += amount
        self._counters.drop("publish", reason, self.name, amount)

    def _leave(self, ticket: int) -> None:
        del self._queue[ticket]
        if not self._queue:
            self._empty.set()
