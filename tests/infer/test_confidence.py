"""Confidence: what a model says of itself, and what its tokens say."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgevlm.infer.confidence import from_logprobs, self_reported


@pytest.mark.parametrize(
    ("value", "share"),
    [
        (0, 0.0),
        (0.9, 0.9),
        (1, 1.0),
        ("0.9", 0.9),
        (90, 0.9),
        (100.0, 1.0),
        ("90%", 0.9),
        (" 90.5 % ", 0.905),
        (1.5, None),
        (101, None),
        ("101%", None),
        (-0.1, None),
        (True, None),
        (None, None),
        ("high", None),
        (math.nan, None),
        (math.inf, None),
        (1111111111111111, None),
        ([0.9], None),
    ],
)
def test_self_reported(value: Any, share: float | None) -> None:
    assert self_reported(value) == (None if share is None else pytest.approx(share))


def tokens(*pieces: tuple[str, float]) -> list[tuple[str, float]]:
    """Return tokens with the logs of their probabilities."""
    return [(text, math.log(probability) if probability else -math.inf) for text, probability in pieces]


@pytest.mark.parametrize(
    ("pieces", "said", "share"),
    [
        ([("truck", 0.5)], "truck", 0.5),
        ([("tr", 0.5), ("uck", 0.5)], "truck", 0.25),
        (
            [('{"class_name": "', 0.1), ("tr", 0.5), ('uck"', 0.5), (', "confidence": 0.9}', 0.1)],
            "truck",
            0.25,
        ),
        ([("<think>truck or ", 0.1), ("truck?</think>", 0.1), ("truck", 0.5)], "truck", 0.5),
        (
            [('{"reason": "a ', 0.1), ("truck", 0.1), ('", "class": "', 0.1), ("truck", 0.5), ('"}', 0.1)],
            "truck",
            0.5,
        ),
        ([('{"answer": ', 0.1), ("5", 0.5), ("}", 0.1)], "5", 0.5),
        ([("truck", 0.0)], "truck", 0.0),
        ([("truck", 1.0000001)], "truck", 1.0),
        ([("van", 0.5)], "truck", None),
        ([("truck ", 0.5), ("truck", 0.5)], "truck", None),
        ([], "truck", None),
        ([("truck", 0.5)], "", None),
    ],
)
def test_from_logprobs(pieces: list[tuple[str, float]], said: str, share: float | None) -> None:
    found = from_logprobs(tokens(*pieces), said)
    assert found == (None if share is None else pytest.approx(share))


def test_a_logprob_that_is_no_number_gives_no_confidence() -> None:
    assert from_logprobs([("truck", math.nan)], "truck") is None
