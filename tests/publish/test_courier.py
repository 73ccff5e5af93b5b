"""The courier: order, back-off, drops, windows; the sink does as it is told, the clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.publish.courier import Courier
from edgevlm.publish.sink import Message
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.publish.answers import message

pytestmark = pytest.mark.usefixtures("loop_guard")


class ScriptedSink:
    """Fails as the script says, then takes everything; holds messages back while `gate` is closed."""

    def __init__(self, *script: type[Exception] | None, window: int = 1) -> None:
        self.name = "scripted"
        self.window = window
        self.script = deque(script)
        self.taken: list[Message] = []
        self.under_way: list[str] = []
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def open(self) -> None:
        pass

    async def deliver(self, message: Message) -> None:
        assert message.camera not in self.under_way, "two of one camera at once"
        self.under_way.append(message.camera)
        assert len(self.under_way) <= self.window
        try:
            await self.gate.wait()
            self._obey_script()
            self.taken.append(message)
        finally:
            self.under_way.remove(message.camera)

    async def close(self) -> None:
        self.closed = True

    def seqs(self, camera: str = "dock") -> list[int]:
        return [taken.document["seq"] for taken in self.taken if taken.camera == camera]

    def _obey_script(self) -> None:
        error = self.script.popleft() if self.script else None
        if error is not None and issubclass(error, PublishError):
            raise error("scripted", "as the script says")
        if error is not None:
            raise error


class Rig:
    """A courier that runs."""

    def __init__(self, sink: ScriptedSink, clock: FakeClock, max_messages: int = 1000) -> None:
        self.sink = sink
        self.clock = clock
        self.counters = Counters()
        self.courier = Courier(sink, clock=clock, counters=self.counters, max_messages=max_messages)
        self.running = asyncio.create_task(self.courier.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait({self.running})


@pytest.fixture
async def rigs() -> AsyncIterator[list[Rig]]:
    rigs: list[Rig] = []
    yield rigs
    for rig in rigs:
        await rig.stop()


async def test_messages_arrive_in_order(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(), clock)
    rigs.append(rig)
    for seq in range(20):
        rig.courier.accept_nowait(message(seq))
    assert await rig.courier.drain(5)
    assert rig.sink.seqs() == list(range(20))
    assert rig.counters.total("delivered") == 20


async def test_an_unreachable_sink_is_tried_for_ever_and_nothing_overtakes(
    clock: FakeClock, rigs: list[Rig]
) -> None:
    rig = Rig(ScriptedSink(*[SinkUnreachable] * 30), clock)
    rigs.append(rig)
    with capture_logs() as logs:
        for seq in range(3):
            rig.courier.accept_nowait(message(seq))
        await clock.settle()
        assert rig.courier.statistics().reachable is False
        await clock.advance(30 * 5.0)
    assert rig.sink.seqs() == [0, 1, 2]
    assert [line["event"] for line in logs] == [
        "sink cannot be reached, messages are kept",
        "sink takes messages again",
    ]
    assert rig.counters.dropped() == 0


async def test_pauses_grow_and_begin_anew_after_a_success(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(*[SinkUnreachable] * 4), clock)
    rigs.append(rig)
    rig.courier.accept_nowait(message(1))
    await clock.settle()
    assert len(rig.sink.script) == 3
    await clock.advance(0.5)  # the first pause is half a second at most
    assert len(rig.sink.script) == 2
    await clock.advance(0.2)  # the second one is half a second at least, after a quarter for the first
    assert len(rig.sink.script) == 2
    await clock.advance(20)
    assert rig.sink.seqs() == [1]
    rig.sink.script.append(SinkUnreachable)
    rig.courier.accept_nowait(message(2))
    await clock.settle()
    await clock.advance(0.5)
    assert rig.sink.seqs() == [1, 2]


async def test_a_refused_message_is_dropped_counted_and_said_once(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(None, SinkRejected, SinkRejected, None), clock)
    rigs.append(rig)
    with capture_logs() as logs:
        for seq in range(4):
            rig.courier.accept_nowait(message(seq))
        await rig.courier.drain(5)
    assert rig.sink.seqs() == [0, 3]
    assert rig.counters.statistics()["drops"] == {"publish/rejected": {"scripted": 2}}
    assert [line["event"] for line in logs] == ["sink refused a message, which is dropped"]


async def test_a_fault_in_a_sink_costs_one_message_and_no_more(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(ZeroDivisionError), clock)
    rigs.append(rig)
    with capture_logs() as logs:
        rig.courier.accept_nowait(message(1))
        rig.courier.accept_nowait(message(2))
        await rig.courier.drain(5)
    assert rig.sink.seqs() == [2]
    assert rig.counters.dropped("sink_fault") == 1
    assert logs[0]["exc_info"] is True


async def test_a_full_queue_drops_the_oldest_but_not_what_is_under_way(
    clock: FakeClock, rigs: list[Rig]
) -> None:
    rig = Rig(ScriptedSink(), clock, max_messages=3)
    rigs.append(rig)
    rig.sink.gate.clear()
    rig.courier.accept_nowait(message(0))
    await clock.settle()
    for seq in range(1, 6):
        rig.courier.accept_nowait(message(seq))
    assert rig.courier.statistics().waiting == 3
    assert rig.counters.dropped("queue_full") == 3
    rig.sink.gate.set()
    await rig.courier.drain(5)
    assert rig.sink.seqs() == [0, 4, 5]


async def test_during_a_pause_the_very_oldest_is_dropped(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(SinkUnreachable), clock, max_messages=2)
    rigs.append(rig)
    rig.courier.accept_nowait(message(0))
    await clock.settle()
    rig.courier.accept_nowait(message(1))
    rig.courier.accept_nowait(message(2))
    await clock.advance(5)
    assert rig.sink.seqs() == [1, 2]
    assert rig.counters.dropped("queue_full") == 1


async def test_a_window_serves_cameras_side_by_side(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(window=3), clock)
    rigs.append(rig)
    rig.sink.gate.clear()
    for seq in range(12):
        rig.courier.accept_nowait(message(seq, camera=f"cam{seq % 4}"))
    await clock.settle()
    assert rig.sink.under_way == ["cam0", "cam1", "cam2"]
    rig.sink.gate.set()
    await rig.courier.drain(5)
    for number in range(4):
        assert rig.sink.seqs(f"cam{number}") == [number, number + 4, number + 8]


async def test_draining_gives_up_in_time_and_what_is_left_is_counted(
    clock: FakeClock, rigs: list[Rig]
) -> None:
    rig = Rig(ScriptedSink(), clock)
    rig.sink.gate.clear()
    for seq in range(3):
        rig.courier.accept_nowait(message(seq))
    assert not await rig.courier.drain(0.05)
    await rig.stop()
    with capture_logs() as logs:
        await rig.courier.close()
    assert rig.counters.dropped("lost_at_stop") == 3
    assert (logs[0]["messages"], logs[0]["log_level"]) == (3, "error")
    assert rig.sink.closed


async def test_draining_an_empty_queue_is_done_at_once(clock: FakeClock, rigs: list[Rig]) -> None:
    rig = Rig(ScriptedSink(), clock)
    rigs.append(rig)
    assert await rig.courier.drain(0.01)


OUTCOMES = st.lists(
    st.sampled_from([None, None, SinkUnreachable, SinkRejected, ZeroDivisionError]), max_size=40
)


class NoPause(SystemClock):
    """Does not wait."""

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(min(secs, 0))


@given(
    script=OUTCOMES,
    cameras=st.lists(st.sampled_from("abc"), max_size=25),
    window=st.integers(1, 4),
    max_messages=st.integers(1, 30),
)
def test_every_message_is_delivered_in_its_cameras_order_or_counted(
    script: list[type[Exception] | None], cameras: list[str], window: int, max_messages: int
) -> None:
    async def run() -> None:
        sink = ScriptedSink(*script, window=window)
        counters = Counters()
        courier = Courier(
            sink, clock=NoPause(), counters=counters, max_messages=max_messages, backoff=Backoff(0.001)
        )
        running = asyncio.create_task(courier.run())
        with capture_logs():
            for seq, camera in enumerate(cameras):
                courier.accept_nowait(message(seq, camera=camera))
                if seq % 3 == 0:
                    await asyncio.sleep(0)
            assert await courier.drain(10)
            running.cancel()
            await asyncio.wait({running})
            await courier.close()
        for camera in "abc":
            assert sink.seqs(camera) == sorted(sink.seqs(camera))
        assert len({taken.id for taken in sink.taken}) == len(sink.taken)
        assert len(sink.taken) + counters.dropped() == len(cameras)

    asyncio.run(run())
