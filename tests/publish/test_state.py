"""The short state by task, and that it always fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.publish.state import short_state, shorten

LONG = {"text": "x" * 300}


@pytest.mark.parametrize(
    ("task", "value", "state"),
    [
        ("classification", "truck", "truck"),
        ("visual-question-answering", "yes", "yes"),
        ("caption", "Two lines\n and\ta tab", "Two lines and a tab"),
        ("ocr", {"text": "4711\n0815", "lines": ["4711", "0815"]}, "4711 0815"),
        ("ocr", {"text": "", "lines": []}, "-"),
        ("multi-label-classification", [{"class": "rain"}, {"class": "truck"}], "rain, truck"),
        ("multi-label-classification", [], "-"),
        ("object-detection", [{}, {}, {}], "3"),
        ("object-detection", [], "0"),
        ("structured-answering", {"gate": "open", "n": 1}, '{"gate":"open","n":1}'),
        ("structured-answering", {"note": "two  blanks"}, '{"note":"two  blanks"}'),
        ("structured-answering", LONG, "{}"),
        ("unconstrained", "evil \u202etxt.exe\x00", "evil txt.exe"),
    ],
)
def test_state_by_task(task: str, value: Any, state: str) -> None:
    assert short_state(task, value) == state


def test_text_is_cut_at_a_word() -> None:
    text = "word " * 60
    state = short_state("caption", text)
    assert state == ("word " * 51).strip()
    assert short_state("caption", "x" * 300) == "x" * 255
    assert short_state("caption", "x" * 255) == "x" * 255
    assert short_state("caption", "x" * 255 + " y") == "x" * 255


@given(st.text(max_size=600))
def test_text_fits_whatever_it_is(text: str) -> None:
    short = shorten(text)
    assert len(short) <= 255
    assert short == short.strip()
    assert not any(character in short for character in "\r\n\t\x00\u202e")
    assert 1 <= len(short_state("caption", text)) <= 255  # an empty one would delete the topic


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=80) | st.integers(), max_size=8))
def test_an_object_is_whole_or_empty(value: dict[str, Any]) -> None:
    state = short_state("structured-answering", value)
    assert len(state) <= 255
    assert json.loads(state) in (value, {})
