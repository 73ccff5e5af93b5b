"""Carries messages from the spool to one sink: in order, again and again until they are confirmed.

Invariants:
- Messages of one camera are handed over one after another, in the order in which they were accepted. Cameras
  take turns: a long backlog of one does not hold up the fresh answers of another.
- A message leaves the spool when the sink has confirmed it. One that the sink refuses for good stays there as
  a dead letter.
- A part of what waits is in memory: the oldest few of each camera, and what could not be stored.
- A sink that cannot be reached is tried with one message at a time, after growing pauses, until it takes one.

Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.publish.lane import Lane
from edgevlm.publish.sink import Sink, Windowed
from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_row import Spooled
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.fold import Fold

log = structlog.get_logger()

PAGE = 32
"""Messages of a camera that are read from the spool at once."""
MAX_NOT_DURABLE = 1000


@dataclass(frozen=True, slots=True)
class CourierStatistics:
    """What a courier has done and what waits for it."""

    sink: str
    waiting: int
    """In the spool and in memory, those under way included."""
    under_way: int
    accepted: int
    delivered: int
    repeated: int
    """Attempts after the first."""
    dead_lettered: int
    """Refused by the sink for good, and kept with the error."""
    dropped: int
    """Lost: what was in memory only, since nothing could be stored."""
    reachable: bool
    """False while the sink does not take anything."""
    oldest_attempts: int
    """How often the message that is tried now was tried already."""


class Courier:
    """Owns the deliveries of one sink; `Receiver` of a spool."""

    def __init__(
        self,
        sink: Sink,
        spool: Spool,
        *,
        clock: Clock,
        counters: Counters,
        backoff: Backoff | None = None,
    ) -> None:
        self.sink = sink
        self.name = sink.name
        """The sink's name in the configuration."""
        self._spool = spool
        self._clock = clock
        self._counters = counters
        self._window = sink.window if isinstance(sink, Windowed) else 1
        self._backoff = backoff or Backoff(first_secs=0.5, cap_secs=5.0)
        self._fold = Fold(first_secs=60.0)
        self._lanes: dict[str, Lane] = {}  # by camera; whose turn is next comes first
        self._under_way = 0
        self._changed = asyncio.Event()
        self._stirred = asyncio.Event()  # for `drain`: all is delivered, or the sink is out of reach
        self._reachable = True
        self._pausing = False
        self._in_memory = 0
        self._accepted = self._delivered = self._repeated = self._dead_lettered = self._dropped = 0

    async def open(self) -> None:
        """Open the sink, and take on what waits from before; call it before `run`, the spool open."""
        self._spool.join(self)
        self.refresh()
        await self.sink.open()

    # --- what the spool tells ---------------------------------------------------------------------------

    def accept_nowait(self, spooled: Spooled) -> None:
        """Take note of a message that was just accepted."""
        self._accepted += 1
        lane = self._lane(spooled.message.camera)
        if spooled.seq is None:
            self._make_room_in_memory()
            self._in_memory += 1
        lane.put(spooled, PAGE)
        self._changed.set()

    def forget(self, gone: set[int]) -> None:
        """Let go of messages that the spool has dropped."""
        for lane in self._lanes.values():
            lane.forget(gone)
        self._note_changed()

    def refresh(self) -> None:
        """Read anew what waits."""
        for lane in self._lanes.values():
            lane.begin_again()
        for camera in self._spool.lanes(self.name):
            self._lane(camera).begin_again()
        self._note_changed()

    def _note_changed(self) -> None:
        self._changed.set()
        if not self.waiting():
            self._stirred.set()

    def _lane(self, camera: str) -> Lane:
        return self._lanes.setdefault(camera, Lane(camera))

    # --- life -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._pause()
                self._changed.clear()
                for lane in self._hungry():
                    group.create_task(self._feed(lane), name=f"edgevlm[{self.name}].read")
                if (picked := self._pick()) is not None:
                    group.create_task(self._attempt(picked), name=f"edgevlm[{self.name}].deliver")
                else:
                    await self._changed.wait()

    async def drain(self, timeout_secs: float, *, patient: bool = True) -> bool:
        """Wait until everything is delivered, not longer than `timeout_secs`; return whether it is.

        When not `patient`, do not wait for a sink out of reach, unless memory alone holds something.
        """
        try:
            async with asyncio.timeout(timeout_secs):
                while self.waiting():
                    if not (patient or self._reachable or self._in_memory):
                        return False
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Count what only memory held and close the sink; call it when `run` has ended."""
        if self._in_memory:
            self._count_drop("lost_at_stop", self._in_memory)
            log.error("messages are lost: they could not be stored", sink=self.name, messages=self._in_memory)
        if left := self._spool.waiting(self.name):
            log.info("messages wait in the spool for the next start", sink=self.name, messages=left)
        await self.sink.close()

    def waiting(self) -> int:
        """Return how many messages are not delivered yet."""
        return self._spool.waiting(self.name) + self._in_memory

    def statistics(self) -> CourierStatistics:
        """Return a snapshot."""
        return CourierStatistics(
            sink=self.name,
            waiting=self.waiting(),
            under_way=self._under_way,
            accepted=self._accepted,
            delivered=self._delivered,
            repeated=self._repeated,
            dead_lettered=self._dead_lettered,
            dropped=self._dropped,
            reachable=self._reachable,
            oldest_attempts=max((lane.attempts for lane in self._lanes.values()), default=0),
        )

    # --- reading ----------------------------------------------------------------------------------------

    def _hungry(self) -> list[Lane]:
        """Return the lanes that should read on in the spool."""
        hungry = [lane for lane in self._lanes.values() if lane.is_hungry(PAGE)]
        for lane in hungry:
            lane.begin_reading()
        return hungry

    async def _feed(self, lane: Lane) -> None:
        try:
            page, more = await self._spool.page(self.name, lane.camera, lane.read_up_to, PAGE)
            lane.take_page(page, more=more)
        finally:
            lane.reading = False
            self._changed.set()

    # --- delivering -------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        if self._pausing:
            await self._clock.sleep(self._backoff.next_secs())
            self._pausing = False  # also for those that failed meanwhile

    def _pick(self) -> Lane | None:
        """Return the next camera whose turn it is, its oldest message leased."""
        if self._under_way >= (self._window if self._reachable else 1):
            return None
        for camera, lane in self._lanes.items():
            while not lane.busy and (spooled := lane.head()) is not None:
                if spooled.seq is None or self._spool.take(spooled.seq):
                    del self._lanes[camera]
                    self._lanes[camera] = lane  # now the last in turn
                    lane.busy = True
                    self._under_way += 1
                    return lane
                lane.drop_head()
        return None

    async def _attempt(self, lane: Lane) -> None:
        spooled = lane.queue[0]
        try:
            await self._hand_over(lane, spooled)
        finally:
            lane.busy = False
            self._under_way -= 1
            if spooled.seq is not None:
                self._spool.release(spooled.seq)
            self._changed.set()

    async def _hand_over(self, lane: Lane, spooled: Spooled) -> None:
        message = spooled.message
        self._repeated += lane.attempts > 0
        lane.attempts += 1
        try:
            await self.sink.deliver(message)
        except SinkUnreachable as err:
            self._keep(err)
        except SinkRejected as err:
            self._reject(lane, spooled, err)
        except Exception as err:
            # The end of an asyncio task: a fault in a sink costs this message, not the daemon.
            log.exception("a sink failed on a message, which is set aside", sink=self.name, id=message.id)
            self._set_aside(lane, spooled, "sink_fault", f"a fault of edgevlm itself: {type(err).__name__}")
        else:
            self._confirm(lane, spooled)

    def _confirm(self, lane: Lane, spooled: Spooled) -> None:
        self._leave(lane, spooled)
        self._delivered += 1
        self._counters.count("delivered", self.name)
        self._note_reachable()

    def _leave(self, lane: Lane, spooled: Spooled, error: str | None = None) -> None:
        lane.end(spooled)
        if spooled.seq is None:
            self._in_memory -= 1
        else:
            self._spool.settle(self.name, lane.camera, spooled.seq, error)
        self._note_changed()

    def _note_reachable(self) -> None:
        self._backoff.reset()
        if not self._reachable:
            self._reachable = True
            log.info("sink takes messages again", sink=self.name, waiting=self.waiting())

    def _keep(self, err: SinkUnreachable) -> None:
        self._pausing = True
        self._stirred.set()
        if self._reachable:
            self._reachable = False
            log.warning("sink cannot be reached, messages are kept", sink=self.name, why=err.message)

    def _reject(self, lane: Lane, spooled: Spooled, err: PublishError) -> None:
        self._set_aside(lane, spooled, "rejected", err.message)
        self._note_reachable()
        folded = self._fold.seen(err.message, self._clock.monotonic_ns())
        if folded is not None:
            log.error(
                "sink refused a message, which is set aside",
                sink=self.name,
                id=spooled.message.id,
                why=err.message,
                and_before=folded,
            )

    def _set_aside(self, lane: Lane, spooled: Spooled, reason: str, why: str) -> None:
        """Make a dead letter of it; of what only memory holds nothing is left but the count."""
        self._counters.drop("publish", reason, self.name)
        if spooled.seq is None:
            self._dropped += 1
        else:
            self._dead_lettered += 1
        self._leave(lane, spooled, why)

    def _make_room_in_memory(self) -> None:
        """Of what could not be stored, drop the oldest beyond a bound; what is under way stays."""
        if self._in_memory < MAX_NOT_DURABLE:
            return
        for lane in self._lanes.values():
            if lane.drop_oldest_in_memory():
                self._in_memory -= 1
                self._count_drop("not_durable_full", 1)
                return

    def _count_drop(self, reason: str, amount: int) -> None:
        self._dropped += amount
        self._counters.drop("publish", reason, self.name, amount)
