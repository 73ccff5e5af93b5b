"""How sure a model is: what it says of itself, and what the probabilities of its tokens say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from edgevlm.infer.backend import Completion
from edgevlm.infer.lookup import ABSENT, ANSWER_KEYS
from edgevlm.infer.numbers import read_number
from edgevlm.infer.visible import reasoning_end
from edgevlm.records import Confidence

_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,20})?)\s*%\s*")


def self_reported(value: Any) -> float | None:
    """Return what a model says of itself, 0 to 1: 0.9, "0.9", 90 and "90%" are the same; None if unusable.

    A number between 1 and 2 could be either, and one above 100 is neither: no confidence is better than a
    wrong one.
    """
    if isinstance(value, str) and (percent := _PERCENT.fullmatch(value)):
        share = float(percent[1]) / 100
        return share if share <= 1 else None
    number = None if value is ABSENT else read_number(value)
    if number is None or number < 0 or 1 < number < 2 or number > 100:
        return None
    return float(number) if number <= 1 else number / 100


def of_choice(completion: Completion, said: str, reported: Any) -> Confidence | None:
    """Return the confidence in a choice out of a closed set: by its tokens where the server told them."""
    measured = from_logprobs(completion.logprobs, said)
    if measured is not None:
        return Confidence(measured, "logprobs")
    told = self_reported(reported)
    return of_engine(completion) if told is None else Confidence(told, "self-reported")


def of_engine(completion: Completion) -> Confidence | None:
    """Return what an engine on the box measured by itself."""
    told = None if completion.confidence is None else self_reported(completion.confidence)
    return None if told is None else Confidence(told, "self-reported")


def from_logprobs(tokens: Sequence[tuple[str, float]], said: str) -> float | None:
    """Return the product of the probabilities of the tokens that spell `said`; None without such tokens."""
    text = "".join(token for token, _ in tokens)
    start = _position(text, said)
    if start is None:
        return None
    total, at, end = 0.0, 0, start + len(said)
    for token, logprob in tokens:
        if at < end and at + len(token) > start:
            total += 0.0 if logprob > 0 else logprob  # some servers round to a little above; NaN stays
        at += len(token)
    return None if math.isnan(total) else math.exp(total)


def _position(text: str, said: str) -> int | None:
    """Return where the value `said` stands: behind its key, or where it stands only once."""
    begin = reasoning_end(text)
    keys = "|".join(re.escape(key) for key in ANSWER_KEYS)
    value = re.compile(rf'"(?:{keys})"\s*:\s*\[?\s*"?({re.escape(said)})(?![\w-])', re.IGNORECASE)
    if found := value.search(text, begin):
        return found.start(1)
    return text.find(said, begin) if said and text.count(said, begin) == 1 else None
