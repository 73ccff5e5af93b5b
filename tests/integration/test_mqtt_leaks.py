"""What a lost connection leaves behind: nothing, and that at once.

Without the guard of the event loop, whose own frames keep things alive that would be gone.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt import MqttSink
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_link import LinkTiming
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.servers.broker import Broker, Subscriber

STATUS = "edgevlm/gateway-7/status"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be freed by chance: a collection may be hours away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a path object would open more of them


async def test_connections_leave_nothing_behind(
    broker: Broker, subscriber: Subscriber, no_collector: None
) -> None:
    sink = MqttSink(
        "broker",
        MqttSinkConfig(type="mqtt", port=broker.port),
        node="gateway-7",
        clock=SystemClock(),
        counters=Counters(),
        on_command=lambda _: None,
        timing=LinkTiming(0.001, 0.002, check_secs=0.1, takeovers=1000),
    )
    await sink.open()
    counts = []
    for _ in range(12):
        await subscriber.until_heard(STATUS, "online")
        counts.append((descriptors(), threading.active_count()))
        subscriber.heard.clear()
        assert sink._link._session is not None
        sink._link._session.kill(Cause("lost", "cable cut"))
    await sink.close()
    files, threads = zip(*counts, strict=True)
    assert files[-1] <= files[0] + 1
    assert threads[-1] <= threads[0] + 1
