"""The short current value of a rule: one line that fits a display or a home-automation state."""

from __future__ import annotations

import json
import re

from edgevlm.records import JsonValue

MAX_CHARS = 255
EMPTY = "-"
"""Stands for no text and no labels: an empty retained payload would delete the topic."""

_INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def short_state(task: str, value: JsonValue) -> str:
    """Return what the `state` topic shows for an `ok` answer."""
    if task == "structured-answering":
        return _whole_or_nothing(value)
    return shorten(_text(task, value)) or EMPTY


def _text(task: str, value: JsonValue) -> str:
    match task:
        case "multi-label-classification":
            return ", ".join(str(label["class"]) for label in value)
        case "object-detection":
            return str(len(value))
        case "ocr":
            return str(value["text"])
        case _:
            return str(value)


def _whole_or_nothing(value: JsonValue) -> str:
    """Return an object as JSON: cut anywhere, it would not be JSON any more."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= MAX_CHARS else "{}"


def shorten(text: str, limit: int = MAX_CHARS) -> str:
    """Return `text` in one line, cut at a word where that leaves anything."""
    line = _BLANK.sub(" ", _INVISIBLE.sub("", text)).strip()
    if len(line) <= limit:
        return line
    words = line[: limit + 1].rpartition(" ")[0]
    return words or line[:limit]
