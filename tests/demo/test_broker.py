"""The demo's broker: the one that is there, or the embedded one, or a hint how to get it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator

import pytest
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgevlm.demo.broker import DemoBroker, broker_answers
from edgevlm.errors import EdgevlmError
from tests.servers.broker import Broker, NewBroker, free_port


async def test_a_broker_that_is_there_is_used(broker: Broker) -> None:
    async with DemoBroker(port=broker.port) as found:
        assert (found.host, found.port, found.embedded) == ("127.0.0.1", broker.port, False)
    assert await broker_answers("127.0.0.1", broker.port), "it is still there afterwards"


async def test_a_broker_that_wants_a_login_is_none_for_us(new_broker: NewBroker) -> None:
    locked = new_broker("allow_anonymous false", password=("me", "secret"))
    assert not await broker_answers("127.0.0.1", locked.port)


@pytest.fixture(params=["silent", "web server", "too short"])
async def no_broker(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """A port on which something else listens."""
    answers = {"silent": None, "web server": b"HTTP/1.1 400 Bad Request\r\n\r\n", "too short": b"\x20\x02"}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        if (said := answers[request.param]) is not None:
            writer.write(said)
            writer.close()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_something_else_on_the_port_is_no_broker(no_broker: int) -> None:
    assert not await broker_answers("127.0.0.1", no_broker, timeout_secs=0.3)


async def test_an_embedded_broker_carries_messages_and_leaves_nothing_behind() -> None:
    tasks, loggers = asyncio.all_tasks(), set(logging.root.manager.loggerDict)
    async with DemoBroker(port=free_port()) as broker:
        assert broker.embedded
        assert await broker_answers(broker.host, broker.port)
        assert await echo(broker) == b"7.4 bar"
    assert not await broker_answers(broker.host, broker.port)
    assert asyncio.all_tasks() == tasks
    assert not {name for name in set(logging.root.manager.loggerDict) - loggers if "amqtt" in name}


async def echo(broker: DemoBroker) -> bytes:
    """Publish a retained message, and return what a subscriber who comes later hears."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bytes] = loop.create_future()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)

    def on_connect(
        client: Client, _user: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        assert not code.is_failure
        client.publish("edgevlm/demo", b"7.4 bar", qos=1, retain=True)

    def on_publish(client: Client, *_: object) -> None:
        client.subscribe("edgevlm/#", qos=1)

    def on_message(_client: Client, _user: object, message: MQTTMessage) -> None:
        loop.call_soon_threadsafe(heard.set_result, bytes(message.payload))

    client.on_connect, client.on_publish, client.on_message = on_connect, on_publish, on_message
    client.connect_async(broker.host, broker.port)
    client.loop_start()
    try:
        return await asyncio.wait_for(heard, 10)
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


async def test_without_a_broker_and_without_amqtt_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EdgevlmError, match=r"pip install 'edgevlm\[demo\]'"):
        async with DemoBroker(port=free_port()):
            pass
