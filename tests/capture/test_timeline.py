"""Time as a camera tells it, and as we take it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.timeline import Timeline, Times

SEC = 1_000_000_000
FRAME = 40_000_000
NOW = 500 * SEC

stream_times = st.one_of(st.none(), st.integers(-(2**60), 2**60), st.integers(-20 * SEC, 20 * SEC))
pauses = st.one_of(st.integers(0, SEC), st.integers(0, 3600 * SEC))


@given(st.lists(st.tuples(stream_times, stream_times, pauses), max_size=60))
def test_the_invariants_hold_whatever_a_stream_says(
    packets: list[tuple[int | None, int | None, int]],
) -> None:
    timeline, arrival = Timeline(), NOW
    highest: int | None = None
    for pts, dts, pause in packets:
        arrival += pause
        times = timeline.place(pts, dts, arrival)
        assert times.captured_mono_ns <= arrival
        assert times.pts_ns >= times.dts_ns
        assert highest is None or times.dts_ns >= highest - SEC
        highest = times.dts_ns if highest is None else max(highest, times.dts_ns)


@given(st.lists(st.tuples(st.integers(-(2**60), 2**60), pauses), max_size=60))
def test_where_decode_times_are_told_time_never_falls(packets: list[tuple[int, int]]) -> None:
    timeline, arrival, placed = Timeline(), NOW, []
    for dts, pause in packets:
        arrival += pause
        placed.append(timeline.place(dts, dts, arrival).dts_ns)
    assert placed == sorted(placed)


def play(times: list[tuple[int | None, int | None]], arrivals: list[int]) -> tuple[Timeline, list[Times]]:
    timeline = Timeline()
    pairs = zip(times, arrivals, strict=True)
    return timeline, [timeline.place(pts, dts, NOW + arrival) for (pts, dts), arrival in pairs]


def even(count: int, step: int = FRAME) -> list[int]:
    return [number * step for number in range(count)]


def test_an_even_stream_is_captured_when_it_arrives() -> None:
    timeline, placed = play([(pts, pts) for pts in even(50)], even(50))
    assert [times.captured_mono_ns - NOW for times in placed] == even(50)
    assert timeline.jumps == 0


@given(st.sampled_from([3600 * SEC, -30 * SEC, -(2**32) * SEC // 90_000, 2**40]))
def test_a_jump_is_passed_over(leap: int) -> None:
    """An hour ahead, thirty seconds back, a 32-bit wrap: our time goes on by what we waited ourselves."""
    stated = even(20) + [pts + leap for pts in even(40)[20:]]
    timeline, placed = play([(pts, pts) for pts in stated], even(40))
    assert timeline.jumps == 1
    assert [b.pts_ns - a.pts_ns for a, b in pairwise(placed)] == [FRAME] * 39
    assert [times.captured_mono_ns - NOW for times in placed] == even(40)


def test_a_true_pause_is_no_jump() -> None:
    """A motion-triggered camera was silent for a minute, by its own clock and by ours."""
    stated = [*even(5), *(pts + 60 * SEC for pts in even(5))]
    timeline, placed = play([(pts, pts) for pts in stated], stated)
    assert timeline.jumps == 0
    assert [times.pts_ns for times in placed] == stated


def test_a_burst_at_the_beginning_does_not_make_the_rest_late() -> None:
    """What the camera had kept comes all at once; the first frame seems fresh, the rest are told right."""
    arrivals = [0] * 50 + even(50)
    _, placed = play([(pts, pts) for pts in even(100)], arrivals)
    lags = [NOW + arrival - times.captured_mono_ns for times, arrival in zip(placed, arrivals, strict=True)]
    assert max(lags[50:]) <= FRAME


def test_a_backlog_is_as_old_as_it_is() -> None:
    """The network stood still for three seconds; then everything came at once."""
    arrivals = [*even(50), *([50 * FRAME + 3 * SEC] * 76), *(pts + 126 * FRAME for pts in even(10))]
    _, placed = play([(pts, pts) for pts in even(136)], arrivals)
    assert [times.captured_mono_ns - NOW for times in placed] == even(136)


@given(st.floats(0.7, 1.3))
def test_a_clock_that_runs_wrong_never_makes_frames_seem_old(speed: float) -> None:
    """A stream that announces 25 frames a second and gives 20 falls 12 s behind in a minute."""
    arrivals = even(25 * 60)
    stated = [round(arrival * speed) for arrival in arrivals]
    timeline, placed = play([(pts, pts) for pts in stated], arrivals)
    lags = [NOW + arrival - times.captured_mono_ns for times, arrival in zip(placed, arrivals, strict=True)]
    assert max(lags) <= 10 * SEC * 0.3 + FRAME
    assert timeline.jumps == 0


def test_b_frames_are_captured_in_the_order_they_are_shown() -> None:
    """Decode order I P B B: the P that is shown last was captured last, though it arrives second."""
    shown = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    stated: list[tuple[int | None, int | None]] = [
        (pts * FRAME, (number - 1) * FRAME) for number, pts in enumerate(shown)
    ]
    timeline, placed = play(stated, even(10))
    by_pts = sorted(placed, key=lambda times: times.pts_ns)
    captured = [times.captured_mono_ns for times in by_pts[4:]]
    assert [b - a for a, b in pairwise(captured)] == [FRAME] * 5
    assert timeline.jumps == 0


def test_b_frames_whose_decode_times_come_later_are_no_jump() -> None:
    """FFmpeg's RTSP demuxer knows neither time of the first packet, nor the DTS of the next few."""
    stated = [(None, None), (3, None), (1, 0), (2, 1), (6, 2), (4, 3), (5, 4)]
    scaled = [(pts and pts * FRAME, dts and dts * FRAME) for pts, dts in stated]
    timeline, placed = play(scaled, even(7))
    assert timeline.jumps == 0
    assert [times.pts_ns // FRAME for times in placed] == [0, 3, 1, 2, 6, 4, 5]


def test_packets_without_any_time_go_by_their_arrival() -> None:
    _, placed = play([(None, None)] * 5, even(5))
    assert [times.pts_ns for times in placed] == even(5)
    assert [times.captured_mono_ns - NOW for times in placed] == even(5)


def test_packets_at_the_same_moment_without_time_still_differ() -> None:
    _, placed = play([(None, None)] * 5, [0] * 5)
    assert len({times.pts_ns for times in placed}) == 5


def test_a_repeated_pts_still_names_one_frame() -> None:
    _, placed = play([(40, 40), (40, 40), (40, 40), (80, 80)], [0] * 4)
    assert len({times.pts_ns for times in placed}) == 4
