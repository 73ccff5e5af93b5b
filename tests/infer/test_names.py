"""Names of a closed set: what counts as the same, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from edgevlm.infer.names import NameSet

NAMES = NameSet(["fire door", "C++", "5", "Straße", "true"], {"fire door": ["exit"]})


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("fire door", "fire door"),
        ("FIRE  DOOR.", "fire door"),
        ('"Fire Door"', "fire door"),
        ("**exit**", "fire door"),
        ("`exit`.", "fire door"),
        ("fi\u200bre door", "fire door"),
        ("c++", "C++"),
        ("STRASSE", "Straße"),
        (5, "5"),
        (5.0, "5"),
        (True, "true"),
        ("Unknown", "unknown"),
        ("door", None),
        ("fire door open", None),
        ("fire-door", None),
        ("", None),
        (5.5, None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
        (None, None),
        (["exit"], None),
    ],
)
def test_match(said: Any, name: str | None) -> None:
    assert NAMES.match(said) == name


def test_a_name_wins_over_an_alias() -> None:
    assert NameSet(["a", "b"], {"a": ["b"]}).match("b") == "b"
