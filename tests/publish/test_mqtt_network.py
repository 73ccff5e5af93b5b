"""What comes in faster than it is read is thrown away, and said."""

from __future__ import annotations

import asyncio

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_network import MAX_INCOMING_WAITING, Login, Network
from edgevlm.publish.mqtt_wire import Announced, Incoming


class Noted:
    """A listener that keeps what it is given."""

    def __init__(self) -> None:
        self.incoming: list[Incoming] = []

    def connected(self, announced: Announced) -> None: ...

    def note(self, cause: Cause) -> None: ...

    def acknowledged(self, packet_id: int, reason: int, name: str, detail: str | None) -> None: ...

    def subscribed(self, reason: int, name: str) -> None: ...

    def received(self, incoming: Incoming) -> None:
        self.incoming.append(incoming)

    def ended(self, failure: Exception | None) -> None: ...


async def test_a_flood_is_bounded_while_the_loop_is_busy() -> None:
    listener = Noted()
    network = Network("broker", MqttSinkConfig(type="mqtt"), Login("me", "5", "a/status"), listener)
    client = Client(CallbackAPIVersion.VERSION2)

    def flood(count: int) -> None:
        for _ in range(count):
            network._on_message(client, None, MQTTMessage(topic=b"a/cmd/x/enable"))

    await asyncio.to_thread(flood, 0)
    flood(MAX_INCOMING_WAITING + 36)  # on the loop's own thread: it cannot read meanwhile
    await asyncio.sleep(0)
    assert len(listener.incoming) == MAX_INCOMING_WAITING
    flood(1)
    await asyncio.sleep(0)
    assert listener.incoming[-1].dropped_before == 36
    flood(1)
    await asyncio.sleep(0)
    assert listener.incoming[-1].dropped_before == 0
