"""One side of the delivery benchmark, as a process of its own: spool, courier and MQTT sink; or paho alone.

Prints JSON lines. Modes: `accept` (until killed), `drain`, `latency`, `sustained`, `paho`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.courier import Courier
from edgevlm.publish.mqtt import MqttSink
from edgevlm.publish.result import ResultContext, build_message, encode
from edgevlm.publish.sink import Message
from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_store import SpoolLimits
from edgevlm.records import Answer, ModelUse, Question, Request, Trigger
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters

CAMERAS = 8
AT_ONCE = 64
IN_FLIGHT = 20


def message(seq: int, camera: str | None = None) -> Message:
    """Return an answer like those of a real rule; about 1 KB as JSON."""
    camera = camera or f"cam{seq % CAMERAS}"
    trigger = Trigger(camera, "gate", "interval", "interval", fired_mono_ns=1)
    request = Request(f"r{seq}", camera, "gate", "local", Question("classification"), trigger)
    answer = Answer(
        request,
        "ok",
        ModelUse("local", "openai-compatible", "Qwen/Qwen3-VL-8B-Instruct"),
        asked_at_ns=time.time_ns(),
        answered_at_ns=time.time_ns(),
        value="truck",
        raw='{"class_name": "truck", "confidence": 0.93}',
        prompt_version="classification-1",
    )
    built = build_message(answer, context=ResultContext("bench", "0" * 24), seq=seq)
    return replace(built, evidence=())


class TimedSink:
    """The MQTT sink, noting when each message was confirmed."""

    def __init__(self, sink: MqttSink) -> None:
        self.name = sink.name
        self.window = sink.window
        self.confirmed_ns: dict[str, int] = {}
        self._sink = sink
        self.open, self.close = sink.open, sink.close

    async def deliver(self, message: Message) -> None:
        """Deliver and take the time."""
        await self._sink.deliver(message)
        self.confirmed_ns[message.id] = time.perf_counter_ns()


class Post:
    """A delivering half of the daemon."""

    def __init__(self, directory: Path, port: int) -> None:
        clock, counters = SystemClock(), Counters()
        config = MqttSinkConfig.model_validate({"type": "mqtt", "port": port, "commands": False})
        self.spool = Spool(directory, clock=clock, counters=counters, limits=SpoolLimits())
        self.sink = TimedSink(MqttSink("broker", config, node="bench", clock=clock, counters=counters))
        self.courier = Courier(self.sink, self.spool, clock=clock, counters=counters)
        self.accepted_ns: dict[str, int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Post]:
        """Open everything and deliver meanwhile."""
        await self.spool.open()
        await self.courier.open()
        running = asyncio.create_task(self.courier.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.wait({running})
            await self.courier.close()
            await self.spool.close()

    async def accept(self, each: Message) -> str:
        """Accept one answer, take the time, and return its id."""
        await self.spool.put(each, ["broker"])
        self.accepted_ns[each.id] = time.perf_counter_ns()
        return each.id

    def delays_ms(self, ids: list[str]) -> list[float]:
        """Return how long each took from accepted to confirmed; 0 where the broker was quicker than we."""
        return [max(0, self.sink.confirmed_ns[id_] - self.accepted_ns[id_]) / 1e6 for id_ in ids]


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


async def accept(post: Post, first: int) -> None:
    """Accept answers until killed, telling of each once it is accepted."""
    for start in range(first, first + 1_000_000, IN_FLIGHT):
        ids = await asyncio.gather(*(post.accept(message(seq)) for seq in range(start, start + IN_FLIGHT)))
        _say(accepted=ids, rss_mb=_rss_mb())


async def drain(post: Post, first: int) -> None:
    """Deliver what waits, and meanwhile ten fresh answers a second of another camera."""
    waiting, began, fresh = post.courier.waiting(), time.perf_counter(), 0
    ids: list[str] = []
    while post.courier.waiting() > 5:
        ids.append(await post.accept(message(first + fresh, "fresh")))
        fresh += 1
        await asyncio.sleep(0.1)
    took = time.perf_counter() - began
    await post.courier.drain(60)
    _say(accepted=ids, waiting=waiting, took_secs=took, fresh_ms=post.delays_ms(ids), rss_mb=_rss_mb())


async def latency(post: Post, count: int) -> None:
    """Accept one answer at a time, ten milliseconds apart."""
    await post.accept(message(0))
    await post.courier.drain(10)
    ids = []
    put_ms = []
    for seq in range(1, count + 1):
        began = time.perf_counter_ns()
        ids.append(await post.accept(message(seq)))
        put_ms.append((time.perf_counter_ns() - began) / 1e6)
        await asyncio.sleep(0.01)
    await post.courier.drain(60)
    _say(delays_ms=post.delays_ms(ids), put_ms=put_ms)


async def sustained(post: Post, count: int) -> None:
    """Accept and deliver as fast as it goes."""
    await post.accept(message(0))
    await post.courier.drain(10)
    began = time.perf_counter()
    for start in range(1, count + 1, AT_ONCE):
        await asyncio.gather(
            *(post.accept(message(seq)) for seq in range(start, min(start + AT_ONCE, count + 1)))
        )
    await post.courier.drain(600)
    _say(took_secs=time.perf_counter() - began, rss_mb=_rss_mb())


def paho(port: int, count: int) -> None:
    """Publish the same bytes on the same topics with paho alone: nothing is kept, nothing is sent again."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(IN_FLIGHT * 3)
    client.connect("127.0.0.1", port)
    client.loop_start()
    began = time.perf_counter()
    for seq in range(1, count + 1):
        each = message(seq)
        topic = f"edgevlm/bench/{each.camera}/{each.rule}"
        client.publish(f"{topic}/result", encode(each.document), qos=1)
        client.publish(f"{topic}/state", (each.state or "").encode(), qos=1, retain=True)
        last = client.publish(f"{topic}/value", encode(each.value or {}), qos=1, retain=True)
    last.wait_for_publish(60)
    _say(took_secs=time.perf_counter() - began)
    client.disconnect()
    client.loop_stop()


async def _run(mode: str, directory: Path, port: int, number: int) -> None:
    work = {"accept": accept, "drain": drain, "latency": latency, "sustained": sustained}[mode]
    async with Post(directory, port).running() as post:
        await work(post, number)


def main() -> None:
    """Run one mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["accept", "drain", "latency", "sustained", "paho"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("number", type=int)
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if given.mode == "paho":
        paho(given.port, given.number)
    else:
        asyncio.run(_run(given.mode, given.directory, given.port, given.number))


if __name__ == "__main__":
    main()
