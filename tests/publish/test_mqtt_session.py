"""A session's bookkeeping, with the network thread's part played by hand."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, cast

import pytest

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_network import Login
from edgevlm.publish.mqtt_session import Session, SessionEvents
from edgevlm.publish.mqtt_wire import Announced, Publish
from tests.fakes.clock import FakeClock

LOST = Cause("lost", "cable cut")


class Wire:
    """Takes what is sent; numbers it as paho does."""

    def __init__(self) -> None:
        self.sent: dict[int, Publish] = {}
        self.retained: list[bool] = []
        self._ids = count(1)

    def send(self, publish: Publish, *, retain: bool) -> int:
        packet_id = next(self._ids)
        self.sent[packet_id] = publish
        self.retained.append(retain)
        return packet_id


class Played:
    """A session on a wire."""

    def __init__(self, clock: FakeClock, *, poison: bool = False) -> None:
        self.ups = 0
        events = SessionEvents(
            on_up=self._up,
            on_incoming=lambda _: None,
            on_subscribed=lambda *_: None,
            is_poison=lambda _: poison,
        )
        login = Login("me", "5", "a/status")
        self.session = Session("broker", MqttSinkConfig(type="mqtt"), login, events, clock)
        self.wire = Wire()
        self.session._network = cast("Any", self.wire)

    def _up(self) -> None:
        self.ups += 1

    def publish(self, number: int, size: int = 1) -> asyncio.Future[None]:
        return self.session.publish(Publish(f"a/{number}", b"x" * size))

    def acknowledge(self, packet_id: int, reason: int = 0) -> None:
        self.session.acknowledged(packet_id, reason, "Name", None)


async def test_no_more_is_in_flight_than_the_broker_allows(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced(max_in_flight=3))
    futures = [played.publish(number) for number in range(5)]
    assert list(played.wire.sent) == [1, 2, 3]
    played.acknowledge(2)
    assert list(played.wire.sent) == [1, 2, 3, 4]
    assert [future.done() for future in futures] == [False, True, False, False, False]
    futures[4].cancel()
    for packet_id in (1, 3, 4):
        played.acknowledge(packet_id)
    assert list(played.wire.sent) == [1, 2, 3, 4]  # what nobody waits for is not sent


async def test_nor_than_twenty(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced())
    futures = [played.publish(number) for number in range(30)]
    assert len(played.wire.sent) == 20
    assert played.session.unconfirmed() == 30
    for packet_id in range(1, 31):
        played.acknowledge(packet_id)
    assert all(future.done() and future.exception() is None for future in futures)


async def test_the_first_cause_is_the_cause(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.note(LOST)
    played.session.note(Cause("stuck", "a consequence"))
    played.session.ended(OSError("another"))
    assert played.session.over.result() is LOST


async def test_who_was_given_up_does_not_come_up(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.note(LOST)
    played.session.connected(Announced())
    assert (played.session.up, played.ups) == (False, 0)


async def test_what_was_not_confirmed_fails_with_the_connection(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced(max_in_flight=1))
    under_way, waiting, cancelled = played.publish(1), played.publish(2), played.publish(3)
    cancelled.cancel()
    played.session.note(LOST)
    played.session.ended(None)
    for future in (under_way, waiting, played.publish(4)):
        assert isinstance(future.exception(), SinkUnreachable)
    played.acknowledge(1)  # comes late, and is no one's


async def test_the_largest_is_blamed_when_a_packet_was_too_large(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced())
    small, large, medium = (played.publish(number, size) for number, size in enumerate([10, 900, 300]))
    played.session.note(Cause("too_large", "larger than it takes"))
    played.session.ended(None)
    errors = [type(future.exception()) for future in (small, large, medium)]
    assert errors == [SinkUnreachable, SinkRejected, SinkUnreachable]


@pytest.mark.parametrize(("confirmed_another", "error"), [(True, SinkRejected), (False, SinkUnreachable)])
async def test_only_a_broker_that_takes_other_messages_can_prove_poison(
    clock: FakeClock, error: type[Exception], *, confirmed_another: bool
) -> None:
    played = Played(clock, poison=True)
    played.session.connected(Announced())
    online, suspect = played.publish(1), played.publish(2)
    if confirmed_another:
        played.acknowledge(1)
    played.session.note(LOST)
    played.session.ended(None)
    assert isinstance((suspect if confirmed_another else online).exception(), error)
    assert suspect.exception() is not None
    assert confirmed_another or isinstance(suspect.exception(), SinkUnreachable)


async def test_age_is_that_of_the_oldest(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced())
    assert played.session.oldest_secs() == 0
    first = played.publish(1)
    await clock.advance(4)
    second = played.publish(2)
    await clock.advance(1)
    assert played.session.oldest_secs() == 5
    played.acknowledge(1)
    assert played.session.oldest_secs() == 1
    assert first.done()
    assert not second.done()


async def test_a_broker_without_retained_messages_gets_none(clock: FakeClock) -> None:
    played = Played(clock)
    played.session.connected(Announced(retains=False))
    future = played.session.publish(Publish("a/state", b"truck", retained=True))
    assert played.wire.retained == [False]
    future.cancel()
