"""What goes over a broker's connection, and how the connection is secured."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal

from edgevlm.publish.config import MqttSinkConfig, TlsConfig

MqttVersion = Literal["5", "3.1.1"]

_HEADER_BYTES = 16  # fixed header, topic length, packet id, property length: 11, and room


@dataclass(frozen=True, slots=True)
class Announced:
    """The broker's limits, from its CONNACK; 3.1.1 brokers announce nothing."""

    max_packet_bytes: int | None = None
    max_in_flight: int = 65_535
    retains: bool = True


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that the broker sent to us."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None
    dropped_before: int = 0
    """Messages that came too fast just before this one, and were thrown away."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A message for the broker."""

    topic: str
    payload: bytes
    retained: bool = False
    correlation: bytes | None = None

    def packet_bytes(self) -> int:
        """Return an upper bound of its size on the wire."""
        correlation = 3 + len(self.correlation) if self.correlation else 0
        return _HEADER_BYTES + len(self.topic.encode()) + correlation + len(self.payload)


def port_of(config: MqttSinkConfig) -> int:
    """Return the port to connect to."""
    return config.port or (8883 if config.tls is not None else 1883)


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return what TLS is spoken with; reads files, for each connection anew: certificates get renewed."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
