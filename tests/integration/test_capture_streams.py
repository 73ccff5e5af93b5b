"""Cameras that stream well, badly or not at all, through real RTSP servers and a real capture host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from edgevlm.capture.hosts import Camera
from edgevlm.capture.rtsp import RtspSource
from edgevlm.capture.spec import CameraSpec, FileSpec, RtspSpec
from edgevlm.errors import CameraUnreachable, NoFrame
from edgevlm.records import CameraState, Look
from tests.capture.hosting import Watch, capturing, next_look, until
from tests.capture.recordings import number_in, raw_packets, record
from tests.servers.clips import access_units, make_clip, read_frame_number
from tests.servers.faulty_camera import FaultyCamera, Stall, Step
from tests.servers.rtsp import NewRtspServer, RealRtspServer

OPEN_SECS, READ_SECS = 2.0, 2.0


def rtsp(name: str, url: str, **source: Any) -> CameraSpec:
    spec = RtspSpec(url, open_timeout_secs=OPEN_SECS, read_timeout_secs=READ_SECS)
    return CameraSpec(name, replace(spec, **source), look_interval_ms=100)


def healthy(clip: Path) -> CameraSpec:
    """A camera beside the faulty ones, in the same host, with a look every 200 ms."""
    return CameraSpec("healthy", FileSpec(str(clip), loop=True), look_interval_ms=100)


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Coded pictures of two seconds in 320x180, a keyframe every 200 ms."""
    path = tmp_path_factory.mktemp("clips") / "units.mp4"
    return access_units(make_clip(path, size=(320, 180), secs=2, gop_secs=0.2))


@pytest.fixture(scope="session")
def quick_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "quick.mp4"
    return make_clip(path, size=(320, 180), secs=2, gop_secs=0.2)


@pytest.fixture
def faulty(units: list[bytes]) -> Iterator[FaultyCamera]:
    with FaultyCamera(units) as camera:
        yield camera


def number_of(look: Look) -> int:
    return read_frame_number(np.frombuffer(look.luma, np.uint8).reshape(look.height, look.width))


async def gets(camera: Camera, state: CameraState, timeout_secs: float = 10) -> None:
    await until(lambda: camera.health.state == state, timeout_secs)


# --- cameras that stream well -----------------------------------------------------------------------------


async def test_a_real_camera_is_seen_and_measured(rtsp_server: RealRtspServer, clip: Path) -> None:
    async with capturing([rtsp("yard", rtsp_server.url("/plain"))]) as hosts:
        yard = hosts.cameras["yard"]
        look = await next_look(yard)
        picture = await yard.picture(max_side=640, instant=look.instant)
        assert number_in(picture) == number_of(look)
        newest = await yard.picture(max_side=320)
        assert (newest.width, newest.height) == (320, 180)
        await until(lambda: yard.health.bitrate_bps and yard.health.packets > 30)
        health = yard.health
    assert (health.codec, health.width, health.height) == ("h264", 640, 360)
    assert health.fps == pytest.approx(15, rel=0.05)
    assert health.gop_secs == pytest.approx(1, rel=0.02)
    assert health.bitrate_bps == pytest.approx(8 * sum(map(len, access_units(clip))) / 4, rel=0.3)
    assert health.ring_bytes > 0


async def test_the_newest_picture_is_fresh(rtsp_server: RealRtspServer) -> None:
    async with capturing([rtsp("yard", rtsp_server.url("/plain"))]) as hosts:
        yard = hosts.cameras["yard"]
        await next_look(yard)
        await next_look(yard)
        pictures = [await yard.picture(max_side=320) for _ in range(10)]
        ages = [hosts.processes[0]._clock.monotonic_ns() - p.instant.captured_mono_ns for p in pictures[-1:]]
    assert max(ages) < 1_000_000_000
    numbers = [picture.instant.pts_ns for picture in pictures]
    assert numbers == sorted(numbers)


