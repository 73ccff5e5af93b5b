"""The demo's cameras, `python -m edgevlm.demo.camera`: drawn, H.264-encoded and served while they run.

Prints one line of JSON, `{"port": N, "mounts": ["/press", "/dock"]}`, when both streams can be opened. Keeps
to real time by leaving pictures out when the machine is too busy, as cameras do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from fractions import Fraction

import av
import cv2
import numpy as np

from edgevlm.demo.brush import Canvas
from edgevlm.demo.lifeline import Lifeline
from edgevlm.demo.rtp import CLOCK_HZ
from edgevlm.demo.rtsp import Mount, RtspServer
from edgevlm.demo.scene import CAMERAS, SIZE, draw
from edgevlm.runtime.clock import Clock, SystemClock

DEFAULT_FPS = 8
_ENCODER_OPTIONS = {"preset": "ultrafast", "tune": "zerolatency", "crf": "25", "sc_threshold": "0", "bf": "0"}


class Encoder:
    """H.264 in Annex B: a keyframe with its parameter sets every second, nothing held back."""

    def __init__(self, fps: int, size: tuple[int, int] = SIZE) -> None:
        self._context = av.CodecContext.create("libx264", "w")
        assert isinstance(self._context, av.VideoCodecContext)
        self._context.width, self._context.height = size
        self._context.pix_fmt = "yuv420p"
        self._context.time_base = Fraction(1, CLOCK_HZ)
        self._context.framerate = Fraction(fps)
        self._context.gop_size = fps
        self._context.thread_count = 1
        self._context.options = _ENCODER_OPTIONS

    def encode(self, picture: Canvas, timestamp: int) -> bytes:
        """Return the access unit of a BGR picture at `timestamp` ticks of 90 kHz."""
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        frame.pts = timestamp
        frame.time_base = Fraction(1, CLOCK_HZ)
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


class Camera:
    """One scene on its way to one mount."""

    def __init__(self, name: str, fps: int, clock: Clock) -> None:
        self.mount = Mount(f"/{name}", clock)
        self._name = name
        self._fps = fps
        self._encoder = Encoder(fps)

    async def shoot(self, number: int) -> None:
        """Draw, encode and send the picture of this number."""
        timestamp = number * CLOCK_HZ // self._fps
        self.mount.feed(await asyncio.to_thread(self._picture, number / self._fps, timestamp), timestamp)

    def _picture(self, t_secs: float, timestamp: int) -> bytes:
        return self._encoder.encode(draw(self._name, t_secs), timestamp)


async def film(cameras: list[Camera], fps: int, clock: Clock) -> None:
    """Shoot all cameras' pictures at their times, for ever."""
    began_ns = clock.monotonic_ns()
    number = 1
    while True:
        elapsed = (clock.monotonic_ns() - began_ns) / 1e9
        number = max(number, int(elapsed * fps))
        await clock.sleep(max(0.0, number / fps - elapsed))
        for camera in cameras:
            await camera.shoot(number)
        number += 1


async def serve(port: int, fps: int) -> None:
    """Film and serve until the lifeline ends."""
    clock = SystemClock()
    cameras = [Camera(name, fps, clock) for name in CAMERAS]
    server = RtspServer([camera.mount for camera in cameras], port=port)
    async with Lifeline() as lifeline, server:
        for camera in cameras:
            await camera.shoot(0)
        filming = asyncio.create_task(film(cameras, fps, clock), name="edgevlm.demo.film")
        filming.add_done_callback(lambda _: lifeline.cut())
        lifeline.say_ready(port=server.port, mounts=[camera.mount.path for camera in cameras])
        await lifeline.wait_ended()
        filming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await filming


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m edgevlm.demo.camera", description="The demo's cameras.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--fps", type=int, default=DEFAULT_FPS, help="pictures a second")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # strokes are small: more threads only wait for each other
    asyncio.run(serve(arguments.port, arguments.fps))


if __name__ == "__main__":
    main()
