"""Crops and several frames, through a real capture host; every frame of the clip carries its number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevlm.capture.hosts import Camera, Hosts
from edgevlm.capture.spec import CameraSpec, FileSpec
from edgevlm.records import Picture, Shot
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.servers.clips import read_frame_number

MASK = ((0.75, 0.5), (1.0, 0.5), (1.0, 1.0), (0.75, 1.0))


@pytest.fixture
async def camera(clip: Path) -> AsyncIterator[Camera]:
    spec = CameraSpec("yard", FileSpec(str(clip), loop=True), privacy_masks=(MASK,))
    hosts = Hosts([spec], cameras_per_host=1, clock=SystemClock(), counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    async for _ in hosts.cameras["yard"].looks():
        break
    yield hosts.cameras["yard"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _pixels(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == (picture.height, picture.width)
    return image.astype(np.uint8)


async def test_a_crop_is_cut_before_scaling_and_says_what_it_shows(camera: Camera) -> None:
    whole = await camera.picture(max_side=640)
    part = await camera.picture(max_side=320, instant=whole.instant, crop=(0.5, 0.25, 1.0, 0.75))
    assert (part.width, part.height) == (320, 180)
    assert (part.source_width, part.source_height) == (640, 360)
    assert part.crop == (0.5, 0.25, 1.0, 0.75)
    difference = cv2.absdiff(_pixels(part), _pixels(whole)[90:270, 320:640])
    assert difference.mean() < 3


async def test_masks_hold_in_a_crop(camera: Camera) -> None:
    part = await camera.picture(max_side=640, crop=(0.7, 0.4, 1.0, 1.0))
    image = _pixels(part)
    left, top = int((0.78 - 0.7) / 0.3 * part.width), int((0.55 - 0.4) / 0.6 * part.height)
    assert image[top:, left:].max() < 30
    assert image[:5, :5].max() > 30


@pytest.mark.parametrize("crop", [(0.0, 0.0, 0.001, 0.001), (0.999, 0.999, 1.0, 1.0), (0.3, 0.0, 0.301, 1.0)])
async def test_a_crop_is_never_smaller_than_a_model_can_see(
    camera: Camera, crop: tuple[float, float, float, float]
) -> None:
    part = await camera.picture(max_side=640, crop=crop)
    assert min(part.width, part.height) >= 16
    assert part.crop is not None
    assert part.crop[0] <= crop[0] + 0.03
    assert part.crop[3] >= crop[3] - 0.03


async def test_several_frames_are_evenly_spaced_and_the_future_is_waited_for(camera: Camera) -> None:
    clock = SystemClock()
    before = await camera.picture(max_side=640)
    await clock.sleep(1.2)
    shot = Shot(max_side=640, count=4, before_secs=0.9, after_secs=0.3)
    trigger_ns = clock.monotonic_ns()
    pictures = await camera.pictures(shot, trigger_ns)
    assert clock.monotonic_ns() >= trigger_ns + int(0.3e9)
    numbers = [read_frame_number(_pixels(picture)) for picture in pictures]
    steps = np.diff(np.array(numbers)) % 60
    assert len(pictures) == 4
    assert set(steps.tolist()) <= {5, 6, 7}, (numbers, read_frame_number(_pixels(before)))
    for picture, moment in zip(pictures, shot.moments_mono_ns(trigger_ns), strict=True):
        assert 0 <= moment - picture.instant.captured_mono_ns < 0.15e9
