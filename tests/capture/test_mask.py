"""Privacy masks against OpenCV's own fill and its distance to the outline."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgevlm.capture.mask import rasterise
from edgevlm.capture.spec import Polygon

fractions = st.floats(0, 1, width=32)
corners = st.tuples(fractions, fractions)
any_polygons = st.lists(corners, min_size=3, max_size=8).map(tuple)
sizes = st.tuples(st.integers(1, 70), st.integers(1, 50))


@st.composite
def simple_polygons(draw: st.DrawFn) -> Polygon:
    """Corners in the order of their angle round a middle, some of them beyond the border's corners."""
    middle = draw(corners)
    angles = sorted(draw(st.lists(st.floats(0, 6.28), min_size=3, max_size=9, unique=True)))
    reach = draw(st.floats(0.05, 1.0))
    points = [(middle[0] + reach * math.cos(a), middle[1] + reach * math.sin(a)) for a in angles]
    assume(max(b - a for a, b in pairwise([*angles, angles[0] + 2 * math.pi])) < math.pi)
    return tuple((min(1.0, max(0.0, x)), min(1.0, max(0.0, y))) for x, y in points)


def distances(polygon: Polygon, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return how far each pixel's middle is inside the outline; negative outside."""
    width, height = size
    outline = (np.array(polygon) * size).astype(np.float32).reshape(-1, 1, 2)
    return np.array(
        [
            [cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), measureDist=True) for x in range(width)]
            for y in range(height)
        ]
    )


@given(simple_polygons(), sizes)
def test_all_that_is_inside_is_masked_and_nothing_two_pixels_outside(
    polygon: Polygon, size: tuple[int, int]
) -> None:
    mask, distance = rasterise([polygon], *size), distances(polygon, size)
    assert mask[distance >= 0].all()
    assert not mask[distance < -2].any()


@given(any_polygons, sizes)
def test_what_opencv_fills_is_masked_whatever_the_outline_does(
    polygon: Polygon, size: tuple[int, int]
) -> None:
    """Also for outlines that cross themselves, turn back on themselves, or have no area."""
    filled = np.zeros((size[1], size[0]), np.uint8)
    fixed_point = np.round((np.array(polygon) * size - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(filled, [fixed_point], 1, shift=8)
    middles_inside = distances(polygon, size) > 0
    mask = rasterise([polygon], *size)
    assert mask[middles_inside].all()
    assert mask[filled.astype(bool) & middles_inside].all()


@given(any_polygons, sizes)
def test_the_direction_and_the_first_corner_do_not_matter(polygon: Polygon, size: tuple[int, int]) -> None:
    mask = rasterise([polygon], *size)
    assert (rasterise([polygon[::-1]], *size) == mask).all()
    assert (rasterise([polygon[1:] + polygon[:1]], *size) == mask).all()


def test_the_middle_of_a_star_is_masked() -> None:
    """The outline goes round it twice; by the even-odd rule it would be seen."""
    star = tuple(
        (0.5 + 0.45 * math.sin(4 * math.pi * k / 5), 0.5 - 0.45 * math.cos(4 * math.pi * k / 5))
        for k in range(5)
    )
    assert rasterise([star], 100, 100)[50, 50]


def test_both_halves_of_a_bow_tie_are_masked() -> None:
    mask = rasterise([((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9))], 100, 100)
    assert mask[50, 15]
    assert mask[50, 85]
    assert not mask[10:20, 50].any()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (641, 359)])
def test_the_whole_frame_can_be_masked(size: tuple[int, int]) -> None:
    assert rasterise([((0, 0), (1, 0), (1, 1), (0, 1))], *size).all()


def test_overlapping_polygons_do_not_cancel_out() -> None:
    clockwise = ((0.1, 0.1), (0.6, 0.1), (0.6, 0.6), (0.1, 0.6))
    other = ((0.3, 0.3), (0.3, 0.9), (0.9, 0.9), (0.9, 0.3))
    mask = rasterise([clockwise, other], 40, 40)
    assert mask[14:22, 14:22].all()


def test_a_line_masks_what_it_touches() -> None:
    """A polygon that somebody squashed to a line still hides that line."""
    mask = rasterise([((0.2, 0.5), (0.8, 0.5), (0.8, 0.5))], 100, 100)
    assert mask[49:51, 20:80].all()
    assert mask.sum() < 300
