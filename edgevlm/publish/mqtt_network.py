"""The network thread of one connection to a broker: the only module that talks to paho.

`_run` and paho's callbacks are in the network thread and only hand over to the event loop (`_post`); the
public methods belong to the event loop. paho writes to the socket in the network thread only (the callback
`on_socket_register_write` sees to that), for two threads must not use one TLS connection at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgevlm.publish import mqtt_causes
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.publish.mqtt_causes import Cause
from edgevlm.publish.mqtt_wire import Announced, Incoming, MqttVersion, Publish, port_of, tls_context
from edgevlm.runtime import egress, lookup

MAX_IN_FLIGHT = 20
MAX_INCOMING_BYTES = 65_536
MAX_INCOMING_WAITING = 64
KEEPALIVE_TIMEOUT = 0x8D

log = structlog.get_logger()


class Listener(Protocol):
    """Who is told what happens; always on the event loop."""

    def connected(self, announced: Announced) -> None:
        """Learn that the broker has accepted us."""

    def note(self, cause: Cause) -> None:
        """Learn why the connection is about to end."""

    def acknowledged(self, packet_id: int, reason: int, name: str, detail: str | None) -> None:
        """Learn what the broker says to a publish."""

    def subscribed(self, reason: int, name: str) -> None:
        """Learn what the broker says to a subscription."""

    def received(self, incoming: Incoming) -> None:
        """Take what the broker has sent."""

    def ended(self, failure: Exception | None) -> None:
        """Learn that the network thread has ended; nothing follows."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to introduce ourselves."""

    client_id: str
    version: MqttVersion
    status_topic: str
    """Set to `offline` by the broker when we vanish."""


