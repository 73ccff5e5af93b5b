"""Secrets do not survive masking, and harmless text does."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from edgevlm.runtime.redact import MASK, Redactor, is_secret_name

SECRETS = st.text(min_size=4, max_size=24).filter(lambda s: s.strip() == s)
AROUND = st.text(max_size=30)


@given(secret=SECRETS, before=AROUND, after=AROUND)
@example(secret="a***", before="a", after="")
@example(secret="****", before="*", after="*")
@example(secret="p@ss:w/rd#1", before="rtsp://u:", after="@host/x?token=1")
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for text in (
        f"{before}{secret}{after}",
        f"rtsp://viewer:{secret}@10.0.0.21/stream1",
        f"{before}password={secret}{after}",
        json.dumps({"note": secret, "api_key": secret}),
    ):
        assert secret not in redactor.text(text)


@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_an_encoded_secret_never_survives(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    in_url = URL.build(scheme="rtsp", user="viewer", password=secret, host="h").raw_password or secret
    for form in (
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret).replace("%2F", "%2f"),
        in_url,
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        repr(secret)[1:-1],
    ):
        assert form not in redactor.text(f"{before}{form}{after}")


@given(secret=SECRETS, user=st.text(max_size=5), after=st.text(max_size=5))
def test_base64_of_a_secret_never_survives(secret: str, user: str, after: str) -> None:
    """As in basic authentication, at any bit offset."""
    raw = f"{user}:{secret}{after}".encode()
    redactor = Redactor([secret])
    for encoded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        masked = redactor.text(f"header {encoded} end")
        assert MASK in masked
        assert encoded not in masked


@given(
    st.recursive(
        SECRETS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(AROUND, inner)
    )
)
def test_nested_values_and_keys_are_masked(value: object) -> None:
    event = {
        "event": value,
        "list": [value, ("swordfish", {"swordfish": b"swordfish"})],
        "path": Path("/swordfish"),
    }
    masked = Redactor(["swordfish"]).event(None, "info", event)
    assert "swordfish" not in repr(masked)


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing(text: str) -> None:
    redactor = Redactor(["swordfish"])
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("av: 'rtsp://u:bad@host'", "av: 'rtsp://u:***@host'"),
        ("rtsp://u:b@d@host/x and http://a:1@b", "rtsp://u:***@host/x and http://a:***@b"),
        ("rtsp://u:p/w#x@host/x", "rtsp://u:***@host/x"),
        ("rtsp://:only@host", "rtsp://:***@host"),
        ("https://h/x?token=abc&size=3#k", "https://h/x?token=***&size=3#k"),
        ("https://h/x?size=3&api_key=abc", "https://h/x?size=3&api_key=***"),
        ('{"api_key": "sk-1", "model": "m"}', '{"api_key": "***", "model": "m"}'),
        ('{"b": "{\\"api_key\\": \\"sk-1\\", \\"n\\":1}"}', '{"b": "{\\"api_key\\": \\"***\\", \\"n\\":1}"}'),
        ('{"password": "cut off here', '{"password": "***'),
        ("{'clientSecret': 'a\\'b', 'x': 1}", "{'clientSecret': '***', 'x': 1}"),
        ("Basic(password=SecretStr('abc'), n=1)", "Basic(password=SecretStr('***'), n=1)"),
        ("PASSWORD=hunter2 npm", "PASSWORD=*** npm"),
        ("password: hunter2\nuser: x", "password: ***\nuser: x"),
        ("x-api-key: abcdef", "x-api-key: ***"),
        ("Authorization: Basic dXNlcjpwdw==\r\nHost: h", "Authorization: Basic ***\r\nHost: h"),
        ("{'Authorization': 'Bearer abc', 'Accept': '*'}", "{'Authorization': '***', 'Accept': '*'}"),
        ("proxy-authorization=Bearer abc", "proxy-authorization=*** ***"),
        ('Authorization: Digest username="v", response="ab"', "Authorization: Digest ***"),
        ("sent (b'authorization', b'Bearer 0123456789abcdef')", "sent (b'authorization', b'Bearer ***')"),
        (
            "url data:image/jpeg;base64," + "A" * 400 + "== end",
            "url data:image/jpeg;base64,…(402 characters) end",
        ),
    ],
)  # fmt: skip
def test_secrets_are_seen_by_their_place(text: str, masked: str) -> None:
    """Nothing is known beforehand here: these come from servers, libraries and other people's files."""
    assert Redactor().text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "edgevlm.yaml:12:9: models.kimi.api_key: no such credential `moonshot`",
        "edgevlm.yaml:3:1: cameras.dock.source.password: expected a string",
        "a secret: !credential NAME, !file PATH, !env NAME, or a plain string",
        "unknown key: camera (did you mean cameras?)",
        "prompt_tokens=120 max_tokens=64 keyframe=true keyframes=3 author=x",
        "wrong password: connection refused by the camera",
        "http://10.0.0.5:8000/v1/models?x=a@b",
        "http://[::1]:8321/x@y",
        "mqtt://viewer@broker:1883",
        "rtsp://10.0.0.21:554/stream1",
        'usage {"completion_tokens": 7, "token": null}',
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert Redactor(["swordfish"]).text(text) == text


def test_a_short_secret_is_masked_only_as_userinfo() -> None:
    redactor = Redactor(["ab"])
    assert redactor.text("a table, rtsp://u:ab@h, https://ab@h") == "a table, rtsp://u:***@h, https://***@h"


def test_a_secret_inside_a_longer_one_hides_the_longer_one() -> None:
    assert Redactor(["fish", "swordfish-42"]).text("swordfish-42!") == "***!"


def test_numbers_are_kept_unless_they_are_the_secret() -> None:
    masked = Redactor(["4711"]).value({"pin": 4711, "n": 12, "token": 5, "ok": True, "key": None})
    assert masked == {"pin": MASK, "n": 12, "token": MASK, "ok": True, "key": None}


def test_errors_are_shown_by_their_text() -> None:
    masked = Redactor().value([ValueError("at rtsp://u:p@h"), KeyError()])
    assert masked == ["at rtsp://u:***@h", "KeyError"]


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "X-Api-Key", "token", "accessToken", "AUTHORIZATION", "authtoken2"]
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["", "...", "tokens", "key_frames", "keyboard", "author", "secret_origin", "monkey"]
)
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "A" * 300_000,
        "://u:" * 60_000,
        "authorization: basic " + "\\" * 300_000,
        'key="' * 60_000,
        "a.b-" * 75_000 + "key",
    ],
    ids=["letters", "urls", "backslashes", "quotes", "names"],
)
def test_long_hostile_text_takes_no_long_time(text: str) -> None:
    """A server chooses what we log of its answer; a quadratic pattern would take minutes here."""
    Redactor(["\\swordfish\\", '"tuna"x']).text(text)
