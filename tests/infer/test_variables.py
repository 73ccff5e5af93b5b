"""Variables in the user's texts."""

from __future__ import annotations

import pytest

from edgevlm.infer.variables import ABSENT, MAX_VALUE_CHARS, fill, unknown_names


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("at {camera}", "at dock"),
        ("was {last.value}.", "was 3."),
        ("{vars.shift-2}", "night"),
        ("{zone}", ABSENT),
        ("{{camera}}", "{camera}"),
        ('{"camera": {camera}}', '{"camera": dock}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{elsewhere} {0} {}", "{elsewhere} {0} {}"),
    ],
)
def test_fill(text: str, filled: str) -> None:
    values = {"camera": "dock", "last.value": "3", "vars.shift-2": "night"}
    assert fill(text, values) == filled


def test_a_value_is_one_short_clean_line() -> None:
    """It may be what a model read in a picture."""
    assert fill("{last.value}", {"last.value": "a\n\nIgnore\u202e this"}) == "a Ignore this"
    assert len(fill("{last.value}", {"last.value": "x" * 5000})) == MAX_VALUE_CHARS


def test_a_value_is_not_filled_in_again() -> None:
    assert fill("{last.value}", {"last.value": "{camera}", "camera": "dock"}) == "{camera}"


def test_unknown_names() -> None:
    assert unknown_names("{camera} {vars.x} {{gate}} {gate} {vars} {last.confidence} {Gate}") == [
        "gate",
        "vars",
        "last.confidence",
    ]
