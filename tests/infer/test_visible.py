"""What is visible of a completion."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.infer.visible import MAX_COMPLETION_CHARS, bounded_raw, clean, one_line, visible_text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("<think>a</think> b", "b"),
        ("<THINK>a</think>\nb", "b"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("a</think>b</think>c", "c"),
        ("<think>a", ""),
        ("b <think>a</think> c", "b  c"),
        ("<think></think>b", "b"),
        ("b<|im_end|>", "b"),
        ("b</s>\n", "b"),
        ("a </s> b", "a </s> b"),
        ("<|begin_of_box|>b<|end_of_box|>", "b"),
        ("a < b and <b> c", "a < b and <b> c"),
        ('{"note": "</think> <think>"}', '{"note": "</think> <think>"}'),
        ('{"note": 1} </think> b', "b"),
    ],
)
def test_reasoning_is_not_visible(text: str, visible: str) -> None:
    assert visible_text(text) == visible


@given(st.text())
def test_clean_text_can_be_shown_and_sent(text: str) -> None:
    shown = clean(text)
    shown.encode()
    assert clean(shown) == shown
    controls = {char for char in shown if unicodedata.category(char) == "Cc"}
    assert controls <= {"\n", "\t"}
    assert not any(unicodedata.bidirectional(char) in BIDIRECTIONAL for char in shown)


BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_joiners_stay() -> None:
    """Scripts and emoji are made of them."""
    assert (
        clean("\U0001f468\u200d\U0001f33e \u0645\u06cc\u200c")
        == "\U0001f468\u200d\U0001f33e \u0645\u06cc\u200c"
    )


def test_one_line() -> None:
    assert one_line(" a\r\n\tb\u202e ") == "a b"


def test_bounds() -> None:
    assert len(visible_text("x" * (MAX_COMPLETION_CHARS + 1))) == MAX_COMPLETION_CHARS
    assert bounded_raw("\ud800" + "x" * 3000) == "\ufffd" + "x" * 1999
