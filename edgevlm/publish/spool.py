"""Keeps every accepted answer on disk until each of its sinks has confirmed it.

Invariants:
- Accepted means committed: `put` returns when the transaction is on the disk (SQLite, WAL, synchronous=FULL).
- A delivery leaves by one of three ends, each counted: confirmed, dropped by a bound (oldest first), dropped
  by hand. What a sink refuses for good stays as a dead letter, with the error.
- A confirmation that was not yet written when the power went causes a repetition, never a loss.
- One thread and one connection write. What gathers while a transaction is being written goes into the next;
  confirmations alone wait up to 50 ms for company, since losing one costs a repetition only.
- The room is taken beforehand, so that on a disk filled by others accepting goes on up to the quota.
- When nothing can be stored (disk full beyond that, read-only, broken), answers go straight to the sinks,
  marked `durable: false`; it is tried every few seconds whether storing works again.
- A file that is damaged is set aside, and a new one is begun: never a crash loop over it.

The spool's own thread is the only one that touches the files (`spool_store`); everything here belongs to the
event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from edgevlm.errors import StateError
from edgevlm.publish.sink import Message
from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_file import SpoolTrouble
from edgevlm.publish.spool_row import Spooled
from edgevlm.publish.spool_store import (
    Opened,
    Outcome,
    Place,
    Put,
    Settled,
    SpoolLimits,
    SpoolStore,
)
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock, wait_for
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.fold import Fold

log = structlog.get_logger()

T = TypeVar("T")

TICK_SECS = 5.0
"""How often the writer shows that it lives, and tries whether storing works again."""
_SWEEP_SECS = 3600.0
_MAX_PUTS = 64
_MAX_SETTLED = 512
_MAX_OWED = 100_000
_GATHER_SECS = 0.05
_GATHER_SETTLED = 64


class Receiver(Protocol):
    """A courier, as the spool sees it."""

    name: str

    def accept_nowait(self, spooled: Spooled) -> None:
        """Take note of a message that was just accepted."""

    def forget(self, gone: set[int]) -> None:
        """Let go of messages that were dropped."""

    def refresh(self) -> None:
        """Read anew what waits."""


@dataclass(frozen=True, slots=True)
class SpoolStatistics:
    """What the spool holds."""

    durable: bool
    trouble: str | None
    waiting: int
    dead_letters: int
    not_durable: int
    """Accepted since the start while nothing could be stored."""


class Spool:
    """The queue between accepting an answer and its delivery; call `open` first and `close` last."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        counters: Counters,
        limits: SpoolLimits | None = None,
        age: Age | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.beat = beat
        """Called while the writer makes progress; for the watchdog."""
        self.on_trouble: Callable[[str | None], None] | None = None
        """Told why nothing can be stored, and None when it works again."""
        self._store = SpoolStore(directory, limits or SpoolLimits(), age or Age(clock))
        self._clock = clock
        self._counters = counters
        self._fold = Fold(first_secs=60.0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgevlm.spool")
        self._receivers: dict[str, Receiver] = {}
        self._puts: list[tuple[Put, asyncio.Future[Spooled]]] = []
        self._settled: list[Settled] = []
        self._calls: list[tuple[Callable[[], object], asyncio.Future[object]]] = []
        self._wake = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._pumping: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._next_try_ns = 0
        self._retry = Backoff(first_secs=0.05, cap_secs=TICK_SECS)
        self._waiting: Counter[Place] = Counter()
        self._dead: Counter[str] = Counter()
        self._not_durable = 0
        self._next_sweep_ns = 0

    # --- life -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file and begin to write.

        Raises:
            StateError: a newer edgevlm wrote the file.

        """
        try:
            self._tell_opened(await self._in_thread(self._store.open))
        except SpoolTrouble as err:
            self._enter_trouble(str(err))
        except StateError:
            self._thread.shutdown(wait=False)
            raise
        self._pumping = asyncio.create_task(self._pump(), name="edgevlm.spool")

    async def close(self) -> None:
        """Write what is still to be written, and close the file."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.wait({self._pumping})
        await self._work()
        await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)
        if self._settled:
            log.warning("confirmations could not be written: repetitions follow", messages=len(self._settled))

    def join(self, receiver: Receiver) -> None:
        """Hand what is accepted for the sink `receiver.name` to `receiver`."""
        self._receivers[receiver.name] = receiver

    # --- in and out -------------------------------------------------------------------------------------

    async def put(self, message: Message, sinks: Iterable[str], *, keep_evidence: bool = False) -> Spooled:
        """Accept `message` for all of `sinks` at once: on the disk when this returns.

        The couriers of the sinks have it then. Where nothing can be stored they get it all the same, with
        `durable: false` in its document and `seq` None.
        """
        if not (names := tuple(sinks)):
            return Spooled(replace(message, evidence=()), None)
        future: asyncio.Future[Spooled] = asyncio.get_running_loop().create_future()
        self._puts.append((Put(message, names, keep_evidence), future))
        self._begin_work()
        return await future

    def settle(self, sink: str, camera: str, seq: int, error: str | None = None) -> None:
        """End a delivery: confirmed, or with `error` refused for good and kept as a dead letter."""
        self._waiting[sink, camera] = max(0, self._waiting[sink, camera] - 1)
        self._dead[sink] += error is not None
        self._settled.append(Settled(sink, camera, seq, error))
        self._idle.clear()
        if len(self._settled) >= _GATHER_SETTLED:
            self._wake.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER_SECS, self._wake.set)

    def take(self, seq: int) -> bool:
        """Return whether a message still waits, and keep it from being dropped until `release`."""
        return self._store.leases.take(seq)

    def release(self, seq: int) -> None:
        """End what `take` began."""
        self._store.leases.release(seq)

    async def page(self, sink: str, camera: str, after_seq: int, limit: int) -> tuple[list[Spooled], bool]:
        """Return the oldest that wait after `after_seq`, and whether there are more; waits out a trouble."""
        return await self._call(lambda: self._store.page(sink, camera, after_seq, limit))

    def lanes(self, sink: str) -> dict[str, int]:
        """Return how many messages wait for `sink`, camera by camera."""
        return {camera: count for (name, camera), count in self._waiting.items() if name == sink and count}

    def waiting(self, sink: str) -> int:
        """Return how many messages wait on disk for `sink`, those under way included."""
        return sum(self.lanes(sink).values())

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot."""
        return SpoolStatistics(
            durable=self._trouble is None,
            trouble=self._trouble,
            waiting=sum(self._waiting.values()),
            dead_letters=sum(self._dead.values()),
            not_durable=self._not_durable,
        )

    async def wait_idle(self) -> None:
        """Wait until everything that was asked for is written."""
        self._wake.set()
        await self._idle.wait()

    # --- by hand ----------------------------------------------------------------------------------------

    async def by_hand(self, work: Callable[[SpoolStore], T]) -> T:
        """Let an operator's `work` see or change the rows; counts and couriers follow.

        Raises:
            SpoolTrouble: nothing can be read or stored now.

        """
        if self._trouble is not None:
            raise SpoolTrouble(f"the spool cannot be used now: {self._trouble}")
        done = await self._call(lambda: (work(self._store), self._store.counts()))
        result, (waiting, dead) = done
        self._waiting, self._dead = Counter(waiting), Counter(dead)
        self._begin_again()
        return result

    def _begin_again(self) -> None:
        """Let the couriers read anew, knowing what is not yet written."""
        for settled in self._settled:
            place = settled.sink, settled.camera
            self._waiting[place] = max(0, self._waiting[place] - 1)
        for receiver in self._receivers.values():
            receiver.refresh()

    # --- the writer -------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            await wait_for(self._wake, TICK_SECS, self._clock)
            self._wake.clear()
            try:
                await self._work()
                await self._sweep()
            except Exception:
                # The end of what an asyncio task can know: waiters are told below, the next round goes on.
                log.exception("the spool's writer failed")
                self._fail_waiters()
            self.beat()

    async def _work(self) -> None:
        """Write and read until nothing is left to do, or nothing can be done."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._trouble is not None and not await self._is_over():
            self._go_straight()
            return
        while self._trouble is None and (self._puts or self._settled or self._calls):
            await self._write()
            await self._answer_calls()
            self.beat()
        if self._trouble is None and not (self._puts or self._settled or self._calls):
            self._idle.set()

    async def _write(self) -> None:
        puts, self._puts = self._puts[:_MAX_PUTS], self._puts[_MAX_PUTS:]
        settled, self._settled = self._settled[:_MAX_SETTLED], self._settled[_MAX_SETTLED:]
        if not puts and not settled:
            return
        try:
            outcome = await self._in_thread(self._store.apply, [put for put, _ in puts], settled)
        except SpoolTrouble as err:
            self._puts[:0] = puts
            self._settled[:0] = settled
            self._enter_trouble(str(err))
            self._go_straight()
        except BaseException:
            self._puts[:0] = puts
            self._settled[:0] = settled
            raise
        else:
            if outcome.set_aside is not None:
                self._tell_set_aside(outcome.set_aside)
                self._waiting.clear()
                self._dead.clear()
                self._begin_again()
            self._hand_out(puts, outcome)
            self._tell(outcome)

    def _hand_out(self, puts: Sequence[tuple[Put, asyncio.Future[Spooled]]], outcome: Outcome) -> None:
        for (put, future), spooled in zip(puts, outcome.spooled, strict=True):
            if spooled.seq is None:
                self._accept_straight(put, future)
                continue
            for sink in put.sinks:
                self._waiting[sink, put.message.camera] += 1
            self._give(put, future, spooled)

    def _give(self, put: Put, future: asyncio.Future[Spooled], spooled: Spooled) -> None:
        for sink in put.sinks:
            if (receiver := self._receivers.get(sink)) is not None:
                receiver.accept_nowait(spooled)
        if not future.done():
            future.set_result(spooled)

    async def _answer_calls(self) -> None:
        calls, self._calls = self._calls, []
        for position, (work, future) in enumerate(calls):
            try:
                result = await self._in_thread(work)
            except SpoolTrouble as err:
                self._calls[:0] = calls[position:]
                self._enter_trouble(str(err))
                return
            if not future.done():
                future.set_result(result)

    async def _sweep(self) -> None:
        """Now and then drop what is too old."""
        if self._trouble is not None or self._clock.monotonic_ns() < self._next_sweep_ns:
            return
        self._next_sweep_ns = self._clock.monotonic_ns() + int(_SWEEP_SECS * 1e9)
        try:
            self._tell(await self._in_thread(self._store.sweep))
        except SpoolTrouble as err:
            self._enter_trouble(str(err))

    def _begin_work(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _call(self, work: Callable[[], T]) -> T:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._calls.append((work, future))
        self._begin_work()
        result: T = await future  # type: ignore[assignment]  # `work` made it
        return result

    def _in_thread(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _fail_waiters(self) -> None:
        """Let nobody wait for ever for what a fault of ours has ended; answers go on without the disk."""
        self._go_straight()
        calls, self._calls = self._calls, []
        for _, future in calls:
            future.cancel()

    # --- trouble ----------------------------------------------------------------------------------------

    def _enter_trouble(self, why: str) -> None:
        self._next_try_ns = self._clock.monotonic_ns() + int(self._retry.next_secs() * 1e9)
        if self._trouble is None:
            self._counters.count("spool_trouble")
            log.critical("answers cannot be stored: they go straight to the sinks, not durable", why=why)
            if self.on_trouble is not None:
                self.on_trouble(why)
        self._trouble = why

    async def _is_over(self) -> bool:
        """Now and then try whether storing works again."""
        if self._clock.monotonic_ns() < self._next_try_ns:
            return False
        try:
            opened = await self._in_thread(self._store.open)
        except StateError as err:
            self._enter_trouble(str(err))
            return False
        self._trouble = None
        self._retry.reset()
        self._tell_opened(opened)
        self._begin_again()
        log.info("answers can be stored again", not_durable=self._not_durable)
        if self.on_trouble is not None:
            self.on_trouble(None)
        return True

    def _go_straight(self) -> None:
        puts, self._puts = self._puts, []
        for put, future in puts:
            self._accept_straight(put, future)
        del self._settled[:-_MAX_OWED]
        if not self._calls:
            self._idle.set()

    def _accept_straight(self, put: Put, future: asyncio.Future[Spooled]) -> None:
        self._not_durable += 1
        self._counters.count("not_durable", f"{put.message.camera}/{put.message.rule}")
        document = {**put.message.document, "durable": False}
        self._give(put, future, Spooled(replace(put.message, document=document, evidence=()), None))

    # --- telling ----------------------------------------------------------------------------------------

    def _tell_opened(self, opened: Opened) -> None:
        self._waiting, self._dead = Counter(opened.waiting), Counter(opened.dead)
        if opened.set_aside is not None:
            self._tell_set_aside(opened.set_aside)
        if opened.migrated_from is not None:
            log.info("the spool has a new schema", old_schema=opened.migrated_from)
        if opened.orphans:
            log.info("removed pictures that no message needs", files=opened.orphans)
        if self._waiting:
            log.info("messages wait from before", messages=self._waiting.total())

    def _tell_set_aside(self, path: Path) -> None:
        self._counters.count("spool_set_aside")
        log.critical("the spool was damaged: it is set aside, and a new one is begun", kept_as=path.name)

    def _tell(self, outcome: Outcome) -> None:
        for (reason, sink, camera), count in outcome.dropped.items():
            self._waiting[sink, camera] -= count
            self._count_drop(reason, sink, count)
        for (reason, sink), count in outcome.dropped_dead.items():
            self._dead[sink] -= count
            self._count_drop(reason, sink, count)
        if outcome.gone:
            for receiver in self._receivers.values():
                receiver.forget(set(outcome.gone))
            self._store.leases.forget(outcome.gone)
        if outcome.pictures_refused:
            self._counters.drop("publish", "evidence_no_room", "spool", outcome.pictures_refused)
            self._say("there is no room for pictures: answers go without", key="evidence")

    def _count_drop(self, reason: str, sink: str, count: int) -> None:
        self._counters.drop("publish", reason, sink, count)
        words = "the spool is full" if reason == "spool_full" else "messages are too old"
        self._say(f"{words}: the oldest are dropped", key=reason, sink=sink)

    def _say(self, event: str, *, key: str, **more: str) -> None:
        folded = self._fold.seen((key, *more.values()), self._clock.monotonic_ns())
        if folded is not None:
            log.error(event, and_before=folded, **more)