async def test_kinds_of_streams_that_real_servers_send(
    new_rtsp_server: NewRtspServer, tmp_path: Path
) -> None:
    """B-frames, H.265, and H.264 whose parameter sets are repeated before each of its slices."""
    mounts = {
        "/b-frames": record(tmp_path / "b.mp4", b_frames=2, count=50),
        "/hevc": record(tmp_path / "hevc.mp4", "libx265", count=50),
        "/sliced": record(tmp_path / "sliced.mp4", slices=4, count=50),
    }
    server = new_rtsp_server(mounts)
    specs = [rtsp(mount.strip("/"), server.url(mount)) for mount in mounts]
    async with capturing(specs, per_host=3) as hosts:
        for camera in hosts.cameras.values():
            looks = [await next_look(camera) for _ in range(2)]
            assert [number_of(look) % 10 for look in looks] == [0, 0], camera.name
            for _ in range(5):
                picture = await camera.picture(max_side=640)
                assert number_in(picture) == round(picture.instant.pts_ns / 40_000_000) % 50, camera.name
            await until(lambda camera=camera: camera.health.fps)  # type: ignore[misc] # a plain type
            assert camera.health.fps == pytest.approx(25, rel=0.15)
            assert camera.health.decode_errors <= 1


async def test_udp_is_possible(rtsp_server: RealRtspServer) -> None:
    async with capturing([rtsp("yard", rtsp_server.url("/plain"), transport="udp")]) as hosts:
        assert (await next_look(hosts.cameras["yard"])).width == 320


async def test_tls_is_checked_unless_told_otherwise(
    new_rtsp_server: NewRtspServer, clip: Path, certificate: tuple[Path, Path]
) -> None:
    server = new_rtsp_server({"/plain": clip}, "--tls", *map(str, certificate))
    specs = [
        rtsp("trusted", server.url("/plain"), ca_file=str(certificate[0])),
        rtsp("unchecked", server.url("/plain"), verify_tls=False),
        rtsp("strange", server.url("/plain")),
    ]
    async with capturing(specs, per_host=3) as hosts:
        await next_look(hosts.cameras["trusted"])
        await next_look(hosts.cameras["unchecked"])
        await gets(hosts.cameras["strange"], CameraState.OFFLINE)
        assert "certificate" in hosts.cameras["strange"].health.detail


# --- logins -----------------------------------------------------------------------------------------------


async def test_a_login_opens_the_locked_mount(rtsp_server: RealRtspServer) -> None:
    """Digest, with a password of those characters that break URLs; apart from the URL, or quoted in it."""
    login = {"username": rtsp_server.username, "password": rtsp_server.password}
    specs = [
        rtsp("apart", rtsp_server.url("/locked"), **login),
        rtsp("within", rtsp_server.url("/locked", login=True)),
    ]
    async with capturing(specs, per_host=2) as hosts:
        for camera in hosts.cameras.values():
            await next_look(camera)


async def test_a_wrong_password_is_told_without_it_and_not_tried_again(
    rtsp_server: RealRtspServer, faulty: FaultyCamera, quick_clip: Path
) -> None:
    faulty.status = 401
    login = {"username": "viewer", "password": "hunter2/#@"}
    specs = [
        rtsp("locked", rtsp_server.url("/locked"), **login),
        rtsp("refusing", faulty.url, **login),
        rtsp("nameless", rtsp_server.url("/locked")),
        healthy(quick_clip),
    ]
    with capture_logs() as logs:
        async with capturing(specs, per_host=4) as hosts, Watch(hosts.cameras["healthy"]) as watch:
            for name in ("locked", "refusing", "nameless"):
                await gets(hosts.cameras[name], CameraState.UNAUTHORIZED)
            tries, seen = faulty.opened, watch.count
            await until(lambda: watch.count >= seen + 10)
            assert faulty.opened == tries <= 2
            details = [camera.health.detail for camera in hosts.cameras.values()]
    assert not [text for text in (*details, *map(str, logs)) if "hunter2" in text]
    assert watch.longest_gap_secs < 1.0
    errors = [line for line in logs if line["log_level"] == "error"]
    assert {line["camera"] for line in errors} == {"locked", "refusing", "nameless"}


# --- cameras that do not answer ---------------------------------------------------------------------------


