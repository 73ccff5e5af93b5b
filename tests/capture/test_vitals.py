"""A camera's figures, against what is known of the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.ring import Packet
from edgevlm.capture.vitals import Vitals
from edgevlm.records import CameraHealth, CameraState, Instant

SEC = 1_000_000_000
PARAMS = StreamParams("h264", None, 640, 360, "yuv420p")


def packet(
    number: int, *, fps: float = 25, gop: int = 25, size: int = 1000, shown: int | None = None
) -> Packet:
    dts_ns = round(number * SEC / fps)
    pts_ns = dts_ns if shown is None else round(shown * SEC / fps)
    return Packet(bytes(size), Instant(1, pts_ns, 0, dts_ns), dts_ns, keyframe=number % gop == 0)


def measured(packets: list[Packet]) -> CameraHealth:
    vitals = Vitals("yard")
    vitals.begin_session(1, PARAMS)
    for one in packets:
        vitals.count_packet(one, one.dts_ns)
    return vitals.health()


@pytest.mark.parametrize(("fps", "gop"), [(25, 25), (5, 10), (120, 240), (1, 2)])
def test_rates_of_an_even_stream(fps: float, gop: int) -> None:
    health = measured([packet(number, fps=fps, gop=gop) for number in range(4 * gop + 1)])
    assert health.fps == pytest.approx(fps, rel=0.01)
    assert health.gop_secs == pytest.approx(gop / fps, abs=0.001)
    assert health.bitrate_bps == pytest.approx(1000 * 8 * fps, rel=0.01)


def test_b_frames_do_not_change_the_frame_rate() -> None:
    """In decode order the PTS go 0 3 1 2 6 4 5: its rising steps alone would give ten frames a second."""
    shown = [0] + [base + offset for base in range(0, 90, 3) for offset in (3, 1, 2)]
    assert measured([packet(n, shown=s) for n, s in enumerate(shown)]).fps == pytest.approx(25, rel=0.01)


def test_a_picture_in_parts_counts_once_with_all_its_bytes() -> None:
    vitals = Vitals("yard")
    vitals.begin_session(1, PARAMS)
    for number in range(101):
        vitals.count_packet(packet(number, size=600), 0)
        vitals.count_rest(400)
    assert vitals.health().fps == pytest.approx(25, rel=0.01)
    assert vitals.health().bitrate_bps == pytest.approx(200_000, rel=0.01)
    assert vitals.health().packets == 101


def test_a_new_session_forgets_the_rates_and_keeps_the_counts() -> None:
    vitals = Vitals("yard")
    vitals.begin_session(1, PARAMS)
    for number in range(60):
        vitals.count_packet(packet(number), 0)
    vitals.count_look(640, 360)
    vitals.begin_session(2, PARAMS)
    health = vitals.health()
    assert (health.fps, health.gop_secs, health.bitrate_bps) == (None, None, None)
    assert (health.sessions, health.packets, health.looks) == (2, 60, 1)


def stalled_after(fps: float, silent_secs: float, *, live: bool = True) -> bool:
    vitals = Vitals("yard")
    vitals.begin_session(1, PARAMS)
    vitals.change(CameraState.ONLINE, "")
    last = 0
    for number in range(20):
        last = packet(number, fps=fps).dts_ns
        vitals.count_packet(packet(number, fps=fps), last)
    vitals.notice_silence(last + round(silent_secs * SEC), live=live)
    return vitals.state == CameraState.STALLED


def test_silence_is_measured_by_the_streams_own_rate() -> None:
    assert stalled_after(25, 3.1)
    assert not stalled_after(25, 2.9)
    assert not stalled_after(1, 15), "a frame a second may be late"
    assert stalled_after(1, 21)
    assert not stalled_after(25, 60, live=False), "a recording waits as long as it wants"


@given(
    st.lists(
        st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.booleans()), max_size=50
    )
)
def test_any_times_give_figures_or_none(packets: list[tuple[int, int, bool]]) -> None:
    health = measured([Packet(b"x", Instant(1, pts, 0, 0), dts, key) for pts, dts, key in packets])
    assert health.fps is None or health.fps >= 0
    assert health.bitrate_bps is None or health.bitrate_bps >= 0
