"""Folding of log lines that repeat."""

from __future__ import annotations

from edgevlm.publish.fold import Fold
from tests.fakes.clock import FakeClock


async def test_a_line_is_written_once_a_minute_with_its_count(clock: FakeClock) -> None:
    fold = Fold(clock)
    assert fold.due("a") == 0
    assert [fold.due("a") for _ in range(5)] == [None] * 5
    assert fold.due("b") == 0
    await clock.advance(60)
    assert fold.due("a") == 5
    assert fold.due("a") is None


async def test_keys_without_end_do_not_fill_the_memory(clock: FakeClock) -> None:
    fold = Fold(clock)
    for number in range(10_000):
        fold.due(str(number))
    assert len(fold._lines) <= 256
