"""The MQTT client asks the egress policy, and says what is wrong when it is refused."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from edgevlm.publish import mqtt_causes
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_network import Login, Network
from edgevlm.publish.mqtt_wire import Announced, Incoming
from edgevlm.runtime import egress
from edgevlm.runtime.egress import EgressRefused, Policy
from tests.servers.broker import Broker


class Hearing:
    """Waits for how a connection ends or begins."""

    def __init__(self) -> None:
        self.came: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connected(self, announced: Announced) -> None:  # noqa: ARG002
        self._come(None)

    def ended(self, failure: Exception | None) -> None:
        self._come(failure)

    def _come(self, failure: Exception | None) -> None:
        if not self.came.done():
            self.came.set_result(failure)

    def note(self, cause: Cause) -> None: ...

    def acknowledged(self, packet_id: int, reason: int, name: str, detail: str | None) -> None: ...

    def subscribed(self, reason: int, name: str) -> None: ...

    def received(self, incoming: Incoming) -> None: ...


@pytest.fixture
def air_gap() -> Iterator[None]:
    egress.enforce(Policy("lan"))
    yield
    egress.enforce(Policy())


async def connect(host: str, port: int) -> Exception | None:
    hearing = Hearing()
    config = MqttSinkConfig(type="mqtt", host=host, port=port)
    network = Network("broker", config, Login("test-egress", "5", "status"), hearing)
    network.start()
    async with asyncio.timeout(10):
        failure = await hearing.came
    network.kill()
    return failure


@pytest.mark.usefixtures("air_gap")
async def test_a_broker_that_may_not_be_connected_to_is_told_of_as_such() -> None:
    failure = await connect("203.0.113.7", 1883)
    assert isinstance(failure, EgressRefused)
    cause = mqtt_causes.of_exception(failure, "203.0.113.7", 1883, tls=False)
    assert (cause.code, cause.needs_person) == ("forbidden", True)
    assert (
        cause.text
        == "203.0.113.7 is refused: 203.0.113.7: the address is public, and nothing may leave the site"
    )


@pytest.mark.usefixtures("air_gap")
async def test_a_name_is_connected_to_by_an_address_that_was_asked_about(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And refused as a whole for one bad address, whichever would answer."""
    real, answers = socket.getaddrinfo, ["127.0.0.1"]

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host == "broker.lan" and "flags" not in options:  # those ask for numbers only
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in answers]
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(egress, "nameservers", list)
    assert await connect("broker.lan", broker.port) is None
    answers.append("203.0.113.7")
    assert isinstance(await connect("broker.lan", broker.port), EgressRefused)
