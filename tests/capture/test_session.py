"""From packets to the right frame: every codec, every container, B-frames, parts, and faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgevlm.capture.decoder import Decoder, StreamParams
from edgevlm.capture.ring import Packet
from edgevlm.capture.source import RawPacket
from edgevlm.errors import NoFrame
from edgevlm.records import Instant
from tests.capture.recordings import GOP, number_of, play, raw_packets, record, session_for
from tests.servers.clips import access_units

RECORDINGS = [
    ("mp4", "libx264", 0),
    ("mp4", "libx264", 3),
    ("mkv", "libx264", 2),
    ("ts", "libx264", 2),
    ("flv", "libx264", 0),
    ("avi", "libx264", 0),
    ("mp4", "libx265", 0),
    ("mkv", "libx265", 3),
    ("avi", "mjpeg", 0),
    ("webm", "libvpx-vp9", 0),
    ("wmv", "wmv2", 0),
    ("avi", "mpeg4", 0),
    ("mpg", "mpeg2video", 0),
]


@pytest.mark.parametrize(("suffix", "encoder", "b_frames"), RECORDINGS)
def test_each_instant_gives_its_own_frame(tmp_path: Path, suffix: str, encoder: str, b_frames: int) -> None:
    """The number in the picture is the place of its PTS among all PTS."""
    params, raws = raw_packets(record(tmp_path / f"clip.{suffix}", encoder, b_frames=b_frames))
    session = session_for(params)
    packets = [packet for packet, _ in play(session, raws)]
    assert len(packets) == 25
    for number, packet in enumerate(sorted(packets, key=lambda one: one.instant.pts_ns)):
        frame, shown = session.frame(packet.instant)
        assert (number_of(frame), shown) == (number, packet.instant)


def test_each_instant_gives_its_own_frame_where_pts_are_not_told(tmp_path: Path) -> None:
    """AVI knows decode times only; a packet's frame is still the one that came in it."""
    decode_order = raw_packets(record(tmp_path / "clip.mp4", b_frames=2))[1]
    expected = [
        sorted(raw.pts_ns or 0 for raw in decode_order).index(raw.pts_ns or 0) for raw in decode_order
    ]
    params, raws = raw_packets(record(tmp_path / "clip.avi", b_frames=2))
    session = session_for(params)
    packets = [packet for packet, _ in play(session, raws)]
    assert [number_of(session.frame(packet.instant)[0]) for packet in packets] == expected


@pytest.mark.parametrize("b_frames", [0, 2])
def test_the_newest_frame_is_the_newest_and_says_when_it_was(tmp_path: Path, b_frames: int) -> None:
    params, raws = raw_packets(record(tmp_path / "clip.mp4", b_frames=b_frames))
    order = sorted(raw.pts_ns or 0 for raw in raws)
    session, newest = session_for(params), -1
    for packet, _ in play(session, raws):
        newest = max(newest, packet.instant.pts_ns)
        frame, shown = session.frame(None)
        assert shown.pts_ns == newest
        assert number_of(frame) == order.index(newest)


def test_a_keyframe_is_decoded_alone_also_before_its_b_frames(tmp_path: Path) -> None:
    params, raws = raw_packets(record(tmp_path / "clip.mp4", b_frames=3))
    session = session_for(params)
    looks = [session.look_frame(keyframe) for _, keyframe in play(session, raws) if keyframe]
    assert [number_of(frame) for frame in looks] == [0, 10, 20]


# --- pictures in parts ---------------------------------------------------------------------------------


def in_parts(path: Path) -> tuple[StreamParams, list[RawPacket]]:
    """Cut each picture before its second slice and repeat the parameter sets there, as GStreamer does."""
    params = StreamParams("h264", None, 0, 0, None)
    raws = []
    for number, unit in enumerate(access_units(path)):
        at = unit.find(
            b"\x00\x00\x01", unit.find(b"\x00\x00\x01" + (b"\x65" if number % GOP == 0 else b"\x41")) + 3
        )
        pts_ns = None if number == 0 else number * 40_000_000
        keyframe = number % GOP == 0
        raws += [RawPacket(part, pts_ns, pts_ns, keyframe=keyframe) for part in (unit[:at], unit[at:])]
    return params, raws


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamParams, list[RawPacket]]:
    return in_parts(record(tmp_path_factory.mktemp("sliced") / "clip.mp4", slices=2))


