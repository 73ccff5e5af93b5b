"""The MQTT sink and its courier against a real mosquitto (and amqtt, where a broker of old is needed)."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog

from edgevlm.errors import SinkUnreachable
from edgevlm.publish.command import Command
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.courier import Courier
from edgevlm.publish.mqtt import MqttSink
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_link import LinkTiming
from edgevlm.publish.result import build_message, result_schema
from edgevlm.publish.sink import Message, Notice, NoticeBoard, Windowed
from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_store import SpoolLimits
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.section import Secret
from tests.publish.answers import CONTEXT, answer, failed, message, unknown
from tests.publish.spools import SMALL
from tests.servers.broker import Broker, Certificates, NewBroker, Subscriber, free_port

pytestmark = pytest.mark.usefixtures("loop_guard")

SCHEMA = result_schema()

BASE = "edgevlm/gateway-7"
RULE = f"{BASE}/dock/truck-at-bay"
FAST = LinkTiming(first_pause_secs=0.05, longest_pause_secs=0.2, check_secs=0.2)


class LogBook:
    """What was logged, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[MutableMapping[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def __call__(self, _logger: Any, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self.lines.append({**line, "level": level})
        self._loop.call_soon_threadsafe(self._changed.set)
        raise structlog.DropEvent

    def about(self, text: str) -> list[MutableMapping[str, Any]]:
        return [line for line in self.lines if text in line["event"]]

    async def until(self, text: str, timeout_secs: float = 15.0) -> MutableMapping[str, Any]:
        """Return the first line with `text` in its event."""
        try:
            async with asyncio.timeout(timeout_secs):
                while not self.about(text):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"not logged in {timeout_secs} s: {text}; logged: {self.lines[-5:]}"
            ) from None
        return self.about(text)[0]


@pytest.fixture
async def logbook() -> AsyncIterator[LogBook]:
    book = LogBook()
    structlog.configure(processors=[book])
    yield book
    structlog.reset_defaults()


class GatedClock(SystemClock):
    """The machine's clock; it tells of each pause, and lets none end while `gate` is closed."""

    def __init__(self) -> None:
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    async def sleep(self, secs: float) -> None:
        self.pauses.put_nowait(secs)
        await super().sleep(secs)
        await self.gate.wait()


@dataclass
class Post:
    """A sink under test with its courier, running."""

    sink: MqttSink
    courier: Courier
    spool: Spool
    counters: Counters
    commands: asyncio.Queue[Command] = field(default_factory=asyncio.Queue)

    def dropped(self, reason: str) -> int:
        return self.counters.dropped(reason)

    async def delivered(self, *messages: Message) -> None:
        """Accept `messages` and return when the courier has got rid of them."""
        await self.accept(*messages)
        assert await self.courier.drain(15)

    async def accept(self, *messages: Message) -> None:
        """Accept `messages`: they are on the disk."""
        await asyncio.gather(*(self.spool.put(each, [self.sink.name]) for each in messages))


OpenPost = Callable[..., Awaitable[Post]]


@pytest.fixture
async def open_post(logbook: LogBook, tmp_path: Path) -> AsyncIterator[OpenPost]:
    """Opens a sink for a port; it is closed with the test."""
    posts: list[tuple[Post, asyncio.Task[None]]] = []

    async def open_(
        port: int,
        *,
        timing: LinkTiming = FAST,
        clock: SystemClock | None = None,
        node: str = "gateway-7",
        limits: SpoolLimits = SMALL,
        **config: Any,
    ) -> Post:
        counters, clock = Counters(), clock or SystemClock()
        commands: asyncio.Queue[Command] = asyncio.Queue()
        sink = MqttSink(
            "broker",
            MqttSinkConfig.model_validate({"type": "mqtt", "port": port, **config}),
            node=node,
            clock=clock,
            counters=counters,
            on_command=commands.put_nowait,
            timing=timing,
        )
        directory = tmp_path / f"state-{len(posts)}"
        directory.mkdir()
        spool = Spool(directory, clock=SystemClock(), counters=counters, limits=limits)
        await spool.open()
        courier = Courier(sink, spool, clock=clock, counters=counters, backoff=Backoff(0.05, 0.2))
        await courier.open()
        post = Post(sink, courier, spool, counters, commands)
        posts.append((post, asyncio.create_task(courier.run())))
        return post

    yield open_
    for post, running in posts:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await post.courier.close()
        await post.spool.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    threads = [thread for thread in threading.enumerate() if thread.name.endswith(".mqtt")]
    for thread in threads:
        thread.join(1)  # it says that it ends just before it does
    assert not any(thread.is_alive() for thread in threads)


async def connected(post: Post, subscriber: Subscriber) -> Post:
    await subscriber.until_heard(f"{BASE}/status", "online")
    assert post.sink.up
    return post


def results(subscriber: Subscriber) -> list[dict[str, Any]]:
    return [json.loads(heard.payload) for heard in subscriber.heard if heard.topic.endswith("/result")]


# --- topics and payloads ------------------------------------------------------------------------------------


async def test_a_result_comes_with_its_state_and_value(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await open_post(broker.port)
    await post.delivered(message(7))
    value = await subscriber.until_heard(f"{RULE}/value")
    (result,) = subscriber.on(f"{RULE}/result")
    assert not result.retained
    document = json.loads(result.payload)
    jsonschema.validate(document, SCHEMA)
    assert (document["seq"], document["value"], document["labels"]) == (7, "truck", {"site": "north"})
    assert subscriber.on(f"{RULE}/state")[0].text == "truck"
    assert json.loads(value.payload)["id"] == document["id"]
    order = [heard.topic.rpartition("/")[2] for heard in subscriber.heard if heard.topic.startswith(RULE)]
    assert order == ["result", "state", "value"]
    assert isinstance(post.sink, NoticeBoard)
    assert isinstance(post.sink, Windowed)


async def test_an_error_leaves_the_state_alone_and_unknown_is_told(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await open_post(broker.port)
    answers = [answer("truck"), failed(), unknown()]
    await post.delivered(*(build_message(each, context=CONTEXT, seq=n) for n, each in enumerate(answers)))
    await subscriber.until(lambda _: len(results(subscriber)) == 3)
    await subscriber.until_heard(f"{RULE}/state", "unknown")
    assert [document["outcome"] for document in results(subscriber)] == ["ok", "error", "unknown"]
    assert [heard.text for heard in subscriber.on(f"{RULE}/state")] == ["truck", "unknown"]
    for document in results(subscriber):
        jsonschema.validate(document, SCHEMA)


async def test_who_comes_later_finds_what_holds_now(broker: Broker, open_post: OpenPost) -> None:
    post = await open_post(broker.port)
    await post.delivered(message(1), message(2, "van"))
    async with Subscriber(broker.port) as late:
        await late.until_heard(f"{RULE}/value")
        await late.until_heard(f"{BASE}/status")
    assert {heard.topic for heard in late.heard} == {f"{RULE}/state", f"{RULE}/value", f"{BASE}/status"}
    assert late.on(f"{RULE}/state")[0].text == "van"


# --- coming and going ---------------------------------------------------------------------------------------


async def test_a_broker_that_forgot_everything_is_told_again(
    broker: Broker, open_post: OpenPost, logbook: LogBook
) -> None:
    post = await open_post(broker.port)
    await post.delivered(message(1))
    post.sink.post(Notice("dock/status", "online"))
    await asyncio.to_thread(broker.stop)
    await logbook.until("no connection")
    await asyncio.to_thread(broker.start)
    async with Subscriber(broker.port) as late:
        await late.until_heard(f"{RULE}/state", "truck")
        await late.until_heard(f"{RULE}/value")
        await late.until_heard(f"{BASE}/dock/status", "online")
        await late.until_heard(f"{BASE}/status", "online")
        assert late.on(f"{RULE}/result") == []


async def test_the_will_says_offline_when_the_connection_dies(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    session = post.sink._link._session
    assert session is not None
    session.kill(Cause("lost", "cable cut"))
    await subscriber.until(lambda _: len(subscriber.on(f"{BASE}/status")) >= 3)
    assert [heard.text for heard in subscriber.on(f"{BASE}/status")] == ["online", "offline", "online"]


async def test_a_clean_stop_says_offline_and_ends_the_thread(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    await post.sink.close()
    offline = await subscriber.until_heard(f"{BASE}/status", "offline")
    assert offline.retained
    assert not post.sink.up


async def test_an_absent_broker_is_no_error_and_nothing_is_lost(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker()
    await asyncio.to_thread(broker.stop)
    clock = GatedClock()
    post = await open_post(broker.port, clock=clock, limits=SpoolLimits(max_bytes=8_000_000))
    clock.gate.clear()
    await post.accept(*(message(seq, camera=f"cam{seq % 3}") for seq in range(1200)))
    line = await logbook.until("no connection")
    assert "connection refused" in line["why"]
    await asyncio.to_thread(broker.start)
    async with Subscriber(broker.port) as subscriber:
        clock.gate.set()
        await subscriber.until(lambda _: len(subscriber.heard) >= 3 * 1200, timeout_secs=30)
        assert await post.courier.drain(15)
    assert post.courier.statistics().delivered == 1200
    for camera in ("cam0", "cam1", "cam2"):
        seqs = [document["seq"] for document in results(subscriber) if document["camera"] == camera]
        assert seqs == sorted(seqs)
    assert len({document["id"] for document in results(subscriber)}) == 1200


async def test_a_restart_in_full_flow_loses_nothing(broker: Broker, open_post: OpenPost) -> None:
    post = await open_post(broker.port)
    got: list[int] = []
    await post.accept(*(message(seq, camera=f"cam{seq % 4}") for seq in range(400)))
    async with Subscriber(broker.port) as first:
        await first.until(lambda _: len(results(first)) >= 20)
        await asyncio.to_thread(broker.stop)
        got += [document["seq"] for document in results(first)]
    await asyncio.to_thread(broker.start)
    assert await post.courier.drain(15)
    # What nobody heard (sent to the broker before there was a subscriber) was confirmed all the same.
    counted = post.courier.statistics()
    assert (counted.accepted, counted.delivered, counted.dropped) == (400, 400, 0)
    assert len(got) >= 20


async def test_a_full_spool_drops_the_oldest_and_counts_exactly(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker()
    await asyncio.to_thread(broker.stop)
    clock = GatedClock()
    post = await open_post(broker.port, clock=clock)
    clock.gate.clear()
    for start in range(0, 200, 20):
        await post.accept(*(message(seq, raw="x" * 8000) for seq in range(start, start + 20)))
    dropped = post.dropped("spool_full")
    assert 0 < dropped < 200
    await logbook.until("no connection")
    await asyncio.to_thread(broker.start)
    async with Subscriber(broker.port) as subscriber:
        clock.gate.set()
        await subscriber.until(lambda _: len(results(subscriber)) >= 200 - dropped)
    assert [document["seq"] for document in results(subscriber)] == list(range(dropped, 200))


async def test_a_frozen_broker_is_given_up_and_found_again(
    broker: Broker, open_post: OpenPost, logbook: LogBook
) -> None:
    timing = LinkTiming(0.05, 0.2, check_secs=0.1, connect_secs=0.5, stuck_secs=0.5)
    post = await open_post(broker.port, timing=timing)
    await post.delivered(message(1))
    broker.freeze()
    await post.accept(message(2))
    line = await logbook.until("no connection")
    assert "confirmed nothing" in line["why"]
    assert post.courier.statistics().delivered == 1
    broker.thaw()
    assert await post.courier.drain(15)
    assert post.courier.statistics().delivered == 2


async def test_a_dead_network_thread_is_replaced(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost, logbook: LogBook
) -> None:
    post = await connected(await open_post(broker.port), subscriber)

    def boom(timeout: float) -> int:
        raise AttributeError(timeout)

    session = post.sink._link._session
    assert session is not None
    assert session._network is not None
    session._network._client.loop = boom  # type: ignore[method-assign,assignment]  # breaks the thread
    line = await logbook.until("no connection")
    assert "AttributeError" in line["why"]
    await post.delivered(message(1))
    await subscriber.until_heard(f"{RULE}/value")


async def test_two_boxes_with_one_client_id_are_told_apart_from_bad_luck(
    broker: Broker, open_post: OpenPost, logbook: LogBook
) -> None:
    timing = LinkTiming(0.01, 0.02, check_secs=0.1, suspected_pause_secs=600)
    await open_post(broker.port, timing=timing, client_id="twin")
    await open_post(broker.port, timing=timing, client_id="twin")
    line = await logbook.until("its own client_id")
    assert (line["client_id"], line["level"]) == ("twin", "error")
    # One of the two has stepped back; the other keeps its connection, and the log was spared.
    assert len(logbook.about("connected to the broker")) == 2
    assert len(logbook.about("no connection")) <= 2


# --- what a broker refuses ----------------------------------------------------------------------------------


async def test_a_message_that_the_access_list_denies_is_not_delivered(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker(acl=f"topic write {BASE}/status\ntopic write {BASE}/gate/#\n")
    post = await open_post(broker.port)
    await post.delivered(message(1, camera="dock"), message(2, camera="gate"), message(3, camera="dock"))
    counted = post.courier.statistics()
    assert (counted.delivered, post.dropped("rejected")) == (1, 2)
    lines = logbook.about("refused a message")
    assert len(lines) == 1  # folded
    assert "not authorised" in lines[0]["why"]
    assert f"{BASE}/dock/truck-at-bay/result" in lines[0]["why"]


async def test_what_is_too_large_is_refused_before_it_is_sent(
    new_broker: NewBroker, open_post: OpenPost
) -> None:
    broker = new_broker("max_packet_size 4000")
    post = await open_post(broker.port)
    async with Subscriber(broker.port) as subscriber:
        await connected(post, subscriber)
        large = build_message(answer("truck", raw="x" * 5000), context=CONTEXT, seq=1)
        await post.delivered(large, message(2, "van"))
        await subscriber.until_heard(f"{RULE}/state", "van")
        assert [document["seq"] for document in results(subscriber)] == [2]
        assert [heard.text for heard in subscriber.on(f"{RULE}/state")] == ["van"]  # all or nothing
        assert [heard.text for heard in subscriber.on(f"{BASE}/status")] == ["online"]
    assert post.dropped("rejected") == 1


async def test_a_broker_that_hangs_up_on_a_message_is_not_sent_it_for_ever(
    new_broker: NewBroker, open_post: OpenPost
) -> None:
    broker = new_broker("max_packet_size 4000")
    timing = LinkTiming(0.01, 0.02, check_secs=0.1, takeovers=100, poison_after=3)
    post = await open_post(broker.port, timing=timing, protocol="3.1.1")  # which announces no limit
    large = build_message(answer("truck", raw="x" * 5000), context=CONTEXT, seq=1)
    await post.delivered(message(0), large, message(2, "van"))
    counted = post.courier.statistics()
    assert (counted.delivered, post.dropped("rejected")) == (2, 1)


async def test_a_message_takes_no_longer_than_it_must(broker: Broker, open_post: OpenPost) -> None:
    """TCP's own patience, on the broker's side, would let each message wait for up to 40 ms."""
    post, clock = await open_post(broker.port), SystemClock()
    await post.delivered(message(0))
    begun_ns = clock.monotonic_ns()
    await post.delivered(*(message(seq) for seq in range(1, 201)))
    assert (clock.monotonic_ns() - begun_ns) / 200 < 5e6


async def test_a_wrong_password_is_named_once(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker("allow_anonymous false", password=("box", "right"))
    clock = GatedClock()
    post = await open_post(broker.port, clock=clock, username="box", password=Secret("wr0ng-c4nary"))
    line = await logbook.until("no connection")
    assert (line["why"], line["level"]) == (
        "not authorised: the broker does not let this login in",
        "error",
    )
    with pytest.raises(SinkUnreachable, match="not authorised"):
        await post.sink.deliver(message(1))
    for _ in range(4):
        await asyncio.wait_for(clock.pauses.get(), 10)
    assert len(logbook.about("no connection")) == 1
    assert "wr0ng-c4nary" not in repr(logbook.lines)


async def test_the_right_password_is_let_in(new_broker: NewBroker, open_post: OpenPost) -> None:
    broker = new_broker("allow_anonymous false", password=("box", "right"))
    post = await open_post(broker.port, username="box", password=Secret("right"))
    await post.delivered(message(1))


async def test_a_name_that_nobody_knows_is_named(open_post: OpenPost, logbook: LogBook) -> None:
    await open_post(free_port(), host="broker.invalid")
    assert "broker.invalid cannot be resolved" in (await logbook.until("no connection"))["why"]


# --- TLS ----------------------------------------------------------------------------------------------------


def tls_options(pair: tuple[str, str], *more: str) -> tuple[str, ...]:
    return (f"certfile {pair[0]}", f"keyfile {pair[1]}", *more)


async def test_tls_with_our_own_authority(
    new_broker: NewBroker, certificates: Certificates, open_post: OpenPost
) -> None:
    broker = new_broker(*tls_options(certificates.server))
    post = await open_post(broker.port, tls={"ca_file": certificates.ca})
    await post.delivered(*(message(seq) for seq in range(30)))
    async with Subscriber(broker.port, ca_file=certificates.ca) as subscriber:
        await subscriber.until_heard(f"{RULE}/state", "truck")


@pytest.mark.parametrize(
    ("certificate", "authority", "why"),
    [
        ("expired", "ca", "has expired"),
        ("wrong_host", "ca", "is for another"),
        ("server", "other_ca", "unknown authority"),
        ("server", None, "unknown authority"),
    ],
)
async def test_a_bad_certificate_is_named(
    new_broker: NewBroker,
    certificates: Certificates,
    open_post: OpenPost,
    logbook: LogBook,
    certificate: str,
    authority: str | None,
    why: str,
) -> None:
    broker = new_broker(*tls_options(getattr(certificates, certificate)))
    ca_file = getattr(certificates, authority) if authority else None
    post = await open_post(broker.port, tls={"ca_file": ca_file})
    assert why in (await logbook.until("no connection"))["why"]
    assert not post.sink.up


async def test_a_renewed_certificate_is_accepted_without_a_restart(
    new_broker: NewBroker,
    certificates: Certificates,
    open_post: OpenPost,
    logbook: LogBook,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    served = tmp_path_factory.mktemp("served")
    pair = (str(served / "crt"), str(served / "key"))
    for source, target in zip(certificates.expired, pair, strict=True):
        shutil.copy(source, target)
    broker = new_broker(*tls_options(pair))
    post = await open_post(broker.port, tls={"ca_file": certificates.ca})
    await logbook.until("no connection")
    await asyncio.to_thread(broker.stop)
    for source, target in zip(certificates.server, pair, strict=True):
        shutil.copy(source, target)
    await asyncio.to_thread(broker.start)
    await post.delivered(message(1))


async def test_a_broker_that_wants_our_certificate(
    new_broker: NewBroker, certificates: Certificates, open_post: OpenPost, logbook: LogBook
) -> None:
    options = (f"cafile {certificates.ca}", "require_certificate true")
    broker = new_broker(*tls_options(certificates.server, *options))
    await open_post(broker.port, tls={"ca_file": certificates.ca})
    assert "wants a certificate of ours" in (await logbook.until("no connection"))["why"]
    certificate, key = certificates.client
    tls = {"ca_file": certificates.ca, "cert_file": certificate, "key_file": key}
    post = await open_post(broker.port, node="other", tls=tls)
    await post.delivered(message(1))


async def test_tls_without_verification_works_where_it_is_asked_for(
    new_broker: NewBroker, certificates: Certificates, open_post: OpenPost
) -> None:
    broker = new_broker(*tls_options(certificates.expired))
    post = await open_post(broker.port, tls={"verify": False})
    await post.delivered(message(1))


async def test_tls_and_no_tls_do_not_meet(
    new_broker: NewBroker, certificates: Certificates, open_post: OpenPost, logbook: LogBook
) -> None:
    await open_post(new_broker().port, tls={"ca_file": certificates.ca})
    assert "does it speak TLS?" in (await logbook.until("no connection"))["why"]
    logbook.lines.clear()
    await open_post(new_broker(*tls_options(certificates.server)).port, node="other")
    assert "does it want TLS?" in (await logbook.until("no connection"))["why"]


# --- a broker of old ----------------------------------------------------------------------------------------


async def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1(
    open_post: OpenPost, logbook: LogBook
) -> None:
    amqtt = pytest.importorskip("amqtt.broker", reason="the demo's broker is not installed")
    port = free_port()
    anyone = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
    old = amqtt.Broker({"listeners": listeners, "plugins": anyone})
    await old.start()
    try:
        # amqtt does not refuse a CONNECT of version 5 that has a will: it waits for more of it.
        post = await open_post(port, timing=LinkTiming(0.05, 0.2, check_secs=0.1, connect_secs=0.3))
        await post.delivered(message(1), message(2))
        assert post.sink._link.version == "3.1.1"
        assert len(logbook.about("does not speak MQTT 5")) == 1
        await post.sink.close()
    finally:
        await old.shutdown()


async def test_a_broker_that_says_no_to_mqtt_5_is_believed(open_post: OpenPost, logbook: LogBook) -> None:
    levels = []

    async def old_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(200)
        levels.append(connect[8])  # after the fixed header's two bytes and "MQTT" with its length
        writer.write(b"\x20\x02\x00\x01" if connect[8] == 5 else b"\x20\x02\x00\x00")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(old_broker, "127.0.0.1", 0)
    post = await open_post(server.sockets[0].getsockname()[1])
    await logbook.until("does not speak MQTT 5")
    assert (levels, post.sink.up) == ([5, 4], True)
    assert logbook.about("no connection") == []
    await post.sink.close()
    server.close()


async def test_mqtt_3_1_1_by_choice_warns_of_nothing(
    broker: Broker, open_post: OpenPost, logbook: LogBook
) -> None:
    post = await open_post(broker.port, protocol="3.1.1")
    await post.delivered(message(1))
    async with Subscriber(broker.port) as subscriber:
        await subscriber.send(f"{BASE}/cmd/dock/plate/ask")
        command = await asyncio.wait_for(post.commands.get(), 10)
    assert (command.kind, command.reply) == ("ask", None)
    assert logbook.about("does not speak MQTT 5") == []


# --- notices ------------------------------------------------------------------------------------------------


async def test_notices_that_nobody_would_see_are_counted(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker()
    await asyncio.to_thread(broker.stop)
    post = await open_post(broker.port)
    post.sink.post(Notice("stats", "{}", retained=False))
    post.sink.post(Notice("info", '{"version": "1"}'))
    post.sink.post(Notice("../#", "never"))
    assert (post.dropped("notice_offline"), post.dropped("notice_rejected")) == (1, 1)
    await asyncio.to_thread(broker.start)
    async with Subscriber(broker.port) as subscriber:
        await subscriber.until_heard(f"{BASE}/info", '{"version": "1"}')
        post.sink.post(Notice("stats", '{"n": 1}', retained=False))
        stats = await subscriber.until_heard(f"{BASE}/stats")
    assert not stats.retained
    assert [heard.text for heard in subscriber.on(f"{BASE}/stats")] == ['{"n": 1}']


async def test_an_empty_retained_notice_removes_the_topic_for_good(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    post.sink.post(Notice("dock/status", "online"))
    post.sink.post(Notice("dock/status", ""))
    await subscriber.until_heard(f"{BASE}/dock/status", "")
    assert f"{BASE}/dock/status" not in post.sink._board
    async with Subscriber(broker.port, topics=(f"{BASE}/#",)) as late:
        await late.until_heard(f"{BASE}/status")
        assert late.on(f"{BASE}/dock/status") == []


# --- commands -----------------------------------------------------------------------------------------------


async def test_commands_come_in_and_are_answered(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    await subscriber.send(
        f"{BASE}/cmd/dock/plate/ask",
        '{"prompt": "Is it a van?", "request_id": "r-1"}',
        response_topic="panel/answers",
        correlation=b"\x01\x02",
    )
    await subscriber.send(f"{BASE}/cmd/dock/plate/enable", "false")
    await subscriber.send(f"{BASE}/cmd/dock/enable", "true")
    await subscriber.send(f"{BASE}/cmd/dock/plate/interval", "2.5")
    ask, enable_rule, enable_camera, interval = [
        await asyncio.wait_for(post.commands.get(), 10) for _ in range(4)
    ]
    assert ask == Command("ask", "dock", "plate", prompt="Is it a van?", request_id="r-1")
    assert enable_rule == Command("enable_rule", "dock", "plate", enabled=False)
    assert enable_camera == Command("enable_camera", "dock", enabled=True)
    assert interval == Command("interval", "dock", "plate", every_secs=2.5)
    assert enable_rule.reply is None
    assert ask.reply is not None
    ask.reply({"ok": True, "odd": float("nan")})
    reply = await subscriber.until_heard("panel/answers")
    assert (json.loads(reply.payload), reply.correlation) == ({"ok": True, "odd": None}, b"\x01\x02")


async def test_retained_commands_are_ignored(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost, logbook: LogBook
) -> None:
    await subscriber.send(f"{BASE}/cmd/dock/enable", "false", retained=True)
    post = await connected(await open_post(broker.port), subscriber)
    line = await logbook.until("command was refused")
    assert "retained" in line["why"]
    await subscriber.send(f"{BASE}/cmd/dock/enable", "false", retained=True)  # and so is one that comes now
    await subscriber.send(f"{BASE}/cmd/dock/enable", "true")
    command = await asyncio.wait_for(post.commands.get(), 10)
    assert command.enabled is True
    assert post.commands.empty()
    assert post.dropped("command_refused") == 2


@pytest.mark.parametrize(
    ("path", "payload", "why"),
    [
        ("dock/plate/ask", "{not json", "neither empty nor JSON"),
        ("dock/plate/ask", "x" * 5000, "at most 4096"),
        ("dock/plate/open", "", "no such command"),
    ],
)
async def test_what_is_no_command_is_answered_with_why(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost, path: str, payload: str, why: str
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    await subscriber.send(f"{BASE}/cmd/{path}", payload, response_topic="panel/answers", correlation=b"7")
    reply = await subscriber.until_heard("panel/answers")
    document = json.loads(reply.payload)
    assert document["ok"] is False
    assert why in document["error"]
    assert reply.correlation == b"7"
    assert post.commands.empty()


async def test_nobody_can_make_us_forge_results(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port), subscriber)
    await subscriber.send(f"{BASE}/cmd/dock/plate/ask", response_topic=f"{RULE}/result")
    command = await asyncio.wait_for(post.commands.get(), 10)
    assert command.reply is None


async def test_without_commands_nothing_is_subscribed(
    broker: Broker, subscriber: Subscriber, open_post: OpenPost
) -> None:
    post = await connected(await open_post(broker.port, commands=False), subscriber)
    await subscriber.send(f"{BASE}/cmd/dock/enable", "true")
    await post.delivered(message(1))  # a round trip later, still
    assert post.commands.empty()


async def test_a_subscription_that_the_broker_denies_is_said(
    new_broker: NewBroker, open_post: OpenPost, logbook: LogBook
) -> None:
    broker = new_broker("allow_anonymous true", acl="topic write edgevlm/#\n")
    post = await open_post(broker.port)
    await post.delivered(message(1))
    if logbook.about("does not let us subscribe"):
        return
    # mosquitto 2.0 grants the subscription and then passes nothing on; nothing can be told from that.
    async with Subscriber(broker.port) as subscriber:
        await subscriber.send(f"{BASE}/cmd/dock/enable", "true")
    assert post.commands.empty()