async def test_whatever_a_camera_does_not_do_it_goes_offline_and_no_other_is_held_up(
    units: list[bytes], rtsp_server: RealRtspServer, quick_clip: Path
) -> None:
    """Silent after each step, not there, an error, another mount: all in one host with a healthy one."""
    with ExitStack() as stack:
        specs = [healthy(quick_clip)]
        for step in get_args(Step):
            faulty = stack.enter_context(FaultyCamera(units))
            faulty.silent_after = step
            specs.append(rtsp(f"silent-after-{step}", faulty.url))
        for status in (404, 500, 503):
            faulty = stack.enter_context(FaultyCamera(units))
            faulty.status = status
            specs.append(rtsp(f"status-{status}", faulty.url))
        closed = stack.enter_context(FaultyCamera(units))
        await asyncio.to_thread(closed.refuse)
        specs.append(rtsp("refused", closed.url))
        specs.append(rtsp("unknown-mount", rtsp_server.url("/none")))
        specs.append(rtsp("unknown-host", "rtsp://no-such-host.invalid/stream"))
        async with (
            capturing(specs, per_host=len(specs)) as hosts,
            Watch(hosts.cameras["healthy"]) as watch,
        ):
            bad = [camera for name, camera in hosts.cameras.items() if name != "healthy"]
            for camera in bad:
                await gets(camera, CameraState.OFFLINE, OPEN_SECS + READ_SECS + 3)
            details = {camera.name: camera.health.detail for camera in bad}
        assert watch.longest_gap_secs < 1.0
    assert "no answer" in details["silent-after-connect"]
    assert "does not start" in details["silent-after-setup"]
    assert "no data in time" in details["silent-after-play"]
    assert "refused" in details["refused"]
    assert "404" in details["unknown-mount"]
    assert "host name" in details["unknown-host"]


async def test_a_camera_that_comes_back_is_seen_within_its_back_off(faulty: FaultyCamera) -> None:
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        yard = hosts.cameras["yard"]
        first = await next_look(yard)
        await asyncio.to_thread(faulty.refuse)
        await until(lambda: "refused" in yard.health.detail)
        with pytest.raises(NoFrame):
            await yard.picture(max_side=320, instant=replace(first.instant, session=9))
        await asyncio.to_thread(faulty.accept)
        again = await next_look(yard, session=first.instant.session + 1)
        assert yard.health.state == CameraState.ONLINE
        with pytest.raises(NoFrame, match="left the ring"):
            await yard.picture(max_side=320, instant=first.instant)
        assert (await yard.picture(max_side=320)).instant.session == again.instant.session


# --- streams that break off -------------------------------------------------------------------------------


async def test_a_stall_ends_the_session_and_the_next_one_is_good(
    units: list[bytes], quick_clip: Path
) -> None:
    """No byte at all, RTCP without video, half a packet: in each the socket stays open."""
    stalls: list[Stall] = ["everything", "video", "half-packet"]
    with ExitStack() as stack:
        faulty = {stall: stack.enter_context(FaultyCamera(units)) for stall in stalls}
        specs = [rtsp(stall, camera.url) for stall, camera in faulty.items()]
        async with (
            capturing([*specs, healthy(quick_clip)], per_host=4) as hosts,
            Watch(hosts.cameras["healthy"]) as watch,
        ):
            cameras = [hosts.cameras[stall] for stall in stalls]
            for camera in cameras:
                await next_look(camera)
            for stall in stalls:
                faulty[stall].stall = stall
            for camera in cameras:
                await gets(camera, CameraState.OFFLINE)
                assert camera.health.detail.endswith("in time")
            for stall in stalls:
                faulty[stall].stall = None
            for camera in cameras:
                await gets(camera, CameraState.ONLINE)
        assert watch.longest_gap_secs < 1.0


