"""How keyframes are thinned out to looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.pace import LookPace

MS = 1_000_000
START = 10**12


def taken(arrivals_ms: list[float], interval_ms: int = 1000) -> list[float]:
    pace, looks = LookPace(interval_ms), []
    for arrival in arrivals_ms:
        now_ns = START + round(arrival * MS)
        if pace.due(now_ns):
            pace.taken(now_ns)
            looks.append(arrival)
    return looks


@given(st.lists(st.floats(-60, 60), min_size=50, max_size=50))
def test_a_keyframe_a_second_is_a_look_a_second_however_late_each_comes(jitter_ms: list[float]) -> None:
    """Were a look due only after the whole interval, every second one would be lost to a late first."""
    arrivals = [1000 * number + late for number, late in enumerate(jitter_ms)]
    assert taken(arrivals) == arrivals


@given(st.sampled_from([1, 7, 40, 200, 333]), st.sampled_from([100, 1000]))
def test_many_keyframes_give_one_look_an_interval_on_average(step_ms: int, interval_ms: int) -> None:
    arrivals = [float(at) for at in range(0, 50 * interval_ms, step_ms)]
    expected = 50 if step_ms <= interval_ms else len(arrivals)
    assert abs(len(taken(arrivals, interval_ms)) - expected) <= max(2, expected // 10)


def test_seldom_keyframes_are_all_seen() -> None:
    arrivals = [0.0, 4000.0, 8000.0, 8000.0 + 3600_000]
    assert taken(arrivals) == arrivals
