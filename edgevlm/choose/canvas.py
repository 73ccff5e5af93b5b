"""The working picture of a look: small, smoothed, float32; and zones drawn at its size.

At most `MAX_PIXELS` are worked on, so that a portrait or 4:3 camera costs no more than a wide one. The
3x3 smoothing takes away what single pixels do: sensor noise and the grain of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm.records import Look

Plane = NDArray[Any]
"""Grey levels, float32."""
Mask = NDArray[Any]
"""0 or 1, uint8."""
Polygon = Sequence[tuple[float, float]]

MAX_PIXELS = 60_000
_SMOOTH_SIGMA = 0.8
_SUBPIXEL_BITS = 4


def plane_of(look: Look) -> Plane:
    """Return the look as a smoothed float32 picture of at most `MAX_PIXELS`."""
    luma: Plane = np.frombuffer(look.luma, dtype=np.uint8).reshape(look.height, look.width)
    size = work_size(look.width, look.height)
    if size != (look.width, look.height):
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(luma.astype(np.float32), (3, 3), _SMOOTH_SIGMA)


def work_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height that a look is worked on at."""
    scale = min(1.0, (MAX_PIXELS / (width * height)) ** 0.5)
    return max(8, round(width * scale)), max(8, round(height * scale))


def zone_mask(zones: Sequence[Polygon], shape: tuple[int, int]) -> Mask:
    """Return 1 where a pixel lies in one of the polygons (corners 0 to 1); no zones: everywhere."""
    height, width = shape
    if not zones:
        return np.ones(shape, dtype=np.uint8)
    mask = np.zeros(shape, dtype=np.uint8)
    for zone in zones:
        corners = np.asarray(zone, dtype=np.float64) * (width, height) - 0.5
        fixed = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, shift=_SUBPIXEL_BITS)
    return mask