class Network:
    """A paho client and the thread that runs it; used for one connection, then thrown away."""

    def __init__(self, name: str, config: MqttSinkConfig, login: Login, listener: Listener) -> None:
        self._name = name
        self._config = config
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._ear = _Ear()
        self._killed = threading.Event()
        self._room = threading.BoundedSemaphore(MAX_INCOMING_WAITING)
        self._overflow = 0  # network thread only
        self._is_5 = login.version == "5"
        self._client = self._build(login)

    def start(self) -> None:
        """Connect, in the background."""
        # A daemon thread: a name lookup cannot be interrupted, and must not hold up the end of the process.
        threading.Thread(target=self._run, name=f"edgevlm[{self._name}].mqtt", daemon=True).start()

    def send(self, publish: Publish, *, retain: bool) -> int | str:
        """Give `publish` to the network thread; return its packet id, or why that did not work.

        Raises:
            ValueError: MQTT itself forbids this topic or payload.

        """
        properties = None
        if publish.correlation is not None:
            properties = _properties(PacketTypes.PUBLISH, {"CorrelationData": publish.correlation})
        sent = self._client.publish(
            publish.topic, publish.payload, qos=1, retain=retain, properties=properties
        )
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else sent.rc.name

    def subscribe(self, topic_filter: str) -> None:
        """Ask for messages."""
        if self._is_5:
            options = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True)
            self._client.subscribe(topic_filter, options=options)
        else:
            self._client.subscribe(topic_filter, qos=1)

    def leave(self) -> None:
        """Say goodbye: the broker forgets the will."""
        self._client.disconnect()

    def kill(self) -> None:
        """End the connection at once."""
        self._killed.set()
        self._shut()

    # --- the network thread

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._connect()
            while self._client.loop(timeout=1.0) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
        except Exception as err:  # noqa: BLE001  # a thread's end: it becomes the cause that the link logs
            failure = err
        self._forget_client()
        self._post(self._listener.ended, failure or self._ear.socket_error)
        del failure  # its traceback holds this frame: a circle, see `_forget_client`

    def _connect(self) -> None:
        config = self._config
        if config.tls is not None:
            self._client.tls_set_context(tls_context(config.tls))
            self._client.tls_insecure_set(not config.tls.verify)
        ours = {"MaximumPacketSize": MAX_INCOMING_BYTES, "ReceiveMaximum": MAX_IN_FLIGHT}
        self._client.connect(
            config.host,
            port_of(config),
            keepalive=config.keepalive_secs,
            properties=_properties(PacketTypes.CONNECT, ours) if self._is_5 else None,
        )
        if self._killed.is_set():  # before there was a socket to shut
            self._shut()

    def _shut(self) -> None:
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would pull TLS away under the network thread.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _build(self, login: Login) -> Client:
        version = MQTTProtocolVersion.MQTTv5 if self._is_5 else MQTTProtocolVersion.MQTTv311
        client = _DirectClient(
            CallbackAPIVersion.VERSION2, login.client_id, protocol=version, reconnect_on_failure=False
        )
        config = self._config
        if config.username is not None:
            client.username_pw_set(config.username, config.password.reveal() if config.password else None)
        client.will_set(login.status_topic, "offline", qos=1, retain=True)
        client.suppress_exceptions = True  # they go to the ear
        client.enable_logger(_logger_to(self._ear))
        client.on_socket_register_write = lambda *_: None
        client.on_socket_open = lambda _client, _userdata, opened: _send_at_once(opened)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _forget_client(self) -> None:
        """Break the circle of references: paho closes its last sockets when the client is freed."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = None
        client.on_subscribe = client.on_message = None

    def _on_connect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._post(self._listener.note, mqtt_causes.of_refusal(reason.value, reason.getName()))
            return
        announced = Announced(
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
            max_in_flight=getattr(properties, "ReceiveMaximum", 65_535),
            retains=getattr(properties, "RetainAvailable", 1) == 1,
        )
        self._post(self._listener.connected, announced)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._post(self._listener.note, mqtt_causes.of_goodbye(reason.value, reason.getName()))
        elif reason.value == KEEPALIVE_TIMEOUT:
            self._post(self._listener.note, mqtt_causes.FELL_SILENT)

    def _on_publish(
        self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        _acknowledge_at_once(self._client.socket())
        detail = getattr(properties, "ReasonString", None)
        self._post(self._listener.acknowledged, mid, reason.value, reason.getName(), detail)

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        for reason in reasons:
            self._post(self._listener.subscribed, reason.value, reason.getName())

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if not self._room.acquire(blocking=False):
            self._overflow += 1
            return
        incoming = Incoming(
            message.topic,
            bytes(message.payload),
            message.retain,
            getattr(message.properties, "ResponseTopic", None),
            getattr(message.properties, "CorrelationData", None),
            self._overflow,
        )
        self._overflow = 0
        self._post(self._receive, incoming)

    def _receive(self, incoming: Incoming) -> None:
        self._room.release()
        self._listener.received(incoming)

    def _post(self, what: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(what, *args)


class _DirectClient(Client):
    """Connects to the addresses that the egress policy allows, without a proxy."""

    def _create_socket_connection(self) -> socket.socket:
        # paho itself would look the name up anew, and go through a proxy that the environment names.
        failure: OSError | None = None
        for address in lookup.permitted(self._host, egress.current()):
            try:
                return socket.create_connection((str(address), self._port), timeout=self._connect_timeout)
            except OSError as err:
                failure = err
        raise failure or lookup.NotFound("no address")


class _Ear(logging.Handler):
    """Hears what paho tells nobody but its log: a socket's error, and a callback of ours that failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.socket_error: OSError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a socket's error, pass on a fault of ours."""
        error = next((arg for arg in record.args or () if isinstance(arg, Exception)), None)
        if isinstance(error, OSError):
            self.socket_error = error.with_traceback(None)  # whose frames hold the client
        elif error is not None:
            log.error("a callback failed in the MQTT thread", what=record.getMessage(), exc_info=error)


def _send_at_once(opened: object) -> None:
    """Turn off Nagle's wait: a message is several small packets, and each would wait 40 ms for the last."""
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_at_once(opened: object) -> None:
    """Tell the broker's TCP that its packet has come: mosquitto, as it is, holds the next until then."""
    if isinstance(opened, socket.socket):
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _logger_to(handler: logging.Handler) -> logging.Logger:
    # Its own, not one of the process's tree: it goes when the client goes, and nothing else hears it.
    logger = logging.Logger("paho", logging.ERROR)  # noqa: LOG001
    logger.addHandler(handler)
    return logger


def _properties(kind: int, values: dict[str, Any]) -> Properties:
    properties = Properties(kind)  # type: ignore[no-untyped-call]  # paho does not annotate this class
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
