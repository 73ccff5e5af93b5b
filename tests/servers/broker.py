"""A real MQTT broker for a test: Debian's mosquitto on a free port, with a configuration of its own.

`broker` is one without a login; `new_broker` makes more, with whatever mosquitto.conf can say:

    broker = new_broker("allow_anonymous false", password=("me", "secret"))

`Subscriber` is a client that keeps what it hears, for tests that run on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
HOST = "127.0.0.1"
START_SECS = 10.0


def free_port() -> int:
    """Return a TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One mosquitto process; `stop` and `start` keep the port and the configuration."""

    def __init__(
        self, directory: Path, *options: str, password: tuple[str, str] | None = None, acl: str | None = None
    ) -> None:
        self.host = HOST
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} {HOST}", "log_dest stderr", "persistence false", *options]
        if os.geteuid() == 0:
            lines.append("user root")  # else it drops to a user who may not read the test's files
        if not any(line.startswith("allow_anonymous") for line in options):
            lines.append("allow_anonymous true")
        if password is not None:
            lines.append(f"password_file {self._password_file(*password)}")
        if acl is not None:
            lines.append(f"acl_file {self._write('acl', acl)}")
        self._config = self._write("mosquitto.conf", "\n".join(lines) + "\n")

    def start(self) -> None:
        """Start, and return when it takes connections."""
        assert MOSQUITTO is not None
        with (self._directory / "mosquitto.log").open("ab") as output:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stderr=output, stdout=output)
        self._wait_until_open()

    def stop(self) -> None:
        """Stop it as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def log(self) -> str:
        """Return what it has written."""
        return (self._directory / "mosquitto.log").read_text(errors="replace")

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._send(signal.SIGCONT)
        self._send(number)
        self._process.wait(timeout=START_SECS)
        self._process = None

    def _wait_until_open(self) -> None:
        assert self._process is not None
        for _ in range(int(START_SECS / 0.02)):
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.02)
                break
        raise RuntimeError(f"mosquitto did not start: {self.log()}")

    def _write(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def _password_file(self, user: str, password: str) -> str:
        path = self._directory / "passwords"
        tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
        subprocess.run([tool, "-b", "-c", str(path), user, password], check=True, capture_output=True)
        path.chmod(0o600)
        return str(path)


class NewBroker(Protocol):
    """Starts a broker that ends with the test."""

    def __call__(
        self, *options: str, password: tuple[str, str] | None = None, acl: str | None = None
    ) -> Broker: ...


@pytest.fixture
def new_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewBroker]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    brokers: list[Broker] = []

    def make(*options: str, password: tuple[str, str] | None = None, acl: str | None = None) -> Broker:
        broker = Broker(tmp_path_factory.mktemp("broker"), *options, password=password, acl=acl)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(new_broker: NewBroker) -> Broker:
    return new_broker()


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retained: bool
    correlation: bytes | None = None

    @property
    def text(self) -> str:
        return self.payload.decode()


@dataclass
class Subscriber:
    """A client that keeps everything below some topics; use it with `async with`."""

    port: int
    topics: tuple[str, ...] = ("#",)
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    heard: list[Heard] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        subscribed = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if self.username is not None:
            self._client.username_pw_set(self.username, self.password)
        if self.ca_file is not None:
            self._client.tls_set(self.ca_file)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._subscribe()
        self._client.subscribe_callback()(lambda *_: self._call(subscribed.set))
        self._client.on_message = lambda _client, _userdata, message: self._hear(message)
        await asyncio.to_thread(self._client.connect, HOST, self.port)
        self._client.loop_start()
        await asyncio.wait_for(subscribed.wait(), START_SECS)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def until(self, condition: Callable[[list[Heard]], Any], timeout_secs: float = 15.0) -> None:
        """Return when `condition` holds for all that was heard so far."""
        try:
            async with asyncio.timeout(timeout_secs):
                while not condition(self.heard):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not heard in {timeout_secs} s; heard: {self.heard}") from None

    async def until_heard(self, topic: str, text: str | None = None, timeout_secs: float = 15.0) -> Heard:
        """Return the newest message on `topic` (with this payload), when there is one."""

        def fits(heard: Heard) -> bool:
            return heard.topic == topic and text in (None, heard.payload.decode(errors="replace"))

        await self.until(lambda all_heard: any(map(fits, all_heard)), timeout_secs)
        return [heard for heard in self.heard if fits(heard)][-1]

    def on(self, topic: str) -> list[Heard]:
        """Return what was heard on `topic`."""
        return [heard for heard in self.heard if heard.topic == topic]

    async def send(
        self,
        topic: str,
        payload: str | bytes = b"",
        *,
        retained: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish, and return when the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own gap
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        sent = self._client.publish(topic, payload, qos=1, retain=retained, properties=properties)
        await asyncio.to_thread(sent.wait_for_publish, START_SECS)

    def _subscribe(self) -> None:
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        self._client.subscribe([(topic, options) for topic in self.topics])

    def _hear(self, message: MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        heard = Heard(message.topic, bytes(message.payload), message.retain, correlation)
        self._call(self._keep, heard)

    def _call(self, what: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the test has ended
            self._loop.call_soon_threadsafe(what, *args)

    def _keep(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._changed.set()


@pytest.fixture
async def subscriber(broker: Broker) -> AsyncIterator[Subscriber]:
    """Hears everything on `broker`."""
    async with Subscriber(broker.port) as listening:
        yield listening


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where `certificates` has put them."""

    ca: str
    other_ca: str
    server: tuple[str, str]
    """Certificate and key for localhost and 127.0.0.1; so for the next ones."""
    expired: tuple[str, str]
    wrong_host: tuple[str, str]
    client: tuple[str, str]


class _Authority:
    """A certificate authority of openssl's command line."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.certificate = str(directory / f"{name}.crt")
        self._key = str(directory / f"{name}.key")
        self._run("req", "-x509", *self._new_key(self._key), "-subj", f"/CN={name}", "-out", self.certificate)

    def issue(self, name: str, san: str, days: str = "2") -> tuple[str, str]:
        """Return a new certificate and its key."""
        certificate, key = (str(self._directory / f"{name}.{end}") for end in ("crt", "key"))
        request, extensions = (str(self._directory / f"{name}.{end}") for end in ("csr", "ext"))
        Path(extensions).write_text(f"subjectAltName={san}\n")
        self._run("req", *self._new_key(key), "-subj", f"/CN={name}", "-out", request)
        signing = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        self._run("x509", "-req", "-in", request, *signing, "-days", days, "-out", certificate)
        return certificate, key

    @staticmethod
    def _new_key(path: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)

    @staticmethod
    def _run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority, stranger = _Authority(directory, "test-ca"), _Authority(directory, "other-ca")
    here = "DNS:localhost,IP:127.0.0.1"
    return Certificates(
        ca=authority.certificate,
        other_ca=stranger.certificate,
        server=authority.issue("server", here),
        expired=authority.issue("expired", here, days="-1"),
        wrong_host=authority.issue("elsewhere", "DNS:elsewhere.example"),
        client=authority.issue("client", "DNS:client.example"),
    )
