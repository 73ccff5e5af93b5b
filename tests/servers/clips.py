"""Recordings for tests: a box moves, and each frame carries its number in squares that survive encoding."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Scene = Callable[[int, tuple[int, int]], Picture]
"""Draws the BGR picture of a frame number at (width, height); the number's squares are laid over it."""

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}
_CELLS = 16
_NUMBER_BITS = 12


class UnreadableFrame(ValueError):
    """The picture carries no whole frame number: grey, torn, masked, or not one of ours."""


def moving_box(number: int, size: tuple[int, int]) -> Picture:
    """A red box that crosses a shaded ground from left to right, one eightieth of the width a frame."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[..., :2] = np.linspace(60, 160, width, dtype=np.uint8)[None, :, None]
    picture[..., 2] = np.linspace(40, 120, height, dtype=np.uint8)[:, None]
    left = number * (width // 80) % width
    picture[height // 2 : height * 3 // 4, left : left + width // 8] = (30, 30, 220)
    return picture


def still(number: int, size: tuple[int, int]) -> Picture:
    """The same ground with no box: nothing moves but the number."""
    del number
    return moving_box(0, size)


def _checked(number: int) -> int:
    """Return the number with four check bits behind it; neither all black nor all white is a number."""
    check = 5 + number + (number >> 4) + (number >> 8)
    return number << 4 | check & 0xF


def write_frame_number(picture: Picture, number: int) -> None:
    """Write `number` (0 to 4095) into the top eighth of a picture: a row of squares, white for 1."""
    if not 0 <= number < 1 << _NUMBER_BITS:
        raise ValueError(f"frame number {number}")
    height, width = picture.shape[:2]
    for cell in range(_CELLS):
        bit = _checked(number) >> (_CELLS - 1 - cell) & 1
        picture[: height // 8, cell * width // _CELLS : (cell + 1) * width // _CELLS] = 235 if bit else 16


def read_frame_number(image: Picture) -> int:
    """Return the number in a decoded picture, grey or colour, of whatever size it was scaled to."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    height, width = grey.shape
    rows = slice(height // 32, max(height // 32 + 1, height * 3 // 32))
    value = 0
    for cell in range(_CELLS):
        middle = slice((4 * cell + 1) * width // (4 * _CELLS), (4 * cell + 3) * width // (4 * _CELLS))
        level = float(grey[rows, middle].mean())
        if 80 < level < 176:
            raise UnreadableFrame(f"square {cell} is grey ({level:.0f})")
        value = value << 1 | (level > 128)
    number = value >> 4
    if _checked(number) != value:
        raise UnreadableFrame(f"wrong check bits in {value:016b}")
    return number


def make_clip(
    path: Path,
    *,
    codec: str = "h264",
    size: tuple[int, int] = (640, 360),
    fps: int = 15,
    secs: float = 4,
    gop_secs: float = 1,
    scene: Scene = moving_box,
    b_frames: int = 0,
    pixel_format: str = "yuv420p",
    first_number: int = 0,
) -> Path:
    """Write a recording, its container by the path's ending, and return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_ENCODERS[codec], rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.gop_size = max(1, round(fps * gop_secs))
        stream.max_b_frames = b_frames
        stream.thread_count = 1
        stream.options = _encoder_options(codec, stream.gop_size, b_frames)
        for index in range(round(fps * secs)):
            picture = scene(first_number + index, size)
            write_frame_number(picture, first_number + index)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _encoder_options(codec: str, gop: int, b_frames: int) -> dict[str, object]:
    if codec == "hevc":
        params = f"log-level=none:keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:pools=none"
        return {"preset": "ultrafast", "x265-params": params}
    if codec == "h264":
        return {"preset": "ultrafast", "crf": "23", "sc_threshold": "0", "bf": str(b_frames)}
    return {"qscale": "3"}


def access_units(path: Path) -> list[bytes]:
    """Return an H.264 recording's coded pictures in Annex B, parameter sets before each keyframe."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) for out in annex_b.filter(packet)]
        return [bytes(packet) for packet in packets]
