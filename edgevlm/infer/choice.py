"""Answers out of a closed set: one name, or several labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgevlm.errors import BadAnswer
from edgevlm.infer.confidence import self_reported
from edgevlm.infer.lookup import ABSENT, ANSWER_KEYS, CONFIDENCE_KEYS, only, pick
from edgevlm.infer.names import UNKNOWN, NameSet, spoken

MAX_SHOWN_CHARS = 60
"""Of what a model said instead, in an error's message."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The name that a model chose."""

    name: str
    """As configured, or `unknown`."""
    said: str
    """As the model wrote it."""
    confidence: Any = ABSENT
    """What the model said of its confidence, unjudged."""


def read_choice(value: Any, names: NameSet, keys: Sequence[str] = ANSWER_KEYS) -> Choice:
    """Read one name out of an object, a list of one, or a bare string.

    Raises:
        BadAnswer: there is no name, or one outside the set.

    """
    entry, confidence = only(value), ABSENT
    if isinstance(entry, dict):
        confidence = pick(entry, CONFIDENCE_KEYS)
        entry = only(pick(entry, keys))
    said = None if entry is ABSENT else spoken(entry)
    if said is None:
        raise BadAnswer("the answer names no class")
    name = names.match(said)
    if name is None:
        raise BadAnswer(f"{shown(said)} is not among the {len(names.names)} names that were asked for")
    return Choice(name, said, confidence)


def read_labels(entries: list[Any], names: NameSet) -> list[dict[str, Any]] | None:
    """Return the labels of a list's entries; None when the model says `unknown` and nothing else.

    A label outside the set is dropped, one that is said twice counts once with its highest confidence, and
    one with confidence 0 is not there.

    Raises:
        BadAnswer: entries came, and all are outside the set.

    """
    chosen = [choice for entry in entries if (choice := _choice(entry, names))]
    if entries and not chosen:
        raise BadAnswer("none of the labels is among the classes that were asked for")
    if chosen and all(choice.name == UNKNOWN for choice in chosen):
        return None
    labels: dict[str, float | None] = {}
    for choice in chosen:
        told = self_reported(choice.confidence)
        if choice.name != UNKNOWN and told != 0:
            labels[choice.name] = _higher(labels.get(choice.name), told)
    return [{"class": name, "confidence": told} for name, told in labels.items()]


def read_plain_labels(text: str, names: NameSet) -> list[Any] | None:
    """Return the names of a plain list (`vest, helmet`) if there is nothing else in it."""
    if whole := names.match(text):
        return [whole]
    parts = [part.strip(" \t-*•") for part in re.split(r"[,;\n]", text) if part.strip()]
    matched = [names.match(part) for part in parts]
    return [name for name in matched if name] if parts and all(matched) else None


def shown(said: str) -> str:
    """Return what a model said, short enough for a message."""
    return repr(said if len(said) <= MAX_SHOWN_CHARS else f"{said[:MAX_SHOWN_CHARS]}…")


def _choice(entry: Any, names: NameSet) -> Choice | None:
    try:
        return read_choice(entry, names)
    except BadAnswer:
        return None


def _higher(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
