"""Privacy masks: polygons filled into a frame before anything is made of it.

numpy alone, because a capture host does not import OpenCV. A pixel is masked when any part of it lies
within half a pixel of the polygon, so that rounding never uncovers an edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevlm.capture.spec import Polygon

Mask = NDArray[np.bool_]
_SLACK_PX = 0.75


def rasterise(polygons: Sequence[Polygon], width: int, height: int) -> Mask:
    """Return a boolean array of shape (height, width), True where a pixel is masked.

    Args:
        polygons: corners as fractions of width and height; crossing edges fill by the even-odd rule.
        width: of the picture in pixels.
        height: of the picture in pixels.

    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64) * (width, height)
        for row in range(height):
            for first, last in _spans(corners, row):
                mask[row, max(0, first) : max(0, last + 1)] = True
    return mask


def _spans(corners: NDArray[np.float64], row: int) -> list[tuple[int, int]]:
    """Return the first and last masked column of each run in one row, edges included."""
    spans: list[tuple[int, int]] = []
    for y in (row + 0.01, row + 0.5, row + 0.99):
        crossings = _crossings(corners, y)
        spans += [
            (int(np.floor(left - _SLACK_PX)), int(np.ceil(right + _SLACK_PX)))
            for left, right in zip(crossings[::2], crossings[1::2], strict=False)
        ]
    return spans


def _crossings(corners: NDArray[np.float64], y: float) -> list[float]:
    """Return where the polygon's edges cross the horizontal line at `y`, sorted."""
    start, end = corners, np.roll(corners, -1, axis=0)
    cross = (start[:, 1] <= y) != (end[:, 1] <= y)
    start, end = start[cross], end[cross]
    at = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    return sorted(float(x) for x in at)
