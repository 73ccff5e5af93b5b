"""The RTSP servers that tests lean on: the real one serves, the faulty one does what its switches say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from edgevlm.demo.rtp import IDR, PPS, SPS, nal_type
from tests.servers.clips import (
    Picture,
    UnreadableFrame,
    access_units,
    make_clip,
    moving_box,
    read_frame_number,
    still,
    write_frame_number,
)
from tests.servers.faulty_camera import FaultyCamera, Step
from tests.servers.rtsp import NewRtspServer, RealRtspServer
from tests.servers.rtsp_client import RtspClient

QUICK = {"rtsp_transport": "tcp", "fpsprobesize": "0", "probesize": "32"}
"""Open on what the SDP says, without measuring the stream first."""


def number_in(frame: av.VideoFrame) -> int:
    return read_frame_number(np.asarray(frame.to_ndarray(format="gray"), np.uint8))


def numbers(url: str, **options: str) -> Iterator[int]:
    """Yield the frame numbers of a stream as PyAV decodes it."""
    with av.open(url, options=QUICK | options, timeout=(5, 2)) as stream:
        yield from map(number_in, stream.decode(video=0))


def wait_for_the_end(frames: Iterator[object]) -> None:
    """Read until the stream is over, by an error or without one; fail where it goes on."""
    with suppress(av.FFmpegError):
        for _ in range(100):
            if next(frames, None) is None:
                return
        pytest.fail("the stream goes on")


# Recordings


@pytest.mark.parametrize(
    ("ending", "codec", "pixel_format", "b_frames"),
    [
        ("mp4", "h264", "yuv420p", 0),
        ("mkv", "h264", "yuv420p", 2),
        ("mp4", "hevc", "yuv420p", 0),
        ("avi", "mjpeg", "yuvj420p", 0),
    ],
)
def test_every_frame_of_a_clip_can_be_told(
    tmp_path: Path, ending: str, codec: str, pixel_format: str, b_frames: int
) -> None:
    path = make_clip(
        tmp_path / f"clip.{ending}", codec=codec, secs=2, b_frames=b_frames, pixel_format=pixel_format
    )
    with av.open(str(path)) as clip:
        frames = list(clip.decode(video=0))
    assert [number_in(frame) for frame in frames] == list(range(30))
    assert [number_in(frame.reformat(width=160, height=90)) for frame in frames] == list(range(30))
    colour = np.asarray(frames[7].to_ndarray(format="bgr24"), np.uint8)
    assert read_frame_number(colour) == 7
    if codec != "mjpeg":
        assert [number for number, frame in enumerate(frames) if frame.key_frame] == [0, 15]


def test_a_picture_without_a_whole_number_is_told_from_one_with() -> None:
    picture: Picture = moving_box(3, (640, 360))
    for grey in (0, 128, 255):
        picture[:] = grey
        with pytest.raises(UnreadableFrame):
            read_frame_number(picture)
    write_frame_number(picture, 4095)
    assert read_frame_number(picture) == 4095
    picture[:45, :40] = 255 - picture[:45, :40]
    with pytest.raises(UnreadableFrame):
        read_frame_number(picture)


def test_nothing_moves_in_a_still_scene() -> None:
    assert (still(0, (640, 360)) == still(9, (640, 360))).all()
    assert (moving_box(0, (640, 360)) != moving_box(9, (640, 360))).any()


# The real server


@pytest.mark.real
def test_the_open_mount_plays_the_recording_round_and_round(rtsp_server: RealRtspServer) -> None:
    stream = numbers(rtsp_server.url("/plain"))
    seen = [next(stream) for _ in range(65)]
    assert [(later - sooner) % 60 for sooner, later in pairwise(seen)] == [1] * 64
    assert seen[0] % 15 == 0, "a client begins with a keyframe"


@pytest.mark.real
def test_the_locked_mount_wants_the_password(rtsp_server: RealRtspServer) -> None:
    assert next(numbers(rtsp_server.url("/locked", login=True))) % 15 == 0
    for url in (rtsp_server.url("/locked"), f"rtsp://viewer:wrong@127.0.0.1:{rtsp_server.port}/locked"):
        with pytest.raises(av.HTTPUnauthorizedError):
            next(numbers(url))
    with pytest.raises(av.HTTPNotFoundError):
        next(numbers(rtsp_server.url("/nothing")))


@pytest.mark.real
def test_a_real_server_freezes_goes_on_and_throws_out(new_rtsp_server: NewRtspServer, clip: Path) -> None:
    server = new_rtsp_server({"/basic": clip}, "--lock", "/basic", "--auth", "basic")
    stream = numbers(server.url("/basic", login=True))
    next(stream)
    server.freeze()
    server.thaw()
    assert next(stream) >= 0
    assert server.throw_out() == 1
    wait_for_the_end(stream)


@pytest.mark.real
def test_a_frozen_real_server_sends_nothing(new_rtsp_server: NewRtspServer, clip: Path) -> None:
    server = new_rtsp_server({"/plain": clip})
    stream = numbers(server.url("/plain"))
    next(stream)
    server.freeze()
    wait_for_the_end(stream)


@pytest.mark.real
def test_other_codecs_and_transports(new_rtsp_server: NewRtspServer, tmp_path: Path) -> None:
    hevc = make_clip(tmp_path / "hevc.mp4", codec="hevc", size=(320, 240))
    late = make_clip(tmp_path / "b.mkv", b_frames=2)
    server = new_rtsp_server({"/hevc": hevc, "/b": late}, "--transport", "udp")
    for mount in ("/hevc", "/b"):
        stream = numbers(server.url(mount), rtsp_transport="udp")
        seen = [next(stream) for _ in range(20)]
        assert [(later - sooner) % 60 for sooner, later in pairwise(seen)] == [1] * 19
        with pytest.raises(av.FFmpegError):
            next(numbers(server.url(mount)))


@pytest.mark.real
def test_a_real_server_speaks_tls(
    new_rtsp_server: NewRtspServer, clip: Path, certificate: tuple[Path, Path]
) -> None:
    server = new_rtsp_server({"/plain": clip}, "--tls", *map(str, certificate))
    assert server.url("/plain").startswith("rtsps://")
    trusting = {"tls_verify": "1", "ca_file": str(certificate[0])}
    assert next(numbers(server.url("/plain"), **trusting)) % 15 == 0
    with pytest.raises(av.FFmpegError):
        next(numbers(server.url("/plain"), tls_verify="1", ca_file="/etc/ssl/certs/ca-certificates.crt"))


# The faulty camera


def test_without_a_fault_it_is_a_camera(faulty_camera: FaultyCamera) -> None:
    stream = numbers(faulty_camera.url)
    seen = [next(stream) for _ in range(20)]
    assert [(later - sooner) % 60 for sooner, later in pairwise(seen)] == [1] * 19
    assert faulty_camera.opened == 1
    assert faulty_camera.requests[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]


def test_refused_means_nobody_listens_until_it_accepts_again(faulty_camera: FaultyCamera) -> None:
    stream = numbers(faulty_camera.url)
    next(stream)
    port = faulty_camera.port
    faulty_camera.refuse()
    wait_for_the_end(stream)
    with pytest.raises(ConnectionRefusedError):
        next(numbers(faulty_camera.url))
    faulty_camera.accept()
    assert faulty_camera.port == port
    assert next(numbers(faulty_camera.url)) % 15 == 0


def read_a_packet(url: str) -> None:
    """Read until the first packet of a stream, or lose patience soon."""
    with av.open(url, options=QUICK, timeout=(0.4, 0.4)) as stream:
        next(packet for packet in stream.demux(video=0) if packet.size)


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        ("connect", ["OPTIONS"]),
        ("options", ["OPTIONS", "DESCRIBE"]),
        ("describe", ["OPTIONS", "DESCRIBE", "SETUP"]),
        ("setup", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]),
        ("play", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]),
    ],
)
def test_silence_begins_after_the_step_that_is_named(
    faulty_camera: FaultyCamera, step: Step, asked: list[str]
) -> None:
    faulty_camera.silent_after = step
    with pytest.raises((av.FFmpegError, StopIteration)):
        read_a_packet(faulty_camera.url)
    assert [method for method in faulty_camera.requests if method != "TEARDOWN"] == asked


@pytest.mark.parametrize(("status", "error"), [(401, av.HTTPUnauthorizedError), (404, av.HTTPNotFoundError)])
def test_every_request_can_be_answered_with_one_code(
    faulty_camera: FaultyCamera, status: int, error: type[Exception]
) -> None:
    faulty_camera.status = status
    with pytest.raises(error):
        next(numbers(faulty_camera.url))
    faulty_camera.status = None
    assert next(numbers(faulty_camera.url)) % 15 == 0


async def test_a_stall_of_everything_leaves_the_connection_open(faulty_camera: FaultyCamera) -> None:
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        await client.next_unit()
        faulty_camera.stall = "everything"
        await drain(faulty_camera, client)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask("GET_PARAMETER", "/stream"), 0.3)
        assert faulty_camera.viewers == 1
        faulty_camera.stall = None
        await client.next_unit()


async def test_a_stall_of_video_leaves_reports(faulty_camera: FaultyCamera) -> None:
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        await client.next_unit()
        faulty_camera.stall = "video"
        await drain(faulty_camera, client)
        client.reports.clear()
        client.packets.clear()
        await client.next_report()
        await client.next_report()
        assert not client.packets
        assert (await client.ask("OPTIONS", "/stream")).status == 200


async def drain(camera: FaultyCamera, client: RtspClient) -> None:
    """Read what was under way when a switch was set."""
    sent = camera.sent
    await asyncio.to_thread(camera.wait_until, lambda: camera.sent > sent + 1)
    while True:
        try:
            await asyncio.wait_for(client.next_unit(), 0.1)
        except TimeoutError:
            return


async def test_a_packet_can_end_half_way(faulty_camera: FaultyCamera) -> None:
    faulty_camera.stall = "half-packet"
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        frame = await client._reader.readexactly(4)
        assert frame[:2] == b"$\0"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client._reader.readexactly(int.from_bytes(frame[2:], "big")), 0.3)


@pytest.mark.parametrize(("how", "in_good_form"), [("rst", False), ("fin", True)])
async def test_connections_are_cut_with_or_without_manners(
    faulty_camera: FaultyCamera, how: str, in_good_form: bool
) -> None:
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        await client.next_unit()
        faulty_camera.cut("rst" if how == "rst" else "fin")
        assert await client.wait_closed() is in_good_form
    assert next(numbers(faulty_camera.url)) % 15 == 0, "new connections are welcome"


async def test_parameter_sets_can_be_missing_from_the_description_from_the_stream_or_from_both(
    faulty_camera: FaultyCamera,
) -> None:
    faulty_camera.sprop = False
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        assert "sprop" not in (await client.ask("DESCRIBE", "/stream")).body
        assert {SPS, PPS, IDR} <= {nal_type(nal) for nal in (await client.next_unit()).nals}
    assert await asyncio.to_thread(next, numbers(faulty_camera.url)) % 15 == 0
    faulty_camera.in_band, faulty_camera.sprop = False, True
    assert await asyncio.to_thread(next, numbers(faulty_camera.url)) % 15 == 0
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        assert "sprop" in (await client.ask("DESCRIBE", "/stream")).body
        assert not {SPS, PPS} & {nal_type(nal) for nal in (await client.next_unit()).nals}


def test_the_size_changes_in_mid_stream(faulty_camera: FaultyCamera, small_clip: Path) -> None:
    with av.open(faulty_camera.url, options=QUICK, timeout=(5, 2)) as stream:
        frames = stream.decode(video=0)
        first = next(frames)
        faulty_camera.play(access_units(small_clip))
        other = next(frame for frame in frames if frame.width != first.width)
    assert (first.width, first.height, other.width, other.height) == (640, 360, 320, 240)
    assert number_in(other) == 1000


async def test_garbage_comes_between_the_packets(faulty_camera: FaultyCamera) -> None:
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        await client.next_unit()
        faulty_camera.garbage = True
        with pytest.raises((AssertionError, ValueError)):  # noqa: PT012 (one of the next pictures)
            for _ in range(40):
                await client.next_unit()


def test_ffmpeg_finds_its_way_through_garbage(faulty_camera: FaultyCamera) -> None:
    with av.open(faulty_camera.url, options=QUICK, timeout=(5, 2)) as stream:
        packets = stream.demux(video=0)
        next(packets)
        faulty_camera.garbage = True
        for _ in range(5):
            assert next(packets).size


@pytest.mark.parametrize("whose", ["inter", "all"])
def test_corrupt_pictures_are_seen_as_such_by_a_decoder(faulty_camera: FaultyCamera, whose: str) -> None:
    faulty_camera.corrupt = "inter" if whose == "inter" else "all"
    damaged, clean_keys = 0, 0
    with av.open(faulty_camera.url, options=QUICK, timeout=(5, 2)) as stream:
        stream.streams.video[0].thread_type = "FRAME"
        for number, frame in enumerate(stream.decode(video=0)):
            damaged += frame.is_corrupt
            clean_keys += frame.key_frame and not frame.is_corrupt
            if number == 31:
                break
    assert damaged > 5
    assert bool(clean_keys) is (whose == "inter")


@pytest.mark.parametrize("secs", [3600.0, -30.0])
async def test_timestamps_jump(faulty_camera: FaultyCamera, secs: float) -> None:
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        times = [(await client.next_unit()).timestamp]
        faulty_camera.jump(secs)
        times += [(await client.next_unit()).timestamp for _ in range(20)]
    steps = [later - sooner for sooner, later in pairwise(times)]
    assert sorted(set(steps), key=abs) == [6000, 6000 + round(secs * 90_000)]


async def test_timestamps_wrap(faulty_camera: FaultyCamera) -> None:
    faulty_camera.approach_wrap(1.5)
    async with RtspClient(faulty_camera.port) as client:
        await client.play("/stream")
        times = [(await client.next_unit()).timestamp for _ in range(30)]
    assert any(later < sooner for sooner, later in pairwise(times))
    assert {(later - sooner) & 0xFFFFFFFF for sooner, later in pairwise(times)} == {6000}