def test_pictures_that_come_in_parts_are_put_together(sliced: tuple[StreamParams, list[RawPacket]]) -> None:
    params, raws = sliced
    session = session_for(params)
    packets = [packet for packet, _ in play(session, raws)]
    assert len(packets) == 25
    assert [number_of(session.frame(packet.instant)[0]) for packet in packets] == list(range(25))


def test_half_a_keyframe_is_never_a_look(sliced: tuple[StreamParams, list[RawPacket]]) -> None:
    """The first is refused as damaged; from then on whole ones are taken, when the next picture begins."""
    params, raws = sliced
    session, looks = session_for(params), []
    for number, (_, keyframe) in enumerate(play(session, raws)):
        if keyframe is not None and number:
            looks.append((number, number_of(session.look_frame(keyframe))))
        elif keyframe is not None:
            with pytest.raises(NoFrame):
                session.look_frame(keyframe)
    assert looks == [(1, 0), (11, 10), (21, 20)]


def test_while_a_picture_is_coming_in_the_one_before_is_the_newest(
    sliced: tuple[StreamParams, list[RawPacket]],
) -> None:
    params, raws = sliced
    session = session_for(params)
    list(play(session, raws[:-1]))
    assert number_of(session.frame(None)[0]) == 23


# --- faults --------------------------------------------------------------------------------------------


def spoilt(packet: RawPacket) -> RawPacket:
    """Return the packet with its coded data overwritten from the middle on."""
    half = len(packet.data) // 2
    noise = bytes((7 * at + 13) % 251 + 4 for at in range(len(packet.data) - half))
    return replace(packet, data=packet.data[:half] + noise)


def test_nothing_after_a_fault_is_shown_until_the_next_keyframe(tmp_path: Path) -> None:
    """What is built upon a damaged picture looks plausible and is wrong; the last good one is asked about."""
    params, raws = raw_packets(record(tmp_path / "clip.mp4"))
    raws[14] = spoilt(raws[14])
    session = session_for(params)
    packets = [packet for packet, _ in play(session, raws[:20])]
    frame, shown = session.frame(None)
    assert (number_of(frame), shown) == (13, packets[13].instant)
    for number in (14, 17):
        with pytest.raises(NoFrame):
            session.frame(packets[number].instant)
    list(play(session, raws[20:]))
    assert number_of(session.frame(None)[0]) == 24


def test_a_damaged_keyframe_is_no_look_and_the_next_one_is(tmp_path: Path) -> None:
    params, raws = raw_packets(record(tmp_path / "clip.mp4"))
    raws[10] = spoilt(raws[10])
    session, numbers = session_for(params), []
    for _, keyframe in play(session, raws):
        if keyframe is not None:
            try:
                numbers.append(number_of(session.look_frame(keyframe)))
            except NoFrame:
                numbers.append(-1)
    assert numbers == [0, -1, 20]


def test_rubbish_in_a_packet_does_not_spoil_the_decoder(tmp_path: Path) -> None:
    params, raws = raw_packets(record(tmp_path / "clip.mp4"))
    decoder, instant = Decoder("cam", params), Instant(1, 0, 0, 0)
    good = Packet(raws[0].data, instant, 0, keyframe=True)
    for data in (b"\xff" * 500, b"\0", raws[0].data[:40], b"\0\0\0\1\x65" + b"\xab" * 90):
        with pytest.raises(NoFrame):
            decoder.frame([replace(good, data=data)])
        assert number_of(decoder.frame([good])) == 0


def test_an_instant_that_left_the_ring_is_told(tmp_path: Path) -> None:
    params, raws = raw_packets(record(tmp_path / "clip.mp4"))
    session = session_for(params, ring_secs=0.1)
    packets = [packet for packet, _ in play(session, raws)]
    with pytest.raises(NoFrame, match="left the ring"):
        session.frame(packets[0].instant)
    with pytest.raises(NoFrame, match="left the ring"):
        session.frame(replace(packets[-1].instant, session=7))
    with pytest.raises(NoFrame, match="no frame yet"):
        session_for(params).frame(None)
