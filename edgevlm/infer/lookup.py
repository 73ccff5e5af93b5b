"""Looking things up in a model's JSON: a thing has several names, and comes bare or in a list of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CLASS_KEYS = ("class_name", "class", "label", "name", "category")
ANSWER_KEYS = (*CLASS_KEYS, "answer")
LIST_KEYS = (
    "detections",
    "predicted_classes",
    "objects",
    "boxes",
    "results",
    "predictions",
    "classes",
    "labels",
)
CONFIDENCE_KEYS = ("confidence", "score", "probability")

ABSENT: Any = object()
"""Stands for a key that is not there; null is a value."""


def pick(entry: dict[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of `keys` that `entry` has, however spelt (`className`, `Class Name`)."""
    spelt = {_plain(key): value for key, value in entry.items()}
    found = (spelt[_plain(key)] for key in keys if _plain(key) in spelt)
    return next(found, ABSENT)


def only(value: Any) -> Any:
    """Return the one entry of a list of one; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def entries_of(value: Any) -> list[Any] | None:
    """Return the entries of `value`, or of what it holds under a usual key; None without a list."""
    if isinstance(value, list):
        return value
    held = pick(value, LIST_KEYS) if isinstance(value, dict) else ABSENT
    if isinstance(held, dict):
        return [held]
    return held if isinstance(held, list) else None


def _plain(key: str) -> str:
    return key.casefold().replace("_", "").replace(" ", "").replace("-", "")
