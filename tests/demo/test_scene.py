"""The demo's scenes: the same instant looks the same, and what they tell changes as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.demo.dock import PARCEL_SECS, PASS_SECS, label
from edgevlm.demo.press import CYCLE_SECS, LIMIT_BAR, pressure, reading
from edgevlm.demo.scene import CAMERAS, SIZE, draw, zone
from tests.servers.clips import Picture


def zoned(camera: str, t_secs: float) -> Picture:
    """Return the part of a picture where the text is."""
    (left, top), _, (right, bottom), _ = zone(camera)
    width, height = SIZE
    return draw(camera, t_secs)[
        round(top * height) : round(bottom * height), round(left * width) : round(right * width)
    ]


@pytest.mark.parametrize("camera", CAMERAS)
def test_an_instant_looks_the_same_whenever_it_is_drawn(camera: str) -> None:
    first = draw(camera, 4.5).copy()
    assert first.shape == (SIZE[1], SIZE[0], 3)
    assert first.dtype == np.uint8
    for t_secs in (0.0, 12.25, 100.0):
        draw(camera, t_secs)[:] = 0  # the caller may draw over it
    assert np.array_equal(draw(camera, 4.5), first)


@given(t_secs=st.floats(min_value=0, max_value=1e7))
def test_every_instant_can_be_drawn(t_secs: float) -> None:
    for camera in CAMERAS:
        assert draw(camera, t_secs).any()


def test_the_display_changes_with_the_second_and_passes_the_limit() -> None:
    assert np.array_equal(zoned("press", 6.0), zoned("press", 6.9))
    assert not np.array_equal(zoned("press", 6.9), zoned("press", 7.0))
    assert reading(6.9) == reading(6.0) == f"{pressure(6):.1f} bar"
    values = [pressure(second) for second in range(CYCLE_SECS)]
    assert min(values) < LIMIT_BAR - 2
    assert max(values) > LIMIT_BAR + 1
    assert next(second for second, value in enumerate(values) if value > LIMIT_BAR) <= 15


def test_the_label_stands_still_until_the_next_parcel_brings_another() -> None:
    rest = PARCEL_SECS / 2
    assert np.array_equal(zoned("dock", rest), zoned("dock", rest + 1))
    labels = [label(rest + turn * PARCEL_SECS) for turn in range(8)]
    assert labels[0] == ("PARCEL 4711", "BERLIN")
    assert len(set(labels)) == 8


def test_someone_passes_and_is_gone_again() -> None:
    free = (slice(180, 560), slice(940, None))  # to the right of the parcel
    empty = draw("dock", 4.0)[free]
    passing = draw("dock", 4.0 + PASS_SECS)[free]
    walking = [draw("dock", t / 2)[free] for t in range(4, 19)]
    assert any(not np.array_equal(picture, empty) for picture in walking)
    assert not np.array_equal(passing, empty), "the next one comes from the other side"
    assert np.array_equal(draw("dock", 12.0)[free], empty)


def test_whoever_comes_back_faces_the_other_way() -> None:
    above_the_parcel = (slice(180, 310), slice(560, 720))
    halfway = 2 + 3.5
    there, back = (draw("dock", t)[above_the_parcel] for t in (halfway, halfway + PASS_SECS))
    assert not np.array_equal(there, draw("dock", 12.0)[above_the_parcel]), "somebody is there"
    assert not np.array_equal(there, back)


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_zone_is_one_that_the_configuration_takes(camera: str) -> None:
    corners = zone(camera)
    assert len(corners) == 4
    assert all(0 <= part <= 1 for corner in corners for part in corner)
