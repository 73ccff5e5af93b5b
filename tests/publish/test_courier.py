"""The courier: order, back-off, windows, dead letters; from a real spool to a sink that does as told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.publish.courier import PAGE, Courier
from edgevlm.publish.sink import Message
from edgevlm.publish.spool import Spool
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.publish.answers import message
from tests.publish.spools import open_spool

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
    """A courier that runs, over a real spool."""

    def __init__(self, sink: ScriptedSink, clock: FakeClock, spool: Spool, counters: Counters) -> None:
        self.sink = sink
        self.clock = clock
        self.spool = spool
        self.counters = counters
        self.courier = Courier(sink, spool, clock=clock, counters=counters)
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> Rig:
        await self.courier.open()
        self.running = asyncio.create_task(self.courier.run())
        return self

    async def accept(self, *messages: Message) -> None:
        await asyncio.gather(*(self.spool.put(each, ["scripted"]) for each in messages))

    async def settle(self) -> None:
        """Let the courier and the spool's thread do what they can without the time moving."""
        for _ in range(6):
            await self.clock.settle()
            await self.spool.wait_idle()
        await self.clock.settle()

    async def advance(self, secs: float) -> None:
        await self.settle()
        await self.clock.advance(secs)
        await self.settle()

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait({self.running})
            self.running = None


NewRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
async def new_rig(tmp_path: Path, clock: FakeClock) -> AsyncIterator[NewRig]:
    rigs: list[Rig] = []
    counters = Counters()
    async with open_spool(tmp_path, clock, counters) as spool:

        async def start(sink: ScriptedSink) -> Rig:
            rig = await Rig(sink, clock, spool, counters).start()
            rigs.append(rig)
            return rig

        yield start
        for rig in rigs:
            await rig.stop()


