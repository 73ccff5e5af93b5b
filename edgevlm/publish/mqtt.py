"""The MQTT sink: results, states and notices out, commands in.

A message is three publishes: `result` (the fact), then `state` and `value` (retained: what holds now). It
counts as delivered when the broker has confirmed all of them. What is retained is kept here too, and sent
again whenever the connection comes up, for a broker may have forgotten it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.command import Command, Refusal, Reply, parse_command
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_link import LinkTiming, MqttLink
from edgevlm.publish.mqtt_topics import Topics
from edgevlm.publish.mqtt_wire import Incoming, Publish
from edgevlm.publish.result import encode, writable
from edgevlm.publish.roboflow import shape_of
from edgevlm.publish.sink import Message, Notice
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.fold import Fold

log = structlog.get_logger()

OnCommand = Callable[[Command], None]

_MAX_NOTICES_UNCONFIRMED = 2000


class MqttSink:
    """A broker as a destination: `Sink`, `Windowed` and `NoticeBoard`; belongs to the event loop."""

    window = 20

    def __init__(
        self,
        name: str,
        config: MqttSinkConfig,
        *,
        node: str,
        clock: Clock,
        counters: Counters,
        on_command: OnCommand | None = None,
        timing: LinkTiming | None = None,
    ) -> None:
        self.name = name
        self._shape = shape_of(config.format)
        self._counters = counters
        self._clock = clock
        self._fold = Fold(first_secs=60.0)
        self._topics = Topics(config.prefix, node)
        self._on_command = on_command if config.commands else None
        self._board: dict[str, bytes] = {}  # retained topic → payload
        self._link = MqttLink(
            name,
            config,
            client_id=config.client_id or f"edgevlm-{node}",
            status_topic=self._topics.status,
            clock=clock,
            on_up=self._greet,
            on_incoming=self._take,
            timing=timing or LinkTiming(),
        )

    @property
    def up(self) -> bool:
        """Whether the broker is connected."""
        return self._link.up

    async def open(self) -> None:
        """Begin to connect, in the background."""
        self._link.open()

    async def deliver(self, message: Message) -> None:
        """Publish the result, then the state and the value; return when the broker has confirmed all."""
        publishes = self._publishes(message)
        for publish in publishes:
            objection = self._link.objection(publish)
            if objection is not None:
                raise objection
        confirmations = [self._link.publish(publish) for publish in publishes]
        outcomes = await asyncio.gather(*confirmations, return_exceptions=True)
        self._raise_worst([outcome for outcome in outcomes if outcome is not None])
        self._board.update({publish.topic: publish.payload for publish in publishes if publish.retained})

    def post(self, notice: Notice) -> None:
        """Show `notice` now and, when retained, again after every reconnect; never blocks, never raises."""
        try:
            topic = self._topics.below(notice.topic)
        except ValueError as err:
            self._drop_notice("notice_rejected", str(err))
            return
        publish = Publish(topic, notice.payload.encode("utf-8", "replace"), notice.retained)
        if notice.retained:
            self._board[topic] = publish.payload
        if self._link.up:
            self._show(publish)
        elif not notice.retained:
            self._drop_notice("notice_offline", topic)

    async def close(self) -> None:
        """Say `offline` and disconnect."""
        await self._link.close(Publish(self._topics.status, b"offline", retained=True))

    # --- out

    def _publishes(self, message: Message) -> list[Publish]:
        def topic(kind: str) -> str:
            return self._topics.of_rule(message.camera, message.rule, kind)

        publishes = [Publish(topic("result"), encode(self._shape(message.document)))]
        if message.state is not None:
            publishes.append(Publish(topic("state"), message.state.encode(), retained=True))
        if message.value is not None:
            publishes.append(Publish(topic("value"), encode(message.value), retained=True))
        return publishes

    def _raise_worst(self, failures: list[BaseException]) -> None:
        """Raise one error for all: what the broker refused once it will refuse again."""
        refused = [failure.message for failure in failures if isinstance(failure, SinkRejected)]
        if refused:
            raise SinkRejected(self.name, "; ".join(refused))
        for failure in failures:
            raise failure

    def _greet(self) -> None:
        """Tell the broker, as the first thing on a new connection, all that is retained."""
        if self._on_command is not None:
            self._link.subscribe(self._topics.commands)
        self._send(Publish(self._topics.status, b"online", retained=True))
        for topic, payload in list(self._board.items()):
            self._show(Publish(topic, payload, retained=True))

    def _show(self, publish: Publish) -> None:
        self._send(publish)
        if not publish.payload:  # it deletes the topic, and that for good
            self._board.pop(publish.topic, None)

    def _send(self, publish: Publish) -> None:
        """Publish what nobody waits for; a retained one that does not arrive is on the board."""
        if self._link.unconfirmed() >= _MAX_NOTICES_UNCONFIRMED:
            self._drop_notice("notice_offline", publish.topic)
            return
        self._link.publish(publish).add_done_callback(self._note_notice)

    def _note_notice(self, confirmation: asyncio.Future[None]) -> None:
        failure = None if confirmation.cancelled() else confirmation.exception()
        if isinstance(failure, SinkUnreachable):
            self._counters.drop("publish", "notice_offline", self.name)
        elif failure is not None:
            self._drop_notice("notice_rejected", str(failure))

    def _drop_notice(self, reason: str, why: str) -> None:
        self._counters.drop("publish", reason, self.name)
        folded = self._folded(why) if reason == "notice_rejected" else None
        if folded is not None:
            log.error("a notice was refused and is dropped", sink=self.name, why=why, and_before=folded)

    def _folded(self, what: str) -> int | None:
        return self._fold.seen(what, self._clock.monotonic_ns())

    # --- in

    def _take(self, incoming: Incoming) -> None:
        if incoming.dropped_before:
            self._counters.drop("publish", "command_overflow", self.name, incoming.dropped_before)
            log.warning("commands came too fast", sink=self.name, dropped=incoming.dropped_before)
        path = self._topics.command_path(incoming.topic)
        if path is None or self._on_command is None:
            return
        if incoming.retained:
            self._refuse(incoming, "a retained command is ignored: send it without the retain flag", None)
            return
        reply = self._reply_to(incoming)
        command = parse_command(path, incoming.payload)
        if isinstance(command, Refusal):
            self._refuse(incoming, command.why, reply)
        else:
            self._on_command(replace(command, reply=reply))

    def _refuse(self, incoming: Incoming, why: str, reply: Reply | None) -> None:
        self._counters.drop("publish", "command_refused", self.name)
        folded = self._folded(f"{incoming.topic[:200]} {why}")
        if folded is not None:
            log.warning(
                "a command was refused",
                sink=self.name,
                topic=incoming.topic[:200],
                why=why,
                and_before=folded,
            )
        if reply is not None:
            reply({"ok": False, "error": why})

    def _reply_to(self, incoming: Incoming) -> Reply | None:
        topic = incoming.response_topic
        if topic is None or not self._topics.may_answer_on(topic):
            return None

        def reply(document: dict[str, Any]) -> None:
            self._send(Publish(topic, encode(writable(document)), correlation=incoming.correlation))

        return reply
