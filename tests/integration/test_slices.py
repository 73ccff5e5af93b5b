"""Cameras that send a picture in several slices: FFmpeg gives out the last one only with the next picture."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import av

from edgevlm.capture.hosts import Hosts
from edgevlm.capture.spec import CameraSpec, RtspSpec
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.servers.clips import moving_box
from tests.servers.rtsp import NewRtspServer

SIZE = (320, 240)


def _sliced_clip(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 5
        stream.max_b_frames = 0
        stream.options = {"x264-params": "slices=2:scenecut=0:keyint=5:min-keyint=5", "preset": "ultrafast"}
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(moving_box(number, SIZE), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 15)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


async def test_every_question_gets_a_whole_picture(new_rtsp_server: NewRtspServer, tmp_path: Path) -> None:
    server = new_rtsp_server({"/sliced": _sliced_clip(tmp_path / "sliced.mp4")})
    spec = CameraSpec("yard", RtspSpec(server.url("/sliced")))
    hosts = Hosts([spec], cameras_per_host=1, clock=SystemClock(), counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    camera = hosts.cameras["yard"]
    try:
        async for _ in camera.looks():
            break
        shown: set[int] = set()
        while len(shown) < 25:  # over five keyframes; one that is half here raises NoFrame
            shown.add((await camera.picture(max_side=320)).instant.pts_ns)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
