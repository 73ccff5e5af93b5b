"""Answers and messages for tests of the publish stage."""

from __future__ import annotations

from typing import Any

from edgevlm.publish.result import ResultContext, build_message
from edgevlm.publish.sink import Message
from edgevlm.records import (
    Answer,
    Clip,
    Confidence,
    Failure,
    Instant,
    ModelUse,
    Picture,
    Question,
    Request,
    Trigger,
    Usage,
)

T0_NS = 1_795_000_000_123_456_789
BOOT_ID = "019b7690a1c8a0b1c2d3e4f5"
CONTEXT = ResultContext(node="gateway-7", boot_id=BOOT_ID, labels={"site": "north"}, clock="synchronized")


def picture(jpeg: bytes = b"\xff\xd8 not really a jpeg \xff\xd9", captured_at_ns: int = T0_NS) -> Picture:
    instant = Instant(session=1, pts_ns=40_000_000, captured_at_ns=captured_at_ns, captured_mono_ns=5)
    return Picture(camera="dock", instant=instant, width=640, height=360, jpeg=jpeg)


def clip(mp4: bytes = b"\0\0\0\x18ftyp not really an mp4") -> Clip:
    return Clip("dock", T0_NS - 10**10, T0_NS, 1920, 1080, 151, "h264", remuxed=True, mp4=mp4)


def answer(
    value: Any = "truck",
    *,
    task: str = "classification",
    camera: str = "dock",
    rule: str = "truck-at-bay",
    request_id: str | None = None,
    **fields: Any,
) -> Answer:
    """Return an `ok` answer; other outcomes by `fields`."""
    trigger = Trigger(camera, rule, "interval", "first", fired_mono_ns=1, request_id=request_id)
    request = Request("req-1", camera, rule, "local", Question(task=task), trigger)
    given: dict[str, Any] = {
        "request": request,
        "outcome": "ok",
        "model": ModelUse("local", "openai-compatible", "tiny-vl", None),
        "asked_at_ns": T0_NS + 50_000_000,
        "answered_at_ns": T0_NS + 950_000_000,
        "pictures": (picture(),),
        "value": value,
        "confidence": Confidence(0.9, "self-reported"),
        "raw": '{"class_name": "truck", "confidence": 0.9}',
        "usage": Usage(prompt_tokens=812, completion_tokens=14, latency_ms=900.0),
        "prompt_version": "classification-1",
    }
    return Answer(**{**given, **fields})


def unknown(**fields: Any) -> Answer:
    return answer(None, outcome="unknown", confidence=None, **fields)


def failed(**fields: Any) -> Answer:
    failure = Failure("timeout", "infer", retryable=True, message="no whole answer in 60 s")
    return answer(None, outcome="error", confidence=None, failure=failure, raw=None, **fields)


def message(seq: int = 1, value: Any = "truck", **fields: Any) -> Message:
    return build_message(answer(value, **fields), context=CONTEXT, seq=seq)
