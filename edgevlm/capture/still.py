"""Still pictures in any common format, turned upright and given on as PNG: one form for all."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edgevlm.capture.container import reason
from edgevlm.capture.exif import exif_orientation, is_cut_short
from edgevlm.errors import CameraUnreachable

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_MAX_BYTES = 100_000_000
_MAX_PIXELS = 100_000_000


def read_png(camera: str, path: Path) -> bytes:
    """Return the picture at `path` (the first, if it is animated) as upright RGB PNG.

    Raises:
        CameraUnreachable: not there, not a whole picture, or too large.

    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise CameraUnreachable(camera, f"{path} is larger than {_MAX_BYTES // 1_000_000} MB")
        if is_cut_short(data):
            raise CameraUnreachable(camera, f"{path} is cut short, or still being written")
        return _encode_png(upright(_pixels(data), exif_orientation(data)))
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise CameraUnreachable(
            camera, f"{path} is not a picture that can be read: {reason(error)}"
        ) from None


def _pixels(data: bytes) -> NDArray[np.uint8]:
    """Decode from memory: FFmpeg would take `%d` in a file's name for a sequence of files."""
    with av.open(io.BytesIO(data), mode="r", options={"max_pixels": str(_MAX_PIXELS)}) as container:
        container.streams.video[0].thread_count = 1
        frame = next(iter(container.decode(video=0)), None)
        if frame is None:
            raise ValueError
        return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror as EXIF 2.32 (tag Orientation) asks."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _encode_png(pixels: NDArray[np.uint8]) -> bytes:
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"compression_level": "1"}
    frame = VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in encoder.encode(frame) + encoder.encode(None))
