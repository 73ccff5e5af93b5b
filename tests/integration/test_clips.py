"""Clips through real hosts, from real RTSP, to the file sink and to a model: whole, in order, and masked."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest

from edgevlm.capture.hosts import Camera, Hosts
from edgevlm.capture.spec import CameraSpec, RtspSpec
from edgevlm.errors import NoFrame
from edgevlm.publish.result import result_schema
from edgevlm.records import Clip, ClipShot
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.servers.clips import make_clip, read_frame_number
from tests.servers.edgevlm import edgevlm, write_config
from tests.servers.rtsp import NewRtspServer, RealRtspServer
from tests.servers.vlm import VlmServer, say

MASK = ((0.75, 0.5), (1.0, 0.5), (1.0, 1.0), (0.75, 1.0))
FRAMES = 60
"""Of the recording, which begins anew after the last."""

Pictures = list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]


@asynccontextmanager
async def watched(url: str, *, masks: tuple[Any, ...] = (), more_secs: float = 3.0) -> AsyncIterator[Camera]:
    """Yield a camera that has been watched for a while."""
    clock = SystemClock()
    spec = CameraSpec("yard", RtspSpec(url), privacy_masks=masks)
    hosts = Hosts([spec], cameras_per_host=1, clock=clock, counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    async for _ in hosts.cameras["yard"].looks():
        break
    await clock.sleep(more_secs)
    try:
        yield hosts.cameras["yard"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def played(mp4: bytes) -> Pictures:
    with av.open(io.BytesIO(mp4), "r") as container:
        return [
            frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
            for frame in container.decode(video=0)
        ]


def assert_in_order(pictures: Pictures) -> None:
    """Each frame follows the one before it, also where the recording begins anew."""
    numbers = [read_frame_number(picture) for picture in pictures]
    steps = np.diff(np.array(numbers)) % FRAMES
    assert set(steps.tolist()) == {1}, numbers


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_plays(path: Path, clip: Clip) -> None:
    """FFmpeg itself finds one video stream, as long as the clip says, and nothing wrong in it."""
    found = probed(path)
    [stream] = found["streams"]
    secs = (clip.captured_to_ns - clip.captured_from_ns) / 1e9
    assert (stream["codec_type"], stream["codec_name"]) == ("video", clip.codec)
    assert float(stream["start_time"]) == 0
    assert int(stream["nb_frames"]) == clip.frames
    assert float(found["format"]["duration"]) == pytest.approx(secs, abs=0.25)
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""


async def test_evidence_from_rtsp_is_what_the_camera_sent(
    rtsp_server: RealRtspServer, tmp_path: Path
) -> None:
    async with watched(rtsp_server.url("/plain")) as camera:
        asked_ns = SystemClock().monotonic_ns()
        clip = await camera.clip(ClipShot(2), asked_ns)
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.mp4)
    assert clip.remuxed
    assert_plays(path, clip)
    pictures = played(clip.mp4)
    assert_in_order(pictures)
    assert 30 <= len(pictures) <= 50, "two seconds, and up to a GOP more"


@pytest.mark.parametrize(("codec", "b_frames"), [("h264", 2), ("hevc", 0)])
async def test_other_streams_come_over_rtsp_as_well(
    new_rtsp_server: NewRtspServer, tmp_path: Path, codec: str, b_frames: int
) -> None:
    recording = make_clip(tmp_path / "recording.mp4", codec=codec, b_frames=b_frames)
    async with watched(new_rtsp_server({"/cam": recording}).url("/cam")) as camera:
        clip = await camera.clip(ClipShot(2), SystemClock().monotonic_ns())
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.mp4)
    assert (clip.remuxed, clip.codec) == (True, codec)
    assert_plays(path, clip)
    assert_in_order(played(clip.mp4))


async def test_masks_hold_in_every_frame_and_pictures_go_on_meanwhile(
    rtsp_server: RealRtspServer, tmp_path: Path
) -> None:
    async with watched(rtsp_server.url("/plain"), masks=(MASK,)) as camera:
        making = asyncio.create_task(camera.clip(ClipShot(2), SystemClock().monotonic_ns()))
        picture = await camera.picture(max_side=640)
        assert not making.done(), "a picture does not wait for a clip that is being encoded"
        clip = await making
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.mp4)
    assert not clip.remuxed
    assert picture.width == 640
    assert_plays(path, clip)
    pictures = played(clip.mp4)
    assert_in_order(pictures)
    for image in pictures:
        height, width = image.shape[:2]
        assert image[int(height * 0.5) + 4 :, int(width * 0.75) + 4 :].max() < 40
        assert image[int(height * 0.5) + 4 :, : int(width * 0.75) - 4].max() > 60


async def test_a_clip_that_need_not_be_encoded_does_not_wait_for_one_that_must(
    rtsp_server: RealRtspServer,
) -> None:
    """One camera's masks cost the other cameras of its host nothing."""
    clock, url = SystemClock(), rtsp_server.url("/plain")
    specs = [CameraSpec("masked", RtspSpec(url), privacy_masks=(MASK,)), CameraSpec("plain", RtspSpec(url))]
    hosts = Hosts(specs, cameras_per_host=2, clock=clock, counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    for camera in hosts.cameras.values():
        async for _ in camera.looks():
            break
    await clock.sleep(2)
    now_ns = clock.monotonic_ns()
    masked = asyncio.create_task(hosts.cameras["masked"].clip(ClipShot(2), now_ns))
    clip = await hosts.cameras["plain"].clip(ClipShot(2), now_ns)
    assert clip.remuxed
    assert not masked.done()
    assert not (await masked).remuxed
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_clip_waits_for_what_is_still_to_come(rtsp_server: RealRtspServer) -> None:
    clock = SystemClock()
    async with watched(rtsp_server.url("/plain"), more_secs=1.0) as camera:
        trigger_ns, trigger_utc_ns = clock.monotonic_ns(), clock.utc_ns()
        clip = await camera.clip(ClipShot(0.5, 0.7, fps=5, asked=True), trigger_ns)
        assert clock.monotonic_ns() - trigger_ns >= 0.7e9
    assert (clip.captured_from_ns - trigger_utc_ns) / 1e9 == pytest.approx(-0.5, abs=0.15)
    assert (clip.captured_to_ns - trigger_utc_ns) / 1e9 == pytest.approx(0.6, abs=0.2)
    assert 5 <= clip.frames <= 7


async def test_a_camera_that_shows_nothing_gives_no_clip(new_rtsp_server: NewRtspServer, clip: Path) -> None:
    server = new_rtsp_server({"/cam": clip})
    spec = CameraSpec("yard", RtspSpec(server.url("/nothing")))
    hosts = Hosts([spec], cameras_per_host=1, clock=SystemClock(), counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    changed = asyncio.Event()
    hosts.cameras["yard"].on_health = lambda _, new: changed.set() if new.detail else None
    await changed.wait()
    with pytest.raises(NoFrame, match="camera is offline"):
        await hosts.cameras["yard"].clip(ClipShot(2), 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- the whole way ----------------------------------------------------------------------------------------


def _rows(directory: Path) -> list[dict[str, Any]]:
    lines = [line for path in directory.glob("*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


async def _until(true: Callable[[], bool]) -> None:
    clock = SystemClock()
    async with asyncio.timeout(30):
        while not true():
            await clock.sleep(0.1)


def _config(server: RealRtspServer, vlm: VlmServer, rule: dict[str, Any], **camera: Any) -> dict[str, Any]:
    question = {"type": "visual-question-answering", "prompt": "Is the gate open?", "answers": ["yes", "no"]}
    model = {"type": "openai-compatible", "base_url": vlm.base_url, "model": "Qwen/Qwen3-VL-8B-Instruct"}
    gate = {"trigger": {"type": "interval", "every_secs": 2}, "task": question, **rule}
    source = {"type": "rtsp", "url": server.url("/plain")}
    return {
        "node": "box",
        "models": {"m": model},
        "sinks": {"files": {"type": "file", "evidence": ["picture", "clip"]}},
        "cameras": {"yard": {"source": source, "rules": {"gate": gate}, **camera}},
    }


async def test_evidence_clips_lie_beside_the_answers(
    rtsp_server: RealRtspServer, vlm: VlmServer, tmp_path: Path
) -> None:
    vlm.otherwise = lambda _: say('{"answer": "yes"}')
    path = write_config(tmp_path / "edgevlm.yaml", _config(rtsp_server, vlm, {}))
    results = tmp_path / "state" / "results"
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await _until(lambda: len(_rows(results)) >= 3)
        assert await running.stop() == 0
    for row in _rows(results)[1:3]:  # of the first, asked at once, there may be one frame only
        jsonschema.validate(row, result_schema())
        mp4 = (results / row["clip"]["evidence"]).read_bytes()
        assert hashlib.sha256(mp4).hexdigest() == row["clip"]["sha256"]
        assert_in_order(played(mp4))
        assert row["clip"]["captured_from"] <= row["captured_at"] <= row["clip"]["captured_to"]
        assert (results / row["frames"][0]["evidence"]).exists()
    assert all(asked.videos == () for asked in vlm.asked)


async def test_a_model_is_shown_the_clip_that_is_kept(
    rtsp_server: RealRtspServer, vlm: VlmServer, tmp_path: Path
) -> None:
    vlm.otherwise = lambda _: say('{"answer": "yes"}')
    config = _config(rtsp_server, vlm, {"clip": {"before_secs": 1, "after_secs": 0.5, "fps": 5}})
    path = write_config(tmp_path / "edgevlm.yaml", config)
    results = tmp_path / "state" / "results"
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await _until(lambda: len(_rows(results)) >= 2)
        assert await running.stop() == 0
    rows = _rows(results)
    shown = {hashlib.sha256(video).hexdigest() for asked in vlm.asked for video in asked.videos}
    assert all(asked.pictures == () for asked in vlm.asked)
    assert {row["clip"]["sha256"] for row in rows[:2]} <= shown
    numbers = [read_frame_number(picture) for picture in played(vlm.asked[1].videos[0])]
    assert set((np.diff(np.array(numbers)) % FRAMES).tolist()) == {3}
