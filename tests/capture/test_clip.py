"""Clips out of the ring: which frames are in them, in which order, whole and playable, with the masks on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.annexb import Misshapen, length_size, parameter_sets, with_start_codes
from edgevlm.capture.clip import Cut, make_clip, newest_within, without_loose_end
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.movie import TICKS, clip_times
from edgevlm.capture.ring import Packet
from edgevlm.capture.session import Session
from edgevlm.capture.transcode import chosen
from edgevlm.errors import NoFrame
from edgevlm.records import Clip, ClipShot, Instant
from tests.capture.recordings import FPS, SIZE, STEP_NS, number_of, play, raw_packets, record, session_for
from tests.servers.clips import UnreadableFrame

MASK = ((0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0))
EVER = 2**62

AS_IT_CAME = [
    ("mp4", "libx264", 0),
    ("mp4", "libx264", 3),
    ("mkv", "libx264", 2),
    ("ts", "libx264", 2),
    ("flv", "libx264", 0),
    ("mp4", "libx265", 0),
    ("mkv", "libx265", 3),
    ("ts", "libx265", 2),
]
ANEW = [("avi", "mjpeg", 0), ("webm", "libvpx-vp9", 0), ("wmv", "wmv2", 0), ("mpg", "mpeg2video", 0)]


@dataclass
class Seen:
    """What a player makes of an MP4."""

    numbers: list[int]
    streams: list[str]
    codec: str
    tag: str
    secs: float
    first: int | None
    keyframe: bool
    size: tuple[int, int]
    images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]


def watch(mp4: bytes) -> Seen:
    with av.open(io.BytesIO(mp4), "r") as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        frames = list(container.decode(stream))
        return Seen(
            numbers=list(_numbers(frames)),
            streams=[one.type for one in container.streams],
            codec=stream.codec_context.name,
            tag=stream.codec_context.codec_tag,
            secs=float(stream.duration * stream.time_base),
            first=frames[0].pts,
            keyframe=bool(frames[0].key_frame),
            size=(frames[0].width, frames[0].height),
            images=[frame.to_ndarray(format="gray").astype(np.uint8) for frame in frames],
        )


def _numbers(frames: list[av.VideoFrame]) -> Iterator[int]:
    for frame in frames:
        with suppress(UnreadableFrame):
            yield number_of(frame)


def filled(path: Path) -> Session:
    params, raws = raw_packets(path)
    session = session_for(params)
    for _ in play(session, raws):
        pass
    return session


def cut(session: Session, shot: ClipShot, from_ns: int = 0, to_ns: int = EVER) -> Cut:
    return Cut("cam", session.ring.between(from_ns, to_ns), session.params, shot, from_ns)


def made(wanted: Cut) -> Clip:
    return make_clip(wanted, lambda: False)


def moment(session: Session, number: int) -> int:
    """When the frame of this number was captured."""
    everything = session.ring.between(0, EVER)
    return sorted(packet.instant.captured_mono_ns for packet in everything)[number]


@pytest.mark.parametrize(("suffix", "encoder", "b_frames"), AS_IT_CAME)
def test_evidence_is_what_the_camera_sent(tmp_path: Path, suffix: str, encoder: str, b_frames: int) -> None:
    session = filled(record(tmp_path / f"clip.{suffix}", encoder, b_frames=b_frames))
    clip = made(cut(session, ClipShot(10)))
    seen = watch(clip.mp4)
    assert clip.remuxed
    assert (seen.codec, seen.tag) == {"libx264": ("h264", "avc1"), "libx265": ("hevc", "hvc1")}[encoder]
    assert seen.numbers == list(range(25))
    assert (seen.first, seen.keyframe, seen.streams) == (0, True, ["video"])
    assert seen.secs == pytest.approx(25 / FPS, abs=0.01)
    assert (clip.width, clip.height, clip.frames) == (*SIZE, 25)
    assert clip.captured_to_ns - clip.captured_from_ns == pytest.approx(
        24 * STEP_NS, abs=(b_frames + 0.5) * STEP_NS
    )


@pytest.mark.parametrize(("suffix", "encoder", "b_frames"), [*AS_IT_CAME, *ANEW])
def test_a_mask_is_in_every_frame_and_nothing_else_is_lost(
    tmp_path: Path, suffix: str, encoder: str, b_frames: int
) -> None:
    session = filled(record(tmp_path / f"clip.{suffix}", encoder, b_frames=b_frames))
    wanted = replace(cut(session, ClipShot(10)), privacy_masks=(MASK,))
    clip = made(wanted)
    seen = watch(clip.mp4)
    assert not clip.remuxed
    assert (clip.codec, seen.codec) == ("h264", "h264")
    assert seen.numbers == list(range(25))
    assert (seen.first, seen.keyframe, seen.streams) == (0, True, ["video"])
    assert seen.secs == pytest.approx(25 / FPS, abs=0.01)
    width, height = SIZE
    for image in seen.images:
        assert image[height // 2 + 4 :, width // 2 + 4 :].max() < 30
        assert image[height // 2 + 4 :, : width // 2 - 4].max() > 60


@pytest.mark.parametrize(("suffix", "encoder", "b_frames"), ANEW)
def test_what_mp4_does_not_take_is_encoded(tmp_path: Path, suffix: str, encoder: str, b_frames: int) -> None:
    session = filled(record(tmp_path / f"clip.{suffix}", encoder, b_frames=b_frames))
    clip = made(cut(session, ClipShot(10)))
    assert (clip.remuxed, watch(clip.mp4).numbers) == (False, list(range(25)))


def test_a_clip_begins_with_the_keyframe_before_and_ends_where_it_shall(tmp_path: Path) -> None:
    """As it came it begins with a keyframe; encoded anew, with the very frame."""
    session = filled(record(tmp_path / "clip.mp4"))
    from_ns, to_ns = moment(session, 13), moment(session, 17)
    assert watch(made(cut(session, ClipShot(1), from_ns, to_ns)).mp4).numbers == list(range(10, 18))
    masked = replace(cut(session, ClipShot(1), from_ns, to_ns), privacy_masks=(MASK,))
    assert watch(made(masked).mp4).numbers == list(range(13, 18))


@pytest.mark.parametrize("b_frames", [0, 1, 3])
@pytest.mark.parametrize("received", range(1, 25))
def test_a_clip_of_now_has_no_gap(tmp_path: Path, b_frames: int, received: int) -> None:
    """Of a stream with B-frames the newest packet is shown after some that have not come yet."""
    params, raws = raw_packets(record(tmp_path / "clip.mp4", b_frames=b_frames))
    session = session_for(params)
    for _ in play(session, raws[:received]):
        pass
    numbers = watch(made(cut(session, ClipShot(10))).mp4).numbers
    assert numbers == list(range(len(numbers)))
    assert max(1, received - b_frames) <= len(numbers) <= received


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_clip_may_end_at_any_moment(tmp_path: Path, b_frames: int) -> None:
    session = filled(record(tmp_path / "clip.mp4", b_frames=b_frames))
    for last in range(11, 25):
        numbers = watch(made(cut(session, ClipShot(10), 0, moment(session, last))).mp4).numbers
        assert numbers == list(range(len(numbers)))
        assert last < len(numbers) <= last + 1 + b_frames


# --- for models -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shot", "remuxed", "frames"),
    [
        (ClipShot(10, asked=True), True, 25),
        (ClipShot(10, asked=True, fps=25), True, 25),
        (ClipShot(10, asked=True, fps=30), True, 25),
        (ClipShot(10, asked=True, fps=5), False, 5),
        (ClipShot(10, asked=True, max_side=160), False, 25),
        (ClipShot(10, asked=True, crop=(0.0, 0.0, 0.5, 1.0)), False, 25),
    ],
)
def test_a_model_gets_what_it_can_take(tmp_path: Path, shot: ClipShot, remuxed: bool, frames: int) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    clip = made(cut(session, shot))
    assert (clip.remuxed, clip.frames) == (remuxed, frames)
    with av.open(io.BytesIO(clip.mp4), "r") as container:
        assert len(list(container.decode(video=0))) == frames


def test_frames_are_left_out_evenly(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    clip = made(cut(session, ClipShot(10, asked=True, fps=5)))
    seen = watch(clip.mp4)
    assert seen.numbers == [0, 5, 10, 15, 20]
    assert seen.secs == pytest.approx(1.0, abs=0.01)


def test_a_model_does_not_get_h265(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4", "libx265", b_frames=2))
    clip = made(cut(session, ClipShot(10, asked=True)))
    seen = watch(clip.mp4)
    assert (clip.remuxed, seen.codec, seen.numbers) == (False, "h264", list(range(25)))


@pytest.mark.parametrize(("size", "expected"), [((2560, 1440), (1920, 1080)), ((1000, 2500), (818, 2048))])
def test_a_model_gets_no_more_than_2048_by_1080(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / "large.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(2):
            grey = np.full((size[1], size[0], 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="bgr24")))
        container.mux(stream.encode(None))
    session = filled(path)
    assert made(cut(session, ClipShot(10))).remuxed
    clip = made(cut(session, ClipShot(10, asked=True)))
    assert (clip.width, clip.height) == expected
    assert clip.width % 2 == clip.height % 2 == 0


def test_a_crop_is_cut_from_the_frame(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    left = made(cut(session, ClipShot(10, asked=True, crop=(0.0, 0.25, 0.5, 1.0))))
    assert (left.width, left.height) == (SIZE[0] // 2, SIZE[1] * 3 // 4)


def test_a_long_gop_before_the_asked_seconds_is_cut_off_for_a_model() -> None:
    """Else a question about one second would be one about ten."""
    at = [Instant(1, number * STEP_NS, 0, number * STEP_NS) for number in range(250)]
    shown = chosen(at, 200 * STEP_NS, None)
    assert shown == at[200:]


# --- bounds and faults ------------------------------------------------------------------------------------


def test_evidence_beyond_its_bytes_loses_its_oldest_gops(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    packets = session.ring.between(0, EVER)
    all_but_one = sum(len(packet.data) for packet in packets[1:])
    clip = made(cut(session, ClipShot(10, max_bytes=all_but_one)))
    assert clip.remuxed
    assert len(clip.mp4) <= all_but_one
    numbers = watch(clip.mp4).numbers
    assert numbers[0] in (10, 20)
    assert numbers == list(range(numbers[0], 25))


def test_a_clip_that_cannot_be_small_enough_is_none(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    with pytest.raises(NoFrame, match="more than the 500 allowed"):
        made(cut(session, ClipShot(10, max_bytes=500, asked=True)))


def test_a_ring_without_that_time_gives_no_clip() -> None:
    session = session_for(StreamParams("h264", None, 0, 0, None))
    with pytest.raises(NoFrame, match="nothing of that time"):
        made(cut(session, ClipShot(10)))


def test_a_clip_that_nobody_waits_for_is_given_up(tmp_path: Path) -> None:
    session = filled(record(tmp_path / "clip.mp4"))
    wanted = replace(cut(session, ClipShot(10)), privacy_masks=(MASK,))
    with pytest.raises(NoFrame, match="took too long"):
        make_clip(wanted, lambda: True)


@pytest.mark.parametrize("masks", [(), (MASK,)])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_rubbish_in_the_stream_costs_no_more_than_its_gop(
    tmp_path: Path, suffix: str, masks: tuple[tuple[tuple[float, float], ...], ...]
) -> None:
    session = filled(record(tmp_path / f"clip.{suffix}"))
    packets = session.ring.between(0, EVER)
    packets[12] = replace(packets[12], data=b"\xff" * 40)
    wanted = replace(cut(session, ClipShot(10)), packets=packets, privacy_masks=masks)
    clip = made(wanted)
    numbers = watch(clip.mp4).numbers
    assert set(range(10)) <= set(numbers)
    assert set(range(20, 25)) <= set(numbers)
    if masks:
        assert numbers == sorted(set(range(25)) - set(range(12, 20)))


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_stream_of_rubbish_gives_no_clip(tmp_path: Path, suffix: str) -> None:
    session = filled(record(tmp_path / f"clip.{suffix}"))
    packets = [replace(packet, data=b"\xff" * 40) for packet in session.ring.between(0, EVER)]
    with pytest.raises(NoFrame):
        made(replace(cut(session, ClipShot(10)), packets=packets))


# --- times ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=40))
def test_times_hold_for_any_stream(pts_ns: list[int]) -> None:
    """What MP4 wants: decode times rise, none is after its presentation, the first shown is at 0."""
    times = clip_times(pts_ns)
    decoded = [dts for _, dts in times]
    assert decoded == sorted(set(decoded))
    assert all(dts <= pts for pts, dts in times)
    assert min(pts for pts, _ in times) == 0
    assert len({pts for pts, _ in times}) == len(times)
    for ns, (pts, _) in zip(pts_ns, times, strict=True):
        assert 0 <= pts / TICKS * 1e9 - (ns - min(pts_ns)) + 1e9 / TICKS < (len(times) + 1) * 1e9 / TICKS


def _packet(number: int, shown: int, size: int = 1, *, keyframe: bool = False, dts: int = 0) -> Packet:
    return Packet(bytes(size), Instant(1, shown * STEP_NS, 0, shown * STEP_NS), dts or number, keyframe)


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=30), st.integers(1, 500))
def test_no_more_bytes_than_allowed_but_for_the_newest_gop(
    sizes: list[tuple[int, bool]], max_bytes: int
) -> None:
    packets = [
        _packet(number, number, size, keyframe=keyframe or number == 0)
        for number, (size, keyframe) in enumerate(sizes)
    ]
    left = newest_within(packets, max_bytes)
    assert left[0].keyframe
    assert packets[-len(left) :] == list(left)
    fits = sum(len(packet.data) for packet in left) <= max_bytes
    assert fits or not any(packet.keyframe for packet in left[1:])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20))
def test_only_the_end_of_a_reordered_stream_is_ever_loose(steps: list[int]) -> None:
    packets = [_packet(sum(steps[:n]) * STEP_NS, sum(steps[:n])) for n in range(1, len(steps) + 1)]
    assert without_loose_end(packets) == packets


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.floats(0.5, 60), st.integers(0, 10**10))
def test_never_more_frames_a_second_than_asked(steps: list[int], fps: float, from_ns: int) -> None:
    at = [Instant(1, sum(steps[:n]), 0, sum(steps[:n])) for n in range(1, len(steps) + 1)]
    shown = chosen(at, from_ns, fps)
    assert shown
    secs = (shown[-1].pts_ns - shown[0].pts_ns) / 1e9
    assert len(shown) <= secs * fps + 2


# --- MP4's form of H.264 and H.265 ------------------------------------------------------------------------


@given(st.binary(max_size=60), st.sampled_from(["h264", "hevc"]), st.integers(1, 4))
def test_any_bytes_are_units_or_misshapen(data: bytes, codec: str, size: int) -> None:
    for read in (
        lambda: parameter_sets(codec, b"\x01" + data),
        lambda: length_size(codec, data),
        lambda: with_start_codes(data, size),
    ):
        try:
            read()
        except Misshapen:
            continue


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.sampled_from([1, 2, 4]))
def test_units_keep_their_bytes(units: list[bytes], size: int) -> None:
    packed = b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)
    assert with_start_codes(packed, size) == b"".join(b"\0\0\0\x01" + unit for unit in units)
