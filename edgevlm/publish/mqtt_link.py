"""Keeps one broker connected for ever: connects, watches, names what is wrong, and begins again.

What is watched is progress, not state: a connection on which the oldest message has waited too long for its
confirmation is thrown away, whatever paho or the kernel say of it. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edgevlm.errors import PublishError, SinkUnreachable
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import LEFT, Cause
from edgevlm.publish.mqtt_network import Login
from edgevlm.publish.mqtt_session import Session, SessionEvents
from edgevlm.publish.mqtt_wire import Incoming, MqttVersion, Publish, port_of
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.fold import Fold

log = structlog.get_logger()

_NO_SUBSCRIPTION = 0x80  # and above
_GOODBYE_SECS = 1.0


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """How patient a link is; tests have less time than brokers need."""

    first_pause_secs: float = 1.0
    longest_pause_secs: float = 30.0
    check_secs: float = 2.0
    connect_secs: float = 10.0
    """From the first packet to the broker's CONNACK."""
    stuck_secs: float = 60.0
    """Longest time that a message may wait for its confirmation."""
    settled_secs: float = 30.0
    """A connection that lasted as long was a good one: the back-off begins anew."""
    takeovers: int = 3
    """So many within the window, and another client is believed to use our client_id."""
    takeover_window_secs: float = 60.0
    takeover_pause_secs: float = 300.0
    poison_after: int = 5
    """So many connections lost one after another on the same message, and it is not sent again."""
    suspected_pause_secs: float = 60.0
    """Where the broker does not say so, and we conclude it from lost connections."""


