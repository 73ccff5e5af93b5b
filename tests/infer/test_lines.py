from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.errors import TooLarge
from edgevlm.infer.lines import Events

STREAM = (
    b": OPENROUTER PROCESSING\n\n"
    b'data: {"a": 1}\n\n'
    b"event: message\r\nid: 7\r\ndata:{\xc3\xa4}\r\n\r\n"
    b"data: two\ndata: lines\n\n"
    b"\n\nretry: 10\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = ['{"a": 1}', "{ä}", "two\nlines", "[DONE]"]


def read(*pieces: bytes, max_bytes: int = 1000) -> list[str]:
    events = Events(max_bytes)
    return [event for piece in pieces for event in events.feed(piece)] + events.end()


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=30).map(sorted))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    ends = [*cuts, len(STREAM)]
    assert read(*(STREAM[start:end] for start, end in zip([0, *cuts], ends, strict=True))) == EVENTS


def test_a_last_event_without_its_empty_line_counts() -> None:
    assert read(b"data: 1\n\ndata: 2") == ["1", "2"]


def test_a_line_without_an_end_is_bounded() -> None:
    with pytest.raises(TooLarge):
        read(*[b"data: " + b"x" * 500] * 3)


@given(st.binary())
def test_any_bytes_can_be_read(stream: bytes) -> None:
    assert all(isinstance(event, str) for event in read(stream, max_bytes=10**6))
