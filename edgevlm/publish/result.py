"""Turns an answer into the message that every sink gets: the result document, the state, the value.

The document's shape is the promise of `result.schema.json` beside this file (`docs/result.schema.json` is the
same). Every field is always there, null or false where it means nothing. An `id` is `BOOT_ID-SEQ`: whoever
sorts by it gets the order in which this daemon answered; no other daemon or start ever gives it away again.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from edgevlm.publish.sink import Evidence, Message
from edgevlm.publish.state import short_state
from edgevlm.records import Answer, Clip, JsonValue, Picture
from edgevlm.runtime.timesync import ClockState

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ResultContext:
    """What a result says of the box that it comes from."""

    node: str
    boot_id: str
    """From `new_boot_id`, made once when the daemon starts."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The node's, the camera's and the rule's, merged."""
    clock: ClockState = "unsynchronized"


def new_boot_id(utc_ns: int) -> str:
    """Return the name of one run of the daemon: its start in milliseconds, then chance, 24 hex digits.

    The time in front makes later runs sort after earlier ones; chance keeps boxes apart, and runs on a box
    whose clock starts in 1970 each time.
    """
    return f"{max(0, utc_ns) // 1_000_000:012x}{secrets.token_hex(6)}"


def rfc3339(utc_ns: int) -> str:
    """Return the time as `2026-11-21T07:30:00.123Z`."""
    secs, rest_ns = divmod(utc_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(secs, UTC).replace(microsecond=rest_ns // 1_000_000 * 1000, tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def build_message(answer: Answer, *, context: ResultContext, seq: int) -> Message:
    """Return the message for `answer`; `seq` counts the answers of this run of the daemon."""
    document = _document(answer, context, seq)
    told = answer.outcome != "error"
    return Message(
        id=document["id"],
        camera=answer.request.camera,
        rule=answer.request.rule,
        document=document,
        state=_state(answer, document) if told else None,
        value=_value(document) if told else None,
        evidence=_evidence(answer),
    )


def encode(document: Mapping[str, Any]) -> bytes:
    """Return `document` as compact JSON in one line of UTF-8."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of the result document."""
    text = files("edgevlm.publish").joinpath("result.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _document(answer: Answer, context: ResultContext, seq: int) -> dict[str, Any]:
    request, trigger = answer.request, answer.request.trigger
    captured = [picture.instant.captured_at_ns for picture in answer.pictures]
    document = {
        "schema_version": SCHEMA_VERSION,
        "id": f"{context.boot_id}-{seq:012d}",
        "request_id": trigger.request_id or request.id,
        "seq": seq,
        "boot_id": context.boot_id,
        "node": context.node,
        "camera": request.camera,
        "rule": request.rule,
        "task": request.question.task,
        "classes": list(request.question.classes or request.question.answers),
        "outcome": answer.outcome,
        "value": answer.value if answer.outcome == "ok" else None,
        "confidence": asdict(answer.confidence) if answer.confidence else None,
        "error": asdict(answer.failure) if answer.failure else None,
        "raw": answer.raw,
        "captured_at": rfc3339(max(captured)) if captured else None,
        "asked_at": rfc3339(answer.asked_at_ns),
        "answered_at": rfc3339(answer.answered_at_ns),
        "clock": context.clock,
        "frames": [_frame(picture) for picture in answer.pictures],
        "clip": None if answer.clip is None else _clip(answer.clip),
        "trigger": {"type": trigger.type, "reason": trigger.reason},
        "model": asdict(answer.model),
        "usage": asdict(answer.usage),
        "labels": dict(context.labels),
        "prompt_version": answer.prompt_version,
        "attempts": answer.attempts,
        "late": False,
        "offline": False,
        "truncated": answer.truncated,
        "repaired": answer.repaired,
        "reused": False,
        "durable": True,
        "confirmed_by": None,
    }
    return {key: writable(value) for key, value in document.items()}


def _frame(picture: Picture) -> dict[str, Any]:
    return {
        "captured_at": rfc3339(picture.instant.captured_at_ns),
        "sha256": picture.sha256,
        "width": picture.width,
        "height": picture.height,
        "evidence": None,
    }


def _clip(clip: Clip) -> dict[str, Any]:
    return {
        "captured_from": rfc3339(clip.captured_from_ns),
        "captured_to": rfc3339(clip.captured_to_ns),
        "sha256": clip.sha256,
        "width": clip.width,
        "height": clip.height,
        "frames": clip.frames,
        "evidence": None,
    }


def _evidence(answer: Answer) -> tuple[Evidence, ...]:
    pictures = [Evidence(jpeg=picture.jpeg) for picture in answer.pictures]
    clips = [] if answer.clip is None else [Evidence(mp4=answer.clip.mp4)]
    return (*pictures, *clips)


def _value(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of the `value` topic: what is known now, and since which picture."""
    return {key: document[key] for key in ("id", "captured_at", "outcome", "value", "confidence")}


def _state(answer: Answer, document: Mapping[str, Any]) -> str:
    if answer.outcome == "unknown":
        return "unknown"
    return short_state(answer.request.question.task, document["value"])


def writable(value: JsonValue) -> JsonValue:
    """Return `value` with what JSON in UTF-8 cannot hold replaced: half surrogates, infinities, NaN.

    Models produce all three, and a message that cannot be written would be lost at every sink.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {writable(str(key)): writable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [writable(inner) for inner in value]
        case _:
            return value
