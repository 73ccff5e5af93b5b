"""The ring: what may be in it, and what comes out, for any stream of packets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.ring import Packet, Ring
from edgevlm.records import Instant

STEP_NS = 100_000_000


def packet(number: int, size: int, *, keyframe: bool, shown: int | None = None) -> Packet:
    at_ns = number * STEP_NS
    pts_ns = at_ns if shown is None else shown * STEP_NS
    return Packet(bytes(size), Instant(1, pts_ns, at_ns, at_ns), at_ns, keyframe)


streams = st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(-2, 2)), max_size=60).map(
    lambda parts: [
        packet(number, size, keyframe=keyframe, shown=number + later)
        for number, (size, keyframe, later) in enumerate(parts)
    ]
)


@given(streams, st.integers(1, 1000), st.floats(0, 3))
def test_the_bounds_hold_for_any_stream(stream: list[Packet], max_bytes: int, max_secs: float) -> None:
    """More than the bound is held only for one keyframe, and never more seconds than one GOP beyond it."""
    ring = Ring(max_secs, max_bytes)
    for new in stream:
        ring.add(new)
        newest = ring.newest()
        assert ring.size <= max_bytes or (len(newest) == 1 and ring.size == len(newest[0].data))
        held = [old for old in stream if ring.at(old.instant)]
        assert ring.size == sum(len(old.data) for old in held)
        keyframes = [old for old in held if old.keyframe]
        second = keyframes[1].instant.captured_mono_ns if len(keyframes) > 1 else None
        assert second is None or new.instant.captured_mono_ns - second < max_secs * 1e9 or not new.keyframe


@given(streams, st.integers(1, 3000))
def test_whatever_comes_out_can_be_decoded(stream: list[Packet], max_bytes: int) -> None:
    """It begins with a keyframe, holds no second one, has no gap and ends with what was asked for."""
    ring = Ring(10, max_bytes)
    kept = [new for new in stream if ring.add(new)]
    newest = ring.newest()
    assert bool(newest) == any(new.keyframe for new in stream)
    for until in [newest, *(ring.at(old.instant) for old in stream)]:
        if until:
            assert [one.keyframe for one in until] == [True] + [False] * (len(until) - 1)
            assert kept[kept.index(until[0]) :][: len(until)] == until
    for old in stream:
        found = ring.at(old.instant)
        assert not found or found[-1] == old


@given(streams)
def test_the_newest_is_the_one_shown_last(stream: list[Packet]) -> None:
    ring = Ring(10, 1_000_000)
    gop: list[Packet] = []
    for new in stream:
        gop = [new] if new.keyframe else [*gop, new]
        if ring.add(new):
            assert ring.newest()[-1].instant.pts_ns == max(one.instant.pts_ns for one in gop)


def test_a_gop_beyond_the_bytes_leaves_its_keyframe_until_the_next_one() -> None:
    ring = Ring(10, 100)
    first, second = packet(0, 40, keyframe=True), packet(3, 40, keyframe=True)
    assert ring.add(first)
    assert ring.add(packet(1, 70, keyframe=False))
    assert not ring.add(packet(2, 1, keyframe=False)), "what lacks its predecessor cannot be decoded"
    assert ring.newest() == [first]
    assert ring.add(second)
    assert ring.newest() == [second]


def test_old_gops_leave_whole() -> None:
    """Ten seconds are kept from keyframe to keyframe: a GOP goes when those after it cover the time."""
    ring = Ring(1.0, 10_000)
    stream = [packet(number, 1, keyframe=number % 5 == 0) for number in range(16)]
    for new in stream:
        ring.add(new)
    assert [bool(ring.at(old.instant)) for old in stream] == [False] * 5 + [True] * 11


def test_the_rest_of_a_picture_joins_its_beginning() -> None:
    ring = Ring(10, 1000)
    assert ring.extend(b"lost") is None
    ring.add(packet(0, 3, keyframe=True))
    whole = ring.extend(b"rest")
    assert whole is not None
    assert whole.data == b"\0\0\0rest"
    assert ring.newest() == [whole]
    assert ring.size == 7


def test_the_rest_of_a_picture_that_was_not_kept_is_not_kept() -> None:
    """It must not be added to the keyframe that alone was left of the GOP."""
    ring = Ring(10, 100)
    keyframe = packet(0, 60, keyframe=True)
    ring.add(keyframe)
    ring.add(packet(1, 70, keyframe=False))
    assert ring.extend(b"rest") is None
    ring.add(packet(2, 1, keyframe=False))
    assert ring.extend(b"rest") is None
    assert ring.newest() == [keyframe]


def test_an_instant_of_another_connection_is_not_found() -> None:
    """A replaced host counts sessions from 1 again, and a recording has the same PTS again."""
    ring = Ring(10, 1000)
    kept = packet(0, 3, keyframe=True)
    ring.add(kept)
    other = Instant(1, kept.instant.pts_ns, 5, 5)
    assert ring.at(kept.instant) == [kept]
    assert ring.at(other) == []


def _packet(number: int, *, keyframe: bool = False) -> Packet:
    at_ns = number * 100_000_000
    return Packet(b"x" * 10, Instant(1, at_ns, at_ns, at_ns), at_ns, keyframe)


def test_a_picture_in_parts_is_not_shown_before_the_next_one_begins() -> None:
    """A keyframe's second slice arrives only with the next picture: half a keyframe is no picture."""
    ring = Ring(10, 1_000_000)
    ring.in_parts = True
    for number in range(5):
        ring.add(_packet(number, keyframe=number == 0))
    assert ring.newest()[-1].instant.pts_ns == 300_000_000
    ring.add(_packet(5, keyframe=True))
    assert [packet.instant.pts_ns for packet in ring.newest()][-1] == 400_000_000
    assert ring.around(600_000_000)[-1].instant.pts_ns == 400_000_000
    ring.add(_packet(6))
    assert [packet.keyframe for packet in ring.newest()] == [True]


def test_a_keyframe_within_the_tolerance_stands_for_the_newest_frame() -> None:
    ring = Ring(10, 1_000_000)
    for number in range(5):
        ring.add(_packet(number, keyframe=number == 0))
    assert len(ring.newest(399_999_999)) == 5
    assert len(ring.newest(400_000_000)) == 1
