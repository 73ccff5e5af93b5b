"""Privacy masks: polygons filled into a frame before anything is made of it.

numpy alone, because a capture host does not import OpenCV. In doubt a pixel is masked: every pixel that comes
within `_SLACK_PX` of an edge, so that rounding never uncovers one, and everything that an edge goes round,
also where a crossing outline goes round it twice (the non-zero winding rule; even-odd would leave a hole).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgevlm.capture.spec import Polygon

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]
_SLACK_PX = 0.5


def rasterise(polygons: Sequence[Polygon], width: int, height: int) -> Mask:
    """Return a boolean array of shape (height, width), True where a pixel is masked.

    Args:
        polygons: corners as fractions of width and height.
        width: of the picture in pixels.
        height: of the picture in pixels.

    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        mask |= _inside(polygon, width, height)
        mask |= _near_edges(polygon, width, height)
    return mask


def _inside(polygon: Polygon, width: int, height: int) -> Mask:
    """Return the pixels whose middle the outline goes round."""
    winding = np.zeros((height, width + 1), dtype=np.int16)
    for start, end in _edges(polygon, width, height):
        top, bottom = sorted((start[1], end[1]))
        rows = _rows(np.ceil(top - 0.5), np.ceil(bottom - 0.5), height)
        if rows.size:
            columns = _clip(np.ceil(_x_at(start, end, rows + 0.5) - 0.5), width)
            winding[rows, columns] += 1 if end[1] > start[1] else -1
    inside: Mask = np.cumsum(winding, axis=1, dtype=np.int16)[:, :width] != 0
    return inside


def _near_edges(polygon: Polygon, width: int, height: int) -> Mask:
    """Return the pixels that an edge touches or nearly touches."""
    spans = np.zeros((height, width + 1), dtype=np.int16)
    for start, end in _edges(polygon, width, height):
        top, bottom = sorted((start[1], end[1]))
        rows = _rows(np.floor(top - _SLACK_PX), np.floor(bottom + _SLACK_PX) + 1, height)
        left, right = _reach(start, end, rows - _SLACK_PX, rows + 1 + _SLACK_PX)
        spans[rows, _clip(np.floor(left - _SLACK_PX), width)] += 1
        spans[rows, _clip(np.floor(right + _SLACK_PX) + 1, width)] -= 1
    near: Mask = np.cumsum(spans, axis=1, dtype=np.int16)[:, :width] > 0
    return near


def _edges(polygon: Polygon, width: int, height: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield both ends of each edge, in pixels."""
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2) * (width, height)
    return zip(corners, np.roll(corners, -1, axis=0), strict=True)


def _reach(start: Floats, end: Floats, above: Floats, below: Floats) -> tuple[Floats, Floats]:
    """Return the leftmost and the rightmost point of an edge between two heights, row by row."""
    top, bottom = sorted((start[1], end[1]))
    if top == bottom:
        level = np.zeros_like(above)
        return level + min(start[0], end[0]), level + max(start[0], end[0])
    one, other = (_x_at(start, end, np.clip(y, top, bottom)) for y in (above, below))
    return np.minimum(one, other), np.maximum(one, other)


def _x_at(start: Floats, end: Floats, y: Floats) -> Floats:
    """Return where an edge that is not level is at these heights."""
    x: Floats = start[0] + (y - start[1]) * (end[0] - start[0]) / (end[1] - start[1])
    return x


def _rows(first: float, after: float, height: int) -> NDArray[np.intp]:
    return np.arange(max(0, int(first)), min(height, int(after)), dtype=np.intp)


def _clip(value: Floats, last: int) -> NDArray[np.intp]:
    return np.clip(value, 0, last).astype(np.intp)
