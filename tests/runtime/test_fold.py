"""Like messages are folded, and every one is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.runtime.fold import Fold

SEC = 1_000_000_000


def test_pauses_grow_while_it_goes_on() -> None:
    fold = Fold(first_secs=10, growth=4, cap_secs=100)
    written = [(at, n) for at in range(400) if (n := fold.seen("silent", at * SEC)) is not None]
    assert written == [(0, 0), (10, 9), (50, 39), (150, 99), (250, 99), (350, 99)]


def test_after_a_quiet_time_it_begins_anew() -> None:
    fold = Fold(first_secs=10, growth=4, cap_secs=100)
    assert fold.seen("silent", 0) == 0
    assert fold.seen("silent", 1000 * SEC) == 0
    assert fold.seen("silent", 1011 * SEC) == 0, "the pause is the first one again"


def test_forgetting_tells_what_was_not_told() -> None:
    fold = Fold()
    for at in range(5):
        fold.seen("silent", at * SEC)
    assert fold.forget("silent") == 4
    assert fold.forget("silent") == 0
    assert fold.seen("silent", 5 * SEC) == 0


def test_memory_is_bounded() -> None:
    """The key seen longest ago goes first: one that goes on is still folded."""
    fold = Fold(max_keys=3)
    for number in range(100):
        fold.seen(number, 0)
        assert fold.seen("always", 0) == (0 if number == 0 else None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), max_size=200))
def test_nothing_goes_uncounted(messages: list[tuple[str, int]]) -> None:
    fold, now, told = Fold(), 0, 0
    for key, pause in messages:
        now += pause * SEC
        folded = fold.seen(key, now)
        told += 0 if folded is None else 1 + folded
    assert told + fold.forget("a") + fold.forget("b") == len(messages)