async def test_messages_arrive_in_order(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    await rig.accept(*(message(seq) for seq in range(20)))
    assert await rig.courier.drain(5)
    assert rig.sink.seqs() == list(range(20))
    assert rig.counters.total("delivered") == 20


async def test_a_backlog_longer_than_memory_holds_arrives_in_order_beside_fresh_ones(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(window=2))
    rig.sink.gate.clear()
    await rig.accept(*(message(seq) for seq in range(3 * PAGE)))
    await rig.accept(message(1000), message(1001, camera="yard"))
    await rig.settle()
    rig.sink.gate.set()
    assert await rig.courier.drain(5)
    assert rig.sink.seqs() == [*range(3 * PAGE), 1000]
    assert [taken.camera for taken in rig.sink.taken].index("yard") < 2, "the fresh camera waited"


async def test_cameras_take_turns(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    rig.sink.gate.clear()
    await rig.accept(*(message(seq, camera=camera) for camera in "abc" for seq in range(4)))
    await rig.settle()
    rig.sink.gate.set()
    assert await rig.courier.drain(5)
    assert [taken.camera for taken in rig.sink.taken] == list("abc" * 4)


async def test_an_unreachable_sink_is_tried_for_ever_and_nothing_overtakes(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(*[SinkUnreachable] * 30))
    with capture_logs() as logs:
        await rig.accept(*(message(seq) for seq in range(3)))
        await rig.settle()
        assert rig.courier.statistics().reachable is False
        await rig.advance(30 * 5.0)
    assert rig.sink.seqs() == [0, 1, 2]
    assert [line["event"] for line in logs] == [
        "sink cannot be reached, messages are kept",
        "sink takes messages again",
    ]
    assert rig.counters.dropped() == 0
    assert rig.courier.statistics().repeated == 30


async def test_pauses_grow_and_begin_anew_after_a_success(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(*[SinkUnreachable] * 4))
    await rig.accept(message(1))
    await rig.settle()
    assert len(rig.sink.script) == 3
    await rig.advance(0.5)  # the first pause is half a second at most
    assert len(rig.sink.script) == 2
    await rig.advance(0.2)  # the second one is half a second at least, after a quarter for the first
    assert len(rig.sink.script) == 2
    await rig.advance(20)
    assert rig.sink.seqs() == [1]
    rig.sink.script.append(SinkUnreachable)
    await rig.accept(message(2))
    await rig.settle()
    await rig.advance(0.5)
    assert rig.sink.seqs() == [1, 2]


async def test_an_unreachable_sink_is_tried_with_one_message_at_a_time(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(SinkUnreachable, window=3))
    rig.sink.gate.clear()
    await rig.accept(*(message(number, camera=f"cam{number}") for number in range(3)))
    await rig.settle()
    assert len(rig.sink.under_way) == 3
    rig.sink.script.extend([SinkUnreachable] * 2)
    rig.sink.gate.set()
    await rig.settle()
    rig.sink.gate.clear()
    await rig.advance(0.5)
    assert len(rig.sink.under_way) == 1
    rig.sink.gate.set()
    assert await rig.courier.drain(5)


async def test_a_refused_message_becomes_a_dead_letter_with_its_error(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(None, SinkRejected, SinkRejected, None))
    with capture_logs() as logs:
        await rig.accept(*(message(seq) for seq in range(4)))
        await rig.courier.drain(5)
    assert rig.sink.seqs() == [0, 3]
    assert rig.counters.statistics()["drops"] == {"publish/rejected": {"scripted": 2}}
    assert [line["event"] for line in logs] == ["sink refused a message, which is set aside"]
    letters = await rig.spool.by_hand(lambda store: store.dead_letters())
    assert [(letter["id"][-1], letter["error"]) for letter in letters] == [
        ("2", "as the script says"),
        ("1", "as the script says"),
    ]


async def test_a_retried_dead_letter_is_delivered(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(None, SinkRejected, SinkRejected, None))
    with capture_logs():
        await rig.accept(*(message(seq) for seq in range(4)))
        await rig.courier.drain(5)
    assert await rig.spool.by_hand(lambda store: store.revive("scripted", message(1).id)) == 1
    assert await rig.courier.drain(5)
    assert rig.sink.seqs() == [0, 3, 1]
    assert rig.spool.statistics().dead_letters == 1


async def test_a_fault_in_a_sink_sets_one_message_aside_and_no_more(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(ZeroDivisionError))
    with capture_logs() as logs:
        await rig.accept(message(1), message(2))
        await rig.courier.drain(5)
    assert rig.sink.seqs() == [2]
    assert rig.counters.dropped("sink_fault") == 1
    assert logs[0]["exc_info"] is True
    (letter,) = await rig.spool.by_hand(lambda store: store.dead_letters())
    assert "ZeroDivisionError" in letter["error"]


async def test_a_full_spool_drops_the_oldest_but_not_what_is_under_way(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    rig.sink.gate.clear()
    with capture_logs() as logs:
        for seq in range(0, 400, 20):
            await rig.accept(*(message(number, raw="x" * 6000) for number in range(seq, seq + 20)))
            await rig.settle()
    dropped = rig.counters.dropped("spool_full")
    assert rig.courier.statistics().waiting == 400 - dropped
    assert [line["event"] for line in logs] == ["the spool is full: the oldest are dropped"]
    rig.sink.gate.set()
    await rig.courier.drain(10)
    assert rig.sink.seqs() == [0, *range(dropped + 1, 400)]


async def test_of_a_batch_larger_than_the_spool_each_message_has_one_end(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    with capture_logs():
        await rig.accept(*(message(seq, raw="x" * 40_000) for seq in range(60)))
    dropped = rig.counters.dropped("spool_full")
    assert dropped > 10
    assert await rig.courier.drain(10)
    assert rig.sink.seqs() == list(range(dropped, 60))


async def test_a_window_serves_cameras_side_by_side(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(window=3))
    rig.sink.gate.clear()
    await rig.accept(*(message(seq, camera=f"cam{seq % 4}") for seq in range(12)))
    await rig.settle()
    assert rig.sink.under_way == ["cam0", "cam1", "cam2"]
    rig.sink.gate.set()
    await rig.courier.drain(5)
    for number in range(4):
        assert rig.sink.seqs(f"cam{number}") == [number, number + 4, number + 8]


async def test_draining_gives_up_in_time_and_the_rest_waits_for_the_next_start(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    rig.sink.gate.clear()
    await rig.accept(*(message(seq) for seq in range(3)))
    assert not await rig.courier.drain(0.05)
    await rig.stop()
    with capture_logs() as logs:
        await rig.courier.close()
    assert rig.sink.closed
    assert rig.counters.dropped() == 0
    assert (logs[0]["messages"], logs[0]["log_level"]) == (3, "info")
    later = await new_rig(ScriptedSink())
    assert await later.courier.drain(5)
    assert later.sink.seqs() == [0, 1, 2]


async def test_a_stop_does_not_wait_for_a_sink_that_is_away(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink(*[SinkUnreachable] * 1000))
    await rig.accept(message(1))
    async with asyncio.timeout(5):
        assert not await rig.courier.drain(3600, patient=False)
    assert rig.courier.statistics().reachable is False


async def test_draining_nothing_is_done_at_once(new_rig: NewRig) -> None:
    rig = await new_rig(ScriptedSink())
    assert await rig.courier.drain(0.01)


OUTCOMES = st.lists(
    st.sampled_from([None, None, SinkUnreachable, SinkRejected, ZeroDivisionError]), max_size=40
)


class NoPause(SystemClock):
    """Does not wait."""

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(min(secs, 0.001))


@settings(max_examples=30, deadline=None)
@given(
    script=OUTCOMES,
    cameras=st.lists(st.sampled_from("abc"), max_size=60),
    window=st.integers(1, 4),
)
def test_every_message_is_delivered_once_in_its_cameras_order_or_is_a_dead_letter(
    script: list[type[Exception] | None], cameras: list[str], window: int
) -> None:
    async def run(directory: Path) -> None:
        sink = ScriptedSink(*script, window=window)
        counters = Counters()
        async with open_spool(directory, NoPause(), counters) as spool:
            courier = Courier(sink, spool, clock=NoPause(), counters=counters, backoff=Backoff(0.001))
            await courier.open()
            running = asyncio.create_task(courier.run())
            with capture_logs():
                for seq, camera in enumerate(cameras):
                    putting = asyncio.create_task(spool.put(message(seq, camera=camera), ["scripted"]))
                    if seq % 3 == 0:
                        await putting
                await putting if cameras else None
                assert await courier.drain(10)
                running.cancel()
                await asyncio.wait({running})
                await courier.close()
            dead = spool.statistics().dead_letters
        for camera in "abc":
            assert sink.seqs(camera) == sorted(sink.seqs(camera))
        assert len({taken.id for taken in sink.taken}) == len(sink.taken)
        assert len(sink.taken) + dead == len(cameras)

    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))
