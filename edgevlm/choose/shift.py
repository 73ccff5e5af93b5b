"""A camera that shakes: the whole picture displaced by a few pixels, found by phase correlation."""

from __future__ import annotations

import cv2
import numpy as np

from edgevlm.choose.canvas import Plane
from edgevlm.choose.light import shrink

_HALF = 2
_MAX_SHAKE = 0.06
"""Of the width; what moves farther is a turned camera, not a shaken one."""
_CLEAR_PEAK = 0.12
_MIN_PIXELS = 0.35


def shake_between(background: Plane, plane: Plane) -> tuple[float, float] | None:
    """Return the displacement (x, y) in pixels that turns `background` into `plane`, if there is one."""
    a, b = shrink(background, _HALF), shrink(plane, _HALF)
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (dx, dy), peak = cv2.phaseCorrelate(a, b, window)
    dx, dy = dx * _HALF, dy * _HALF
    far = float(np.hypot(dx, dy))
    if peak < _CLEAR_PEAK or not _MIN_PIXELS < far < _MAX_SHAKE * plane.shape[1]:
        return None
    return dx, dy


def steady(plane: Plane, displacement: tuple[float, float]) -> Plane:
    """Return the picture moved back by the displacement; the edge that is missing repeats."""
    dx, dy = displacement
    moved = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    height, width = plane.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, moved, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
