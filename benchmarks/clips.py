"""Recordings for the measurements: like a 1080p camera's, made here, always the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS, GOP_SECS, SECS, BITRATE = 1920, 1080, 15, 2, 10, 3_000_000

_GRAIN = 2.5
"""Standard deviation of the sensor's noise, in grey levels."""
_PATTERN = ((120, 28.0), (40, 14.0), (12, 8.0), (4, 5.0))
"""Detail of the ground at every scale, as walls, trees and asphalt have: pixels, grey levels."""
_CARS = ((0, 300, 150, 220, 8), (700, 620, 260, 180, 16), (1400, 840, 120, 120, 24))
"""Left, top, width, height, and pixels a frame, of what moves."""

Levels = NDArray[np.int16]


def camera_clip(directory: Path) -> Path:
    """Return the recording below `directory`, made now unless it is there already.

    H.264 main profile, 1080p at 15 frames a second, 3 Mbit/s, a keyframe every 2 s, no B-frames: what a
    network camera sends of a street with some traffic.
    """
    path = directory / f"street-{HEIGHT}p{FPS}-{GOP_SECS}s-gop-{SECS}s.mp4"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.mp4")
        _write(unfinished)
        unfinished.rename(path)
    return path


def _write(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.gop_size, stream.max_b_frames, stream.bit_rate = FPS * GOP_SECS, 0, BITRATE
        stream.options = {
            "preset": "veryfast",
            "profile": "main",
            "sc_threshold": "0",
            "refs": "1",
            "maxrate": str(BITRATE),
            "bufsize": str(2 * BITRATE),
        }
        street = _Street()
        for index in range(FPS * SECS):
            container.mux(stream.encode(street.frame(index)))
        container.mux(stream.encode(None))


class _Street:
    """A textured ground that stands still, cars that move, grain over all of it."""

    def __init__(self) -> None:
        chance = np.random.default_rng(1)
        self._ground = _texture(chance, WIDTH, HEIGHT, 110)
        self._colour = _texture(chance, WIDTH, HEIGHT // 2, 128)  # both chroma planes, one after the other
        self._grain = (_GRAIN * chance.standard_normal((HEIGHT + 64, WIDTH + 64))).astype(np.int16)
        self._shifts = chance.integers(0, 64, (FPS * SECS, 2))

    def frame(self, index: int) -> av.VideoFrame:
        down, right = self._shifts[index]
        luma = self._with_cars(index) + self._grain[down : down + HEIGHT, right : right + WIDTH]
        planes = np.concatenate((luma, (self._colour - 128) // 3 + 128))
        frame = av.VideoFrame.from_ndarray(planes.clip(16, 235).astype(np.uint8), format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        return frame

    def _with_cars(self, index: int) -> Levels:
        luma = self._ground.copy()
        for number, (left, top, width, height, step) in enumerate(_CARS):
            x = (left + index * step) % (WIDTH - width)
            luma[top : top + height, x : x + width] = 60 + 50 * number
            luma[top + height // 3 : top + height // 2, x + 10 : x + width - 10] = 200
        return luma


def _texture(chance: np.random.Generator, width: int, height: int, level: int) -> Levels:
    ground = np.full((height, width), float(level))
    for cell, strength in _PATTERN:
        coarse = chance.standard_normal((height // cell + 1, width // cell + 1))
        ground += strength * np.kron(coarse, np.ones((cell, cell)))[:height, :width]
    return ground.astype(np.int16)
