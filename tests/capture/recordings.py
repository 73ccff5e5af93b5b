"""Recordings in every container and codec, their frames numbered, and how to play them into a session."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from edgevlm.capture.container import Container
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.ring import Packet
from edgevlm.capture.session import Session
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import CameraSpec, FileSpec
from edgevlm.records import Picture
from tests.servers.clips import moving_box, read_frame_number, write_frame_number

SIZE = (320, 192)
FPS = 25
GOP = 10
STEP_NS = 1_000_000_000 // FPS
NOW = 10**12

_OPTIONS = {
    "libx264": {
        "preset": "fast",
        "x264-params": "keyint={gop}:min-keyint={gop}:scenecut=0:b-adapt=0:bframes={b}",
    },
    "libx265": {
        "preset": "ultrafast",
        "x265-params": "log-level=none:pools=none:open-gop=0:scenecut=0"
        ":keyint={gop}:min-keyint={gop}:bframes={b}",
    },
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
}


def record(
    path: Path,
    encoder: str = "libx264",
    *,
    b_frames: int = 0,
    count: int = 25,
    slices: int = 1,
    extra: str = "",
) -> Path:
    """Write `count` numbered frames, a keyframe every ten."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.gop_size, stream.max_b_frames, stream.thread_count = GOP, b_frames, 1
        options = {key: text.format(gop=GOP, b=b_frames) for key, text in _OPTIONS.get(encoder, {}).items()}
        if encoder == "libx264":
            options["x264-params"] += f":slices={slices}{extra}"
        stream.options = dict(options)
        for number in range(count):
            picture = moving_box(number, SIZE)
            write_frame_number(picture, number)
            frame = VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def raw_packets(path: Path) -> tuple[StreamParams, list[RawPacket]]:
    """Demux the whole recording."""
    container = Container("cam", f"file:{path}")
    try:
        return container.open(), list(iter(container.next, None))
    finally:
        container.close()


def session_for(params: StreamParams, *, ring_secs: float = 10) -> Session:
    return Session(1, CameraSpec("cam", FileSpec("unused"), ring_secs=ring_secs), params)


def play(session: Session, raws: list[RawPacket]) -> Iterator[tuple[Packet, Packet | None]]:
    """Put packets into a session as a camera's thread does; yield each with the keyframe that is whole."""
    for number, raw in enumerate(raws):
        if session.is_rest(raw):
            session.keep_rest(raw)
            continue
        packet = session.place(raw, NOW + number * STEP_NS, NOW + number * STEP_NS)
        yield packet, session.keep(packet)


def number_of(frame: VideoFrame) -> int:
    return read_frame_number(np.asarray(frame.to_ndarray(format="gray"), np.uint8))


def pixels_of(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.uint8)


def number_in(picture: Picture) -> int:
    """Read the frame number out of a JPEG picture."""
    return read_frame_number(pixels_of(picture.jpeg))
