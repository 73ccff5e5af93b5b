"""Names what went wrong between a broker and us, in words that a field engineer can act on.

Pure: exceptions and MQTT reason codes in, `Cause`s and `PublishError`s out. The codes are those of section
2.4 of https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html; paho turns the five of 3.1.1 into them.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from edgevlm.errors import PublishError, SinkRejected, SinkUnreachable
from edgevlm.runtime.egress import EgressRefused

CauseCode = Literal[
    "unreachable",
    "name",
    "tls",
    "refused",
    "version",
    "silent",
    "taken_over",
    "too_large",
    "closed",
    "lost",
    "stuck",
    "fault",
    "forbidden",
    "left",
]
"""`forbidden`: the egress policy refuses it;
`closed`: the broker said why; `lost`: nobody did; `stuck`: it is silent; `left`: we have gone."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is no connection."""

    code: CauseCode
    text: str
    needs_person: bool = False
    """Waiting will hardly help: a login, a certificate or a name is wrong."""


UNSUPPORTED_VERSION = 0x84
TAKEN_OVER = 0x8E
PACKET_TOO_LARGE = 0x95

LEFT = Cause("left", "closed by us")
FELL_SILENT = Cause("stuck", "the broker has fallen silent")
BROKE_OFF = Cause("lost", "the connection broke off")

_NEEDS_PERSON = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9C, 0x9D})

_HINTS = {
    0x84: "the broker does not speak this version of MQTT",
    0x85: "the broker does not accept this client_id",
    0x86: "wrong user name or password",
    0x87: "not authorised: the broker does not let this login in",
    0x88: "the broker is not available now",
    0x89: "the broker is busy",
    0x8A: "this client is banned",
    0x8B: "the broker is shutting down",
    0x8D: "the broker heard nothing from us for too long",
    0x8E: "another client connected with the same client_id",
    0x95: "the broker got a packet that is larger than it takes",
    0x97: "the broker's quota is used up",
    0x98: "closed by the broker's administrator",
    0x9C: "the broker wants us to use another server",
    0x9D: "the broker has moved",
    0x9F: "too many connections",
}

_CERTIFICATE = {
    9: "the broker's certificate is not yet valid (is this box's clock right?)",
    10: "the broker's certificate has expired (or this box's clock is wrong)",
    18: "the broker's certificate is self-signed: name it in tls.ca_file",
    19: "the broker's certificate comes from an unknown authority: name its CA in tls.ca_file",
    20: "the broker's certificate comes from an unknown authority: name its CA in tls.ca_file",
    62: "the broker's certificate is for another host name",
    64: "the broker's certificate is for another address",
}

_NEVER_ACCEPTED = frozenset({0x87, 0x90, 0x95, 0x99})
_PUBLISH_HINTS = {
    0x87: "not authorised to publish there: see the broker's access list",
    0x90: "the broker does not allow this topic",
    0x95: "larger than the broker takes",
    0x97: "the broker's quota is used up",
    0x99: "the broker does not accept this payload",
}


def of_exception(err: Exception, host: str, port: int, *, tls: bool) -> Cause:
    """Say why a connection could not be made."""
    match err:
        case ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            return of_silence(tls=tls)
        case ssl.SSLError():
            return Cause("tls", _tls_text(err, port), needs_person=True)
        case EgressRefused():
            return Cause("forbidden", str(err.strerror), needs_person=True)
        case socket.gaierror():
            return Cause("name", f"the name {host} cannot be resolved: {err.strerror}")
        case OSError():
            return _of_os_error(err, host, port)
        case _:
            return Cause("fault", f"{type(err).__name__}: {err}")


def _of_os_error(err: OSError, host: str, port: int) -> Cause:
    if isinstance(err, ConnectionRefusedError):
        return Cause("unreachable", f"connection refused: nothing listens on {host} port {port}")
    if isinstance(err, TimeoutError):
        return Cause("unreachable", f"no answer from {host} port {port}")
    if err.filename:  # a certificate or key of ours
        return Cause("unreachable", f"cannot read {err.filename}: {err.strerror}", needs_person=True)
    return Cause("unreachable", str(err.strerror or err))


def _tls_text(err: ssl.SSLError, port: int) -> str:
    if isinstance(err, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(err.verify_code, f"the broker's certificate is no good: {err.verify_message}")
    reason = err.reason or str(err)
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "the broker wants a certificate of ours: name it in tls.cert_file and tls.key_file"
    return f"no TLS is spoken on port {port}" if reason == "WRONG_VERSION_NUMBER" else f"TLS failed: {reason}"


def of_silence(*, tls: bool) -> Cause:
    """Say why the other side hung up before it answered CONNECT."""
    hint = "does it speak TLS?" if tls else "does it want TLS?"
    return Cause("silent", f"the other side hung up without a word: is it an MQTT broker, and {hint}")


def of_refusal(reason: int, name: str) -> Cause:
    """Say why the broker answered CONNECT with a refusal."""
    code: CauseCode = "version" if reason == UNSUPPORTED_VERSION else "refused"
    return Cause(code, _HINTS.get(reason, name.lower()), needs_person=reason in _NEEDS_PERSON)


def of_goodbye(reason: int, name: str) -> Cause:
    """Say why the broker closed a connection that stood."""
    codes: dict[int, CauseCode] = {TAKEN_OVER: "taken_over", PACKET_TOO_LARGE: "too_large"}
    hint = _HINTS.get(reason, name.lower())
    return Cause(codes.get(reason, "closed"), f"closed by the broker: {hint}")


def of_publish(sink: str, topic: str, reason: int, name: str, detail: str | None) -> PublishError | None:
    """Return what a PUBACK means: None for success, an error for whether to try again.

    "No matching subscribers" (0x10) is a success: the broker has it, nobody wanted it. Codes that blame the
    broker's state rather than the message are worth another try.
    """
    if reason < 0x80:
        return None
    why = _PUBLISH_HINTS.get(reason, name.lower())
    more = f" ({detail[:200]})" if detail else ""
    error = SinkRejected if reason in _NEVER_ACCEPTED else SinkUnreachable
    return error(sink, f"{topic}: {why}{more}")
