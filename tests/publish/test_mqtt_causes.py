"""Causes in words, and which refusals are for good."""

from __future__ import annotations

import socket
import ssl

import pytest

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish import mqtt_causes


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (0x00, None),
        (0x10, None),  # no matching subscribers
        (0x80, SinkUnreachable),
        (0x83, SinkUnreachable),
        (0x87, SinkRejected),
        (0x90, SinkRejected),
        (0x91, SinkUnreachable),
        (0x95, SinkRejected),
        (0x97, SinkUnreachable),
        (0x99, SinkRejected),
        (0xFE, SinkUnreachable),
    ],
)
def test_which_acknowledgement_counts(reason: int, error: type[Exception] | None) -> None:
    outcome = mqtt_causes.of_publish("broker", "a/b", reason, "Some Name", "the broker's own words")
    assert (None if outcome is None else type(outcome)) is error
    if outcome is not None:
        assert outcome.message.startswith("a/b: ")
        assert "the broker's own words" in outcome.message


def tls_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    error.verify_message = "as OpenSSL says"
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConnectionRefusedError(), "unreachable", "nothing listens on broker.lan port 8883"),
        (TimeoutError(), "unreachable", "no answer from broker.lan port 8883"),
        (socket.gaierror(-2, "Name or service not known"), "name", "broker.lan cannot be resolved"),
        (OSError(113, "No route to host"), "unreachable", "No route to host"),
        (FileNotFoundError(2, "No such file", "/etc/ca.pem"), "unreachable", "cannot read /etc/ca.pem"),
        (tls_error(10), "tls", "has expired"),
        (tls_error(9), "tls", "not yet valid"),
        (tls_error(18), "tls", "self-signed"),
        (tls_error(20), "tls", "unknown authority"),
        (tls_error(62), "tls", "another host name"),
        (tls_error(99), "tls", "as OpenSSL says"),
        (ConnectionResetError(), "silent", "does it speak TLS?"),
        (ssl.SSLEOFError(), "silent", "does it speak TLS?"),
        (AttributeError("x"), "fault", "AttributeError: x"),
    ],
)
def test_why_a_connection_could_not_be_made(error: Exception, code: str, text: str) -> None:
    cause = mqtt_causes.of_exception(error, "broker.lan", 8883, tls=True)
    assert cause.code == code
    assert text in cause.text


def test_a_login_needs_a_person_and_a_busy_broker_does_not() -> None:
    assert mqtt_causes.of_refusal(0x86, "Bad user name or password").needs_person
    assert not mqtt_causes.of_refusal(0x89, "Server busy").needs_person
    assert mqtt_causes.of_refusal(0x84, "Unsupported protocol version").code == "version"


def test_goodbyes() -> None:
    assert mqtt_causes.of_goodbye(0x8E, "Session taken over").code == "taken_over"
    assert mqtt_causes.of_goodbye(0x95, "Packet too large").code == "too_large"
    assert mqtt_causes.of_goodbye(0x93, "Receive maximum exceeded").text.endswith("receive maximum exceeded")