class MqttLink:
    """The way to one broker."""

    def __init__(
        self,
        name: str,
        config: MqttSinkConfig,
        *,
        client_id: str,
        status_topic: str,
        clock: Clock,
        on_up: Callable[[], None],
        on_incoming: Callable[[Incoming], None],
        timing: LinkTiming,
    ) -> None:
        self._name = name
        self._config = config
        self._client_id = client_id
        self._status_topic = status_topic
        self._clock = clock
        self._on_up = on_up
        self._on_incoming = on_incoming
        self._timing = timing
        self._version: MqttVersion = "3.1.1" if config.protocol == "3.1.1" else "5"
        self._spoke_5 = self._refused_5 = self._warned = False
        self._came_up_last = False
        self._backoff = Backoff(timing.first_pause_secs, timing.longest_pause_secs)
        self._takeovers: deque[int] = deque(maxlen=timing.takeovers)
        self._fold = Fold(first_secs=600.0)
        self._suspect: Publish | None = None
        self._suspected = 0
        self._failures = 0
        self._trouble = "not connected yet"
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._log = log.bind(sink=name, host=config.host, port=port_of(config))

    @property
    def up(self) -> bool:
        """Whether the broker has accepted us and, as far as we know, still listens."""
        return self._session is not None and self._session.up

    @property
    def version(self) -> MqttVersion:
        """The protocol spoken, or tried next."""
        return self._version

    def open(self) -> None:
        """Begin to connect; a broker that is away is no error."""
        self._supervisor = asyncio.create_task(self._supervise(), name=f"edgevlm[{self._name}].mqtt")

    def publish(self, publish: Publish) -> asyncio.Future[None]:
        """Send `publish`; the future is done when the broker has confirmed or refused it."""
        if self._session is not None and self._session.up:
            return self._session.publish(publish)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(self._unreachable())
        return future

    def objection(self, publish: Publish) -> PublishError | None:
        """Return why `publish` cannot be sent now."""
        if self._session is None or not self._session.up:
            return self._unreachable()
        return self._session.objection(publish)

    def subscribe(self, topic_filter: str) -> None:
        """Ask for messages; to be repeated whenever the link comes up."""
        if self._session is not None:
            self._session.subscribe(topic_filter)

    def unconfirmed(self) -> int:
        """Return how many messages are under way."""
        return self._session.unconfirmed() if self._session is not None else 0

    async def close(self, goodbye: Publish) -> None:
        """Send `goodbye`, disconnect, and wait for the network thread; takes 3 s at most."""
        if self._supervisor is None:
            return
        self._supervisor.cancel()
        await asyncio.wait({self._supervisor})
        if self._session is None or self._session.over.done():
            return
        if self._session.up:
            await self._say(goodbye)
            self._session.leave()
            await asyncio.wait({self._session.over}, timeout=_GOODBYE_SECS)
        self._session.kill(LEFT)
        await asyncio.wait({self._session.over}, timeout=_GOODBYE_SECS)

    async def _say(self, goodbye: Publish) -> None:
        with contextlib.suppress(PublishError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECS):
                await self.publish(goodbye)

    async def _supervise(self) -> None:
        while True:
            try:
                await self._clock.sleep(self._judge(await self._run_session()))
            except Exception:  # noqa: BLE001  # the end of one round of this task, logged; it must go on
                self._log.exception("the MQTT link failed and begins anew")
                await self._clock.sleep(self._backoff.next_secs())

    async def _run_session(self) -> Cause:
        """Return why the connection ended."""
        events = SessionEvents(self._came_up, self._on_incoming, self._note_subscription, self._is_poison)
        login = Login(self._client_id, self._version, self._status_topic)
        session = Session(self._name, self._config, login, events, self._clock)
        self._session = session
        self._came_up_last = False
        session.start()
        while not session.over.done():
            await asyncio.wait({session.over}, timeout=self._timing.check_secs)
            self._check(session)
        cause = session.over.result()
        if session.age_secs() >= self._timing.settled_secs:
            self._backoff.reset()
            self._fold = Fold(first_secs=600.0)
        return cause

    def _check(self, session: Session) -> None:
        if not session.up and session.age_secs() > self._timing.connect_secs:
            session.kill(Cause("silent", f"no answer to CONNECT in {self._timing.connect_secs:g} s"))
        elif session.oldest_secs() > self._timing.stuck_secs:
            session.kill(Cause("stuck", f"the broker confirmed nothing for {self._timing.stuck_secs:g} s"))

    def _came_up(self) -> None:
        self._came_up_last = True
        folded = self._fold.seen("connected", self._clock.monotonic_ns())
        if folded is not None:
            self._log.info("connected to the broker", protocol=self._version, failures=self._failures)
        self._spoke_5 = self._spoke_5 or self._version == "5"
        if self._version == "3.1.1" and self._config.protocol == "auto" and not self._warned:
            self._warned = True
            self._log.warning(
                "the broker does not speak MQTT 5: a message that it refuses looks like one that it took"
            )
        self._failures = 0
        self._on_up()

    def _note_subscription(self, reason: int, name: str) -> None:
        if reason >= _NO_SUBSCRIPTION:
            self._log.warning("the broker does not let us subscribe, commands will not work", why=name)

    def _judge(self, cause: Cause) -> float:
        """Log why the connection ended; return the pause before the next one."""
        if self._changed_version(cause):
            return 0.0
        self._trouble = cause.text
        self._failures += 1
        if self._ping_pong(cause):
            longest = self._timing.takeover_pause_secs
            if cause.code == "lost":
                longest = self._timing.suspected_pause_secs
            return longest * self._backoff.draw.uniform(0.5, 1.0)
        folded = self._fold.seen(cause.text, self._clock.monotonic_ns())
        if folded is not None:
            write = self._log.error if cause.needs_person else self._log.warning
            write("no connection to the broker", why=cause.text, and_before=folded)
        return self._backoff.next_secs()

    def _changed_version(self, cause: Cause) -> bool:
        """Fall back to 3.1.1 where allowed; return True if there is reason to try that at once.

        For good if the broker refuses 5. Some old ones do not even say no: for them both are tried in turn,
        unless 5 has worked before.
        """
        if self._config.protocol != "auto" or self._refused_5:
            return False
        if cause.code == "version" and self._version == "5":
            self._refused_5 = True
            self._version = "3.1.1"
            return True
        suspect = cause.code == "silent" and self._version == "5" and not self._spoke_5
        self._version = "3.1.1" if suspect else "5"
        return False

    def _ping_pong(self, cause: Cause) -> bool:
        """Say whether another client with our client_id takes the connection from us each time.

        Not every broker tells (mosquitto 2.0 just hangs up); then it is concluded from connections that are
        made without trouble and lost without a word.
        """
        if not self._came_up_last:
            self._takeovers.clear()
        if cause.code not in {"taken_over", "lost"} or not self._came_up_last:
            return False
        now_ns = self._clock.monotonic_ns()
        self._takeovers.append(now_ns)
        window_ns = self._timing.takeover_window_secs * 1e9
        if len(self._takeovers) < self._timing.takeovers or now_ns - self._takeovers[0] > window_ns:
            return False
        self._takeovers.clear()
        self._log.error(
            "the connection is taken from us again and again: give each box its own client_id",
            client_id=self._client_id,
            why=cause.text,
        )
        return True

    def _is_poison(self, publish: Publish) -> bool:
        """Count the connections that broke on `publish`; say whether that is enough to blame it.

        A broker of MQTT 3.1.1 has no other way to say "too large": it hangs up, and would do so for ever.
        """
        self._suspected = self._suspected + 1 if publish == self._suspect else 1
        self._suspect = publish
        return self._suspected >= self._timing.poison_after

    def _unreachable(self) -> SinkUnreachable:
        return SinkUnreachable(self._name, f"no connection to the broker: {self._trouble}")