async def test_a_frozen_camera_is_stalled_and_goes_on_where_it_was(
    new_rtsp_server: NewRtspServer, clip: Path
) -> None:
    """Within the read timeout nothing is opened anew."""
    server = new_rtsp_server({"/plain": clip})
    async with capturing([rtsp("yard", server.url("/plain"), read_timeout_secs=30.0)]) as hosts:
        yard = hosts.cameras["yard"]
        first = await next_look(yard)
        await asyncio.to_thread(server.freeze)
        await gets(yard, CameraState.STALLED)
        await asyncio.to_thread(server.thaw)
        await gets(yard, CameraState.ONLINE)
        assert yard.health.sessions == first.instant.session


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_connection_that_ends_is_made_anew(faulty: FaultyCamera, how: Any) -> None:
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        yard = hosts.cameras["yard"]
        await next_look(yard)
        await asyncio.to_thread(faulty.cut, how)
        await gets(yard, CameraState.OFFLINE)
        await gets(yard, CameraState.ONLINE)
        assert yard.health.sessions == 2


async def test_a_closed_camera_is_told_goodbye(faulty: FaultyCamera, units: list[bytes]) -> None:
    """Many cameras serve three or four clients and remember those that left without a word."""
    with FaultyCamera(units) as other:
        async with AsyncExitStack() as running:
            hosts = await running.enter_async_context(
                capturing([rtsp("yard", faulty.url), rtsp("dock", other.url)], per_host=2)
            )
            for camera in hosts.cameras.values():
                await next_look(camera)
            hosts.cameras["yard"].set_enabled(enabled=False)
            await until(lambda: faulty.requests[-1] == "TEARDOWN")
            assert other.requests[-1] != "TEARDOWN"
        assert other.requests[-1] == "TEARDOWN"


# --- streams that change or lie ---------------------------------------------------------------------------


async def test_a_new_size_in_mid_stream_is_the_size_of_the_next_look_and_picture(
    faulty: FaultyCamera, tmp_path: Path
) -> None:
    small = make_clip(tmp_path / "small.mp4", size=(240, 240), secs=1, gop_secs=0.2, first_number=1000)
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        yard = hosts.cameras["yard"]
        first = await next_look(yard)
        faulty.play(access_units(small))
        async with asyncio.timeout(10):
            async for look in yard.looks():
                if look.height != first.height:
                    break
        picture = await yard.picture(max_side=640)
        same = await yard.picture(max_side=640, instant=look.instant)
        await until(lambda: yard.health.height == 240)
    assert (look.width, look.height, number_of(look) >= 1000) == (240, 240, True)
    assert (picture.width, picture.height) == (same.width, same.height) == (240, 240)
    assert number_in(same) == number_of(look)
    assert look.instant.session == first.instant.session


@pytest.mark.parametrize(("sprop", "in_band"), [(False, True), (True, False)])
async def test_parameter_sets_in_either_place_are_enough(
    faulty: FaultyCamera, sprop: bool, in_band: bool
) -> None:
    faulty.sprop, faulty.in_band = sprop, in_band
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        look = await next_look(hosts.cameras["yard"])
        picture = await hosts.cameras["yard"].picture(max_side=320, instant=look.instant)
    assert number_in(picture) == number_of(look)


async def test_without_parameter_sets_it_says_that_nothing_can_be_decoded(faulty: FaultyCamera) -> None:
    faulty.sprop = faulty.in_band = False
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        yard = hosts.cameras["yard"]
        await until(lambda: yard.health.detail == "the stream cannot be decoded")
        assert yard.health.state == CameraState.STARTING
        with pytest.raises(NoFrame):
            await yard.picture(max_side=320)
        faulty.in_band = True
        await gets(yard, CameraState.ONLINE)


