"""Reading of commands: what is one, what is refused, and that nothing raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.publish.command import Command, Refusal, parse_command


@pytest.mark.parametrize(
    ("path", "payload", "command"),
    [
        ("dock/plate/ask", b"", Command("ask", "dock", "plate")),
        ("dock/plate/ask", b" {} ", Command("ask", "dock", "plate")),
        ("dock/plate/ask", b'{"prompt": "Why?"}', Command("ask", "dock", "plate", prompt="Why?")),
        ("dock/plate/ask", b'{"request_id": "7"}', Command("ask", "dock", "plate", request_id="7")),
        ("dock/plate/enable", b"true", Command("enable_rule", "dock", "plate", enabled=True)),
        ("dock/plate/enable", b"false\n", Command("enable_rule", "dock", "plate", enabled=False)),
        ("dock/enable", b"false", Command("enable_camera", "dock", enabled=False)),
        ("dock/plate/interval", b"30", Command("interval", "dock", "plate", every_secs=30.0)),
        ("dock/plate/interval", b"0.05", Command("interval", "dock", "plate", every_secs=0.05)),
    ],
)
def test_commands(path: str, payload: bytes, command: Command) -> None:
    assert parse_command(path, payload) == command


@pytest.mark.parametrize(
    ("path", "payload", "why"),
    [
        ("dock/plate/ask", b"now", "neither empty nor JSON"),
        ("dock/plate/ask", b"[" * 4000, "neither empty nor JSON"),
        ("dock/plate/ask", b"[]", "a JSON object"),
        ("dock/plate/ask", b'{"promt": "x"}', "unknown field 'promt'"),
        ("dock/plate/ask", b'{"prompt": 3}', "are texts"),
        ("dock/plate/ask", b'{"prompt": " "}', "not empty"),
        ("dock/plate/ask", b'{"prompt": "\\ud800"}', "are texts"),
        ("dock/plate/ask", json.dumps({"request_id": "x" * 129}).encode(), "more than 128"),
        ("dock/plate/ask", b"\xff\xfe", "not UTF-8"),
        ("dock/plate/ask", b" " * 4097, "at most 4096"),
        ("dock/plate/enable", b"True", "true or false"),
        ("dock/plate/enable", b"", "true or false"),
        ("dock/plate/interval", b"soon", "number of seconds"),
        ("dock/plate/interval", b"nan", "number of seconds"),
        ("dock/plate/interval", b"-1", "number of seconds"),
        ("dock/plate/interval", b"0.04", "must lie between"),
        ("dock/plate/interval", b"99999999", "must lie between"),
        ("dock/plate", b"", "no such command"),
        ("dock/plate/ask/more", b"", "no such command"),
        ("ask", b"", "no such command"),
        ("", b"", "names hold only"),
        ("Dock/plate/ask", b"", "names hold only"),
        ("dock//ask", b"", "names hold only"),
        ("dock/pla\nte/ask", b"", "names hold only"),
    ],
)
def test_what_is_refused(path: str, payload: bytes, why: str) -> None:
    refusal = parse_command(path, payload)
    assert isinstance(refusal, Refusal)
    assert why in refusal.why


ASKED: Any = st.dictionaries(st.sampled_from(["prompt", "request_id", "x"]), st.text() | st.integers())


@given(
    path=st.text(max_size=60) | st.sampled_from(["a/b/ask", "a/b/enable", "a/enable", "a/b/interval"]),
    payload=st.binary(max_size=200) | ASKED.map(lambda fields: json.dumps(fields).encode()),
)
def test_nothing_raises(path: str, payload: bytes) -> None:
    outcome = parse_command(path, payload)
    if isinstance(outcome, Refusal):
        assert outcome.why
    else:
        assert outcome.kind in {"ask", "enable_rule", "enable_camera", "interval"}
