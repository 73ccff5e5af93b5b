"""One connection to a broker as the event loop sees it: what was sent, what was confirmed, why it ended.

A session is never used twice: after any end a new one is built, so that nothing of paho's own memory (its
resending, reconnecting, queueing) has a say. What was not confirmed fails with `SinkUnreachable`, and the
courier sends it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.publish import mqtt_causes
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_network import MAX_IN_FLIGHT, Login, Network
from edgevlm.publish.mqtt_wire import Announced, Incoming, Publish, port_of
from edgevlm.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """Who is told what a session brings."""

    on_up: Callable[[], None]
    """The broker has accepted us; what is published now goes before everything else."""
    on_incoming: Callable[[Incoming], None]
    on_subscribed: Callable[[int, str], None]
    is_poison: Callable[[Publish], bool]
    """Told of the oldest unconfirmed message of a connection that was lost while the broker confirmed others;
    says whether it is what the broker breaks the connection for."""


@dataclass(slots=True)
class _InFlight:
    publish: Publish
    sent_mono_ns: int
    future: asyncio.Future[None]


class Session:
    """Implements the network thread's `Listener`; belongs to the event loop."""

    def __init__(
        self, name: str, config: MqttSinkConfig, login: Login, events: SessionEvents, clock: Clock
    ) -> None:
        self.login = login
        self.up = False
        """Connected and accepted."""
        self.announced = Announced()
        self.over: asyncio.Future[Cause] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended and the network thread with it."""
        self._name = name
        self._config = config
        self._events = events
        self._clock = clock
        self._born_mono_ns = clock.monotonic_ns()
        self._in_flight: dict[int, _InFlight] = {}
        self._waiting: deque[tuple[Publish, asyncio.Future[None]]] = deque()
        self._confirmed_any = False
        self._cause: Cause | None = None
        self._network: Network | None = Network(name, config, login, self)

    def start(self) -> None:
        """Connect, in the background."""
        if self._network is not None:
            self._network.start()

    def publish(self, publish: Publish) -> asyncio.Future[None]:
        """Send `publish`; the future is done when the broker has confirmed or refused it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        error = self.objection(publish)
        if error is not None:
            future.set_exception(error)
        else:
            self._waiting.append((publish, future))
            self._send_waiting()
        return future

    def objection(self, publish: Publish) -> PublishError | None:
        """Return why `publish` cannot be sent in this session."""
        limit, size = self.announced.max_packet_bytes, publish.packet_bytes()
        if limit is not None and size > limit:
            text = f"{publish.topic}: {size} bytes, and the broker takes {limit} at most"
            return SinkRejected(self._name, text)
        return None if self.up else SinkUnreachable(self._name, "not connected")

    def subscribe(self, topic_filter: str) -> None:
        """Ask for messages."""
        if self._network is not None:
            self._network.subscribe(topic_filter)

    def age_secs(self) -> float:
        """Return for how long this session exists."""
        return (self._clock.monotonic_ns() - self._born_mono_ns) / 1e9

    def oldest_secs(self) -> float:
        """Return for how long the oldest unconfirmed message has been under way."""
        if not self._in_flight:
            return 0.0
        oldest = next(iter(self._in_flight.values()))
        return (self._clock.monotonic_ns() - oldest.sent_mono_ns) / 1e9

    def unconfirmed(self) -> int:
        """Return how many messages are under way, or wait to be."""
        return len(self._in_flight) + len(self._waiting)

    def leave(self) -> None:
        """Say goodbye: the broker forgets the will."""
        self.note(mqtt_causes.LEFT)
        if self._network is not None:
            self._network.leave()

    def kill(self, cause: Cause) -> None:
        """End the connection at once; `over` follows."""
        self.note(cause)
        if self._network is not None:
            self._network.kill()

    # --- Listener

    def connected(self, announced: Announced) -> None:
        """Take note of the broker's limits and tell the link."""
        if self._cause is not None:  # killed meanwhile
            return
        self.announced = announced
        self.up = True
        self._events.on_up()

    def note(self, cause: Cause) -> None:
        """Keep the first cause: those that follow are its consequences."""
        self._cause = self._cause or cause

    def acknowledged(self, packet_id: int, reason: int, name: str, detail: str | None) -> None:
        """Tell whoever waits for this PUBACK."""
        entry = self._in_flight.pop(packet_id, None)
        self._send_waiting()
        if entry is None or entry.future.done():  # nobody waits any more
            return
        error = mqtt_causes.of_publish(self._name, entry.publish.topic, reason, name, detail)
        self._confirmed_any = True
        if error is None:
            entry.future.set_result(None)
        else:
            entry.future.set_exception(error)

    def subscribed(self, reason: int, name: str) -> None:
        """Pass it on."""
        self._events.on_subscribed(reason, name)

    def received(self, incoming: Incoming) -> None:
        """Pass it on."""
        self._events.on_incoming(incoming)

    def ended(self, failure: Exception | None) -> None:
        """Settle everything and say why."""
        cause = self._cause or self._guess(failure)
        self.up = False
        self._network = None  # it refers to us: see its `_forget_client`
        self._fail_in_flight(cause)
        self.over.set_result(cause)

    def _guess(self, failure: Exception | None) -> Cause:
        config, tls = self._config, self._config.tls is not None
        if self.up and (failure is None or isinstance(failure, OSError)):
            return mqtt_causes.BROKE_OFF
        if failure is not None:
            return mqtt_causes.of_exception(failure, config.host, port_of(config), tls=tls)
        return mqtt_causes.of_silence(tls=tls)

    def _send_waiting(self) -> None:
        """Send in order, as many at once as the broker and we want in flight."""
        limit = min(MAX_IN_FLIGHT, self.announced.max_in_flight)
        while self._waiting and len(self._in_flight) < limit:
            publish, future = self._waiting.popleft()
            if future.done():  # nobody waits any more
                continue
            error = self._send(publish, future)
            if error is not None:
                future.set_exception(error)

    def _send(self, publish: Publish, future: asyncio.Future[None]) -> PublishError | None:
        if self._network is None:
            return SinkUnreachable(self._name, "not connected")
        try:
            sent = self._network.send(publish, retain=publish.retained and self.announced.retains)
        except ValueError as err:
            return SinkRejected(self._name, f"{publish.topic}: {err}")
        if isinstance(sent, str):
            return SinkUnreachable(self._name, f"{publish.topic}: not sent ({sent})")
        self._in_flight[sent] = _InFlight(publish, self._clock.monotonic_ns(), future)
        return None

    def _fail_in_flight(self, cause: Cause) -> None:
        entries = [entry for entry in self._in_flight.values() if not entry.future.done()]
        self._in_flight.clear()
        self._fail_waiting(cause)
        culprit = self._culprit(entries, cause)
        for entry in entries:
            error = SinkRejected if entry is culprit else SinkUnreachable
            entry.future.set_exception(error(self._name, f"{entry.publish.topic}: {cause.text}"))

    def _culprit(self, entries: list[_InFlight], cause: Cause) -> _InFlight | None:
        """Return the message that must not be sent again, if there is one: the broker does not name it."""
        if not entries:
            return None
        if cause.code == "too_large":
            return max(entries, key=lambda entry: entry.publish.packet_bytes())
        broke = cause.code in {"lost", "closed"} and self._confirmed_any
        return entries[0] if broke and self._events.is_poison(entries[0].publish) else None

    def _fail_waiting(self, cause: Cause) -> None:
        for publish, future in self._waiting:
            if not future.done():
                future.set_exception(SinkUnreachable(self._name, f"{publish.topic}: {cause.text}"))
        self._waiting.clear()
