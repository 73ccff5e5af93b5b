"""Reads commands: what may be told to a running daemon over MQTT, below `PREFIX/NODE/cmd/`.

    cmd/CAMERA/RULE/ask         empty, or {"prompt": "…", "request_id": "…"} (both optional)
    cmd/CAMERA/RULE/enable      true | false
    cmd/CAMERA/enable           true | false
    cmd/CAMERA/RULE/interval    seconds

Whatever arrives is either a `Command` or a `Refusal` in words; nothing raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

CommandKind = Literal["ask", "enable_rule", "enable_camera", "interval"]
Reply = Callable[[dict[str, Any]], None]

MAX_PAYLOAD_BYTES = 4096
MAX_REQUEST_ID_CHARS = 128
SHORTEST_INTERVAL_SECS = 0.05
LONGEST_INTERVAL_SECS = 31_536_000.0

_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell them, nothing can carry them on


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do; which fields are set follows from `kind`."""

    kind: CommandKind
    camera: str
    rule: str | None = None
    """None for `enable_camera`."""
    prompt: str | None = None
    """`ask`: replaces the rule's prompt for this one question."""
    request_id: str | None = None
    """`ask`: echoed in the result."""
    enabled: bool | None = None
    """`enable_rule`, `enable_camera`."""
    every_secs: float | None = None
    """`interval`."""
    reply: Reply | None = field(default=None, compare=False, repr=False)
    """Answers the sender with a JSON object, where it asked for that (MQTT 5 response topic)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not a command."""

    why: str


def parse_command(path: str, payload: bytes) -> Command | Refusal:
    """Read a command from its topic below `cmd/` and its payload."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Refusal(f"the payload has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        return Refusal("the payload is not UTF-8")
    return _command(path.split("/"), text)


def _command(levels: list[str], text: str) -> Command | Refusal:
    if not all(_NAME.fullmatch(level) for level in levels):
        return Refusal("names hold only a-z, 0-9, _ and -")
    match levels:
        case [camera, rule, "ask"]:
            return _ask(camera, rule, text)
        case [camera, rule, "interval"]:
            return _interval(camera, rule, text)
        case [camera, rule, "enable"]:
            return _enable("enable_rule", camera, rule, text)
        case [camera, "enable"]:
            return _enable("enable_camera", camera, None, text)
        case _:
            return Refusal(
                "there is no such command: see CAMERA/RULE/ask, …/enable, …/interval, CAMERA/enable"
            )


def _ask(camera: str, rule: str, text: str) -> Command | Refusal:
    fields = _object(text) if text else {}
    if isinstance(fields, Refusal):
        return fields
    unknown = sorted(set(fields) - {"prompt", "request_id"})
    if unknown:
        return Refusal(f"unknown field {unknown[0]!r}: there are prompt and request_id")
    prompt, request_id = fields.get("prompt"), fields.get("request_id")
    if not _text_or_none(prompt) or not _text_or_none(request_id):
        return Refusal("prompt and request_id are texts, and not empty")
    if request_id is not None and len(request_id) > MAX_REQUEST_ID_CHARS:
        return Refusal(f"request_id has more than {MAX_REQUEST_ID_CHARS} characters")
    return Command("ask", camera, rule, prompt=prompt, request_id=request_id)


def _enable(kind: CommandKind, camera: str, rule: str | None, text: str) -> Command | Refusal:
    if text not in {"true", "false"}:
        return Refusal("the payload must be true or false")
    return Command(kind, camera, rule, enabled=text == "true")


def _interval(camera: str, rule: str, text: str) -> Command | Refusal:
    if not _SECONDS.fullmatch(text):
        return Refusal("the payload must be a number of seconds")
    secs = float(text)
    if not SHORTEST_INTERVAL_SECS <= secs <= LONGEST_INTERVAL_SECS:
        return Refusal(f"seconds must lie between {SHORTEST_INTERVAL_SECS} and {LONGEST_INTERVAL_SECS:.0f}")
    return Command("interval", camera, rule, every_secs=secs)


def _object(text: str) -> dict[str, Any] | Refusal:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Refusal("the payload is neither empty nor JSON")
    if not isinstance(value, dict):
        return Refusal("the payload must be empty or a JSON object")
    return value


def _text_or_none(value: object) -> bool:
    if not isinstance(value, str):
        return value is None
    return bool(value.strip()) and not _HALF_SURROGATE.search(value)
