"""Still pictures in any common format, turned upright and given on as PNG: one form for all."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edgevlm.capture.container import reason
from edgevlm.errors import CameraUnreachable

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_MAX_BYTES = 100_000_000
_MAX_PIXELS = 100_000_000
_ORIENTATION_TAG = 0x0112


def read_png(camera: str, path: Path) -> bytes:
    """Return the picture at `path` (the first, if it is animated) as upright RGB PNG.

    Raises:
        CameraUnreachable: not there, not a picture, or too large.

    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CameraUnreachable(camera, f"{path} is larger than {_MAX_BYTES // 1_000_000} MB")
        options = {"protocol_whitelist": "file", "max_pixels": str(_MAX_PIXELS)}
        with av.open(str(path), options=options) as container:
            container.streams.video[0].thread_count = 1
            frame = next(iter(container.decode(video=0)), None)
            pixels = None if frame is None else frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        orientation = exif_orientation(path.read_bytes()[:262_144])
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise CameraUnreachable(
            camera, f"{path} is not a picture that can be read: {reason(error)}"
        ) from None
    if pixels is None:
        raise CameraUnreachable(camera, f"{path} holds no picture")
    return _encode_png(upright(pixels, orientation))


def exif_orientation(head: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of a picture file's beginning; 1 where there is none."""
    for marker in (b"Exif\x00\x00", b"eXIf", b"EXIF\x00\x00\x00\x00"):
        at = head.find(marker)
        if at >= 0:
            return _tiff_orientation(head[at + len(marker) :])
    return _tiff_orientation(head)


def _tiff_orientation(tiff: bytes) -> int:
    """Read the tag from the first directory of a TIFF structure (TIFF 6.0, section 2)."""
    if tiff[:4] not in (b"II*\x00", b"MM\x00*"):
        return 1
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for index in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass  # cut short: no orientation
    return 1


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
    encoder.options = {"compression_level": "1"}
    frame = VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in encoder.encode(frame) + encoder.encode(None))
