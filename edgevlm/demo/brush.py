"""Strokes for the demo's scenes: anti-aliased shapes, soft shades and type on BGR pictures.

Coordinates are pixels, fractions allowed; angles are degrees, 0 to the right, growing clockwise as seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[float, float]

_SHIFT = 4
"""Fraction bits of the coordinates that cv2 draws with."""

_CAPITAL = 0.75
"""Height of the font's capitals, as a part of its size."""


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def ink(code: str) -> Colour:
    """Return the BGR colour of a web colour such as `#20a0ff`."""
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return blue, green, red


def blank(size: tuple[int, int], top: Colour, bottom: Colour) -> Canvas:
    """Return a canvas of (width, height) that runs from the colour `top` to `bottom`."""
    width, height = size
    rows = np.linspace(top, bottom, height, dtype=np.float32).round().astype(np.uint8)
    return np.ascontiguousarray(np.repeat(rows[:, None, :], width, axis=1))


def polar(centre: Point, radius: float, degrees: float) -> Point:
    """Return the point at `radius` from `centre` in the direction `degrees`."""
    turn = math.radians(degrees)
    return centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)


def fill(canvas: Canvas, corners: Sequence[Point], colour: Colour) -> None:
    """Fill a polygon."""
    points = np.round(np.asarray(corners) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA, _SHIFT)


def box(canvas: Canvas, left_top: Point, right_bottom: Point, colour: Colour, radius: float = 0) -> None:
    """Fill a rectangle, its corners rounded by `radius`."""
    (x0, y0), (x1, y1) = left_top, right_bottom
    if radius <= 0:
        fill(canvas, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)
        return
    centres = [(x1 - radius, y1 - radius), (x0 + radius, y1 - radius)]
    centres += [(x0 + radius, y0 + radius), (x1 - radius, y0 + radius)]
    quarter = range(0, 91, 6)
    fill(canvas, [polar(c, radius, 90 * i + d) for i, c in enumerate(centres) for d in quarter], colour)


def disc(canvas: Canvas, centre: Point, radius: float, colour: Colour, thickness: int = -1) -> None:
    """Fill a disc, or draw a ring of `thickness` pixels."""
    scale = 1 << _SHIFT
    at = round(centre[0] * scale), round(centre[1] * scale)
    cv2.circle(canvas, at, round(radius * scale), colour, thickness, cv2.LINE_AA, _SHIFT)


def ring(canvas: Canvas, centre: Point, radii: Point, degrees: Point, colour: Colour) -> None:
    """Fill the part of a ring between two radii, from one angle to the other."""
    steps = np.linspace(degrees[0], degrees[1], max(2, int(abs(degrees[1] - degrees[0]) / 2)))
    outer = [polar(centre, radii[1], step) for step in steps]
    inner = [polar(centre, radii[0], step) for step in steps[::-1]]
    fill(canvas, outer + inner, colour)


def stroke(canvas: Canvas, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
    """Draw a line with round ends."""
    scale = 1 << _SHIFT
    a, b = ((round(x * scale), round(y * scale)) for x, y in (start, end))
    cv2.line(canvas, a, b, colour, thickness, cv2.LINE_AA, _SHIFT)


def limb(canvas: Canvas, start: Point, end: Point, widths: Point, colour: Colour) -> None:
    """Draw a tapered stroke: round ends of half the two `widths`."""
    (x0, y0), (x1, y1) = start, end
    turn = math.degrees(math.atan2(y1 - y0, x1 - x0))
    radii = widths[0] / 2, widths[1] / 2
    corners = [polar(start, radii[0], turn + 90), polar(start, radii[0], turn - 90)]
    corners += [polar(end, radii[1], turn - 90), polar(end, radii[1], turn + 90)]
    fill(canvas, corners, colour)
    disc(canvas, start, radii[0], colour)
    disc(canvas, end, radii[1], colour)


def text(canvas: Canvas, words: str, centre: Point, size: int, colour: Colour, *, weight: int = 500) -> None:
    """Write one line with its middle at `centre`; `size` is in pixels, `weight` from 300 to 900."""
    _, _, width, _ = cv2.getTextSize((0, 0), words, (0, 0), _font(), size, weight)
    origin = round(centre[0] - width / 2), round(centre[1] + _CAPITAL * size / 2)
    cv2.putText(canvas, words, origin, colour, _font(), size, weight)


def shadow(
    canvas: Canvas, corners: Sequence[Point], *, blur: float, strength: float, colour: Colour = (0, 0, 0)
) -> None:
    """Lay a blurred polygon over the canvas; slow, for what is drawn once."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.asarray(corners)).astype(np.int32)], 255)
    weight = cv2.GaussianBlur(mask, (0, 0), blur).astype(np.float32)[..., None] * (strength / 255)
    mixed = canvas * (1 - weight) + np.asarray(colour, np.float32) * weight
    canvas[:] = mixed.round().astype(np.uint8)


def disc_corners(centre: Point, radius: float) -> list[Point]:
    """Return a polygon that stands for a disc, for `shadow`."""
    return [polar(centre, radius, degrees) for degrees in range(0, 360, 5)]