async def test_leaping_timestamps_break_nothing(units: list[bytes]) -> None:
    """An hour on, thirty seconds back, and a wrap of the 32 bits: looks and our own time go on evenly."""
    with ExitStack() as stack:
        cameras = {name: stack.enter_context(FaultyCamera(units)) for name in ("ahead", "back", "wrapping")}
        cameras["wrapping"].approach_wrap(1.5)
        async with capturing([rtsp(name, one.url) for name, one in cameras.items()], per_host=3) as hosts:
            for camera in hosts.cameras.values():
                await next_look(camera)
            cameras["ahead"].jump(3600)
            cameras["back"].jump(-30)

            async def follow(camera: Camera) -> None:
                looks = [await next_look(camera) for _ in range(8)]
                steps = [b.instant.pts_ns - a.instant.pts_ns for a, b in pairwise(looks)]
                assert all(100_000_000 < step < 700_000_000 for step in steps), (camera.name, steps)
                waited = [b.instant.captured_mono_ns - a.instant.captured_mono_ns for a, b in pairwise(looks)]
                assert all(100_000_000 < step < 700_000_000 for step in waited), (camera.name, waited)
                assert camera.health.sessions in (0, 1)
                await camera.picture(max_side=320, instant=looks[-1].instant)

            await asyncio.gather(*map(follow, hosts.cameras.values()))


async def test_damaged_pictures_are_neither_shown_nor_asked_about(faulty: FaultyCamera) -> None:
    """Damaged inter pictures cost nothing but themselves; damaged keyframes are no looks."""
    async with capturing([rtsp("yard", faulty.url)]) as hosts:
        yard = hosts.cameras["yard"]
        await next_look(yard)
        faulty.corrupt = "inter"
        for _ in range(5):
            number_of(await next_look(yard))
            number_in(await yard.picture(max_side=320))
        faulty.corrupt = "all"
        errors = yard.health.decode_errors
        await until(lambda: yard.health.decode_errors > errors + 2)
        faulty.corrupt = None
        looks = yard.health.looks
        await until(lambda: yard.health.looks > looks + 1)
        number_of(await next_look(yard))


async def test_rubbish_between_the_packets_does_not_end_a_host(
    faulty: FaultyCamera, quick_clip: Path
) -> None:
    """Random bytes after each picture leave little of a stream; what comes later is whole again."""
    async with capturing([rtsp("yard", faulty.url), healthy(quick_clip)], per_host=2) as hosts:
        yard, pid = hosts.cameras["yard"], hosts.processes[0].pid
        await next_look(yard)
        pid = hosts.processes[0].pid
        faulty.garbage = True
        sent = faulty.sent
        async with Watch(hosts.cameras["healthy"]) as watch:
            await until(lambda: faulty.sent > sent + 30)
        faulty.garbage = False
        async with asyncio.timeout(15):
            async for look in yard.looks():
                number_of(look)
                if faulty.sent > sent + 60:
                    break
        assert hosts.processes[0].pid == pid
    assert watch.longest_gap_secs < 1.0


# --- what is left behind ----------------------------------------------------------------------------------


def test_opening_and_closing_leaves_nothing_behind(units: list[bytes]) -> None:
    """PyAV leaks a connection's threads and memory unless it is closed; a camera may flap for years."""
    me = psutil.Process()

    def flap(camera: FaultyCamera, times: int) -> tuple[int, int]:
        for number in range(times):
            camera.silent_after = "describe" if number % 5 == 4 else None
            source = RtspSource("yard", RtspSpec(camera.url, open_timeout_secs=0.6, read_timeout_secs=2))
            with suppress(CameraUnreachable) if camera.silent_after else nullcontext():
                source.open()
                source.read(threading.Event())
            source.close()
        camera.wait_until(lambda: camera.viewers == 0)
        return me.num_fds(), me.num_threads()

    with FaultyCamera(units) as camera:
        before = flap(camera, 5)
        memory = me.memory_info().rss
        after = flap(camera, 20)
    assert after == pytest.approx(before, abs=3)
    assert me.memory_info().rss - memory < 10_000_000


def test_a_stream_whose_name_is_not_utf8_can_be_opened(tmp_path: Path) -> None:
    """Cameras and recorders write their names in Latin-1; PyAV 18 would refuse them for it."""
    path = tmp_path / "named.mkv"
    with av.open(str(record(tmp_path / "clip.mkv"))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        target.metadata["title"] = "KAMERA-SUED"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"KAMERA-SUED", b"KAMERA-S\xdcD!"))
    assert path.read_bytes() != whole
    assert raw_packets(path)[0].codec == "h264"
