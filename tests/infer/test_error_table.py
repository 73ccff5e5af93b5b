"""What servers were seen to answer (status, body), and which of our errors it must become.

`tests/data/refusals.jsonl` holds the bodies, named by vendor or server. A wrong class here means an endless
retry of something that cannot work, or an alarm about something that would have healed by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm.errors import (
    ContentFiltered,
    InferError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    PictureRejected,
    QuotaExceeded,
    TooLarge,
)
from edgevlm.infer import dashscope, openrouter
from edgevlm.infer.refusal import MESSAGE_CHARS, RAW_CHARS, classify, read_refusal
from edgevlm.runtime.redact import Redactor

DATA = Path(__file__).parent.parent / "data"
KINDS = (
    ContentFiltered,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    PictureRejected,
    QuotaExceeded,
    TooLarge,
)


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


VENDORS = {"dashscope": dashscope.MEANINGS, "openrouter": openrouter.MEANINGS}
"""Rows with a `vendor` are read with that vendor's own meanings first, as its backend does."""
HTML_502 = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
ROWS = [json.loads(line) for line in (DATA / "refusals.jsonl").read_text().splitlines()]


def as_bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in ROWS])
def test_each_refusal_becomes_the_error_that_says_what_to_do(row: dict[str, Any]) -> None:
    meanings = VENDORS.get(row.get("vendor", ""), ())
    found = classify(row["status"], as_bytes(row["body"]), {}, meanings=meanings)
    assert type(found).__name__ == row["error"], found.message


def test_the_table_covers_every_kind_of_refusal() -> None:
    assert len(ROWS) >= 60
    assert {row["error"] for row in ROWS} == {kind.__name__ for kind in KINDS}


def test_depth_is_survived() -> None:
    assert type(classify(400, b"[" * 20_000, {})) is ModelRefused


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
PAUSES: list[tuple[str, dict[str, str], Any, float | None]] = [
    ("seconds", {"Retry-After": "12"}, "", 12.0),
    ("fraction", {"retry-after": "0.5"}, "", 0.5),
    ("milliseconds-win", {"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
    (
        "http-date-by-the-servers-clock",
        {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": DATE},
        "",
        30.0,
    ),
    ("http-date-passed", {"Retry-After": "Wed, 21 Oct 2026 07:27:30 GMT", "Date": DATE}, "", 0.0),
    ("http-date-without-date", {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, "", None),
    ("rubbish", {"Retry-After": "soon"}, "", None),
    ("negative", {"Retry-After": "-5"}, "", None),
    ("a-day-is-capped", {"Retry-After": "86400"}, "", 3600.0),
    ("reset-in-seconds", {"X-RateLimit-Reset": "7"}, "", 7.0),
    ("reset-as-milliseconds-since-1970", {"X-RateLimit-Reset": "1792567690000", "Date": DATE}, "", 10.0),
    ("words", {}, error("please try again after 3 seconds"), 3.0),
    ("words-ms", {}, error("Please try again in 20ms."), 0.02),
    ("words-minutes", {}, error("Please retry in 2m30s"), 120.0),
    ("gemini", {}, [error("quota", details=[{"retryDelay": "34.5s"}])], 34.5),
    ("openrouter", {}, error("busy", availability={"code": "capacity_exhausted", "retry_after": 9}), 9.0),
    ("none", {}, error("busy"), None),
]


@pytest.mark.parametrize(("headers", "body", "secs"), [pytest.param(*row[1:], id=row[0]) for row in PAUSES])
def test_the_server_s_wish_for_a_pause_is_understood(
    headers: dict[str, str], body: Any, secs: float | None
) -> None:
    assert classify(429, as_bytes(body), headers).retry_after_secs == pytest.approx(secs)


def test_a_message_shows_what_the_server_said_in_one_short_line() -> None:
    found = classify(400, as_bytes(error("Grammar error:\n  Invalid type: objekt")), {})
    assert found.message == "the server answered 400: Grammar error: Invalid type: objekt"
    assert len(classify(400, as_bytes(error("long " * 500)), {}).message) == MESSAGE_CHARS


def test_html_shows_its_title_only() -> None:
    assert classify(502, HTML_502, {}).message == "the server answered 502: 502 Bad Gateway"


def test_pictures_and_keys_that_a_server_echoes_stay_out() -> None:
    picture = "data:image/jpeg;base64," + "QUJD" * 5000
    bare = "QUJD" * 5000
    body = {
        "detail": [{"loc": ["body", 0], "msg": f"bad {picture} or {bare}", "input": {"messages": picture}}]
    }
    body["detail"][0]["ctx"] = "Authorization: Bearer sk-verysecret1234567890"
    found = classify(422, as_bytes(body), {}, redactor=Redactor(["sk-verysecret1234567890"]))
    for text in (found.message, found.raw or ""):
        assert "QUJDQUJD" not in text
        assert "sk-verysecret" not in text
    assert found.message.startswith("the server answered 422: bad data:image/jpeg")


def test_a_long_body_is_kept_short() -> None:
    found = classify(500, b"x y " * 100_000, {})
    assert found.raw is not None
    assert len(found.raw) <= RAW_CHARS


def test_fields_are_found_wherever_servers_name_them() -> None:
    param = read_refusal(400, as_bytes(error("no", param="stream")), {})
    loc = read_refusal(422, as_bytes({"detail": [{"loc": ["body", "stream"], "msg": "no"}]}), {})
    quoted = read_refusal(422, as_bytes({"detail": "Unsupported fields: {'stream', 'n'}"}), {})
    assert all("stream" in refusal.fields for refusal in (param, loc, quoted))
    assert "stream" not in read_refusal(400, as_bytes(error("only support stream mode")), {}).fields


def test_what_a_server_echoes_of_the_request_is_not_what_it_complains_about() -> None:
    echo = {"detail": [{"loc": ["body"], "msg": "not JSON", "input": {"error": "temperature"}}]}
    assert not read_refusal(422, as_bytes(echo), {}).mentions("temperature")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "loc", "type", "raw", "x"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    status=st.integers(200, 599), body=json_values.map(lambda value: json.dumps(value).encode()) | st.binary()
)
def test_no_body_is_too_strange(status: int, body: bytes) -> None:
    found = classify(status, body, {"Retry-After": body[:20].decode(errors="replace")})
    assert isinstance(found, InferError)
    assert len(found.message) <= MESSAGE_CHARS
    assert found.retry_after_secs is None or 0 <= found.retry_after_secs <= 3600
