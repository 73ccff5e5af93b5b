"""What a camera shows when nothing happens: a mean, its noise, and what flickers, for every pixel.

Invariants: the mean follows what is calm (in about 20 s), hardly what moves, and takes over a thing that
came and stands still after `ABSORB_SECS`; by then a rule has been asked about it (see `change`). Noise is
learnt where nothing is in front. A pixel that changes to and fro (leaves, rain, the digits of the
camera's clock) gathers flicker, which counts as noise and is forgotten in a minute: one passer-by adds
little, ten crossings in a minute make the pixel deaf to changes of that size. A still change whose outline
stands in the mean and not in the picture is a ghost: what was there has left, and the mean takes the
picture over (Cucchiara et al. 2003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edgevlm.choose.canvas import Mask, Plane
from edgevlm.choose.light import Light

ABSORB_SECS = 60.0
_CALM_SECS = 20.0
_NOISE_SECS = 30.0
_FLICKER_SECS = 60.0
_AROUND = np.ones((7, 7), np.uint8)
"""Leaves and digits change beside the pixels that they changed before."""
_FLICKER_SHARE = 0.006
_FLICKER_GROWTH = 0.3
_FLICKER_MOST = 0.12
_LEAK_PER_SEC = 1.0
_LIGHT_DOUBT = 0.12
"""Share of the light's change at a pixel that the fit may be wrong by."""
_MOVE_SECS = 0.9
_MOVED = 1.2
"""Two looks differ by the noise of both, a look and the mean by that of one."""
_UNCOVER_SECS = 1.5
_GHOST_LEAST = 60
_GHOST_EDGES = 1.25
_FIRST_NOISE = 2.0
_MIN_NOISE = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """One look against the background."""

    foreground: Mask
    """1 where it differs from the background."""
    moved: Mask
    """1 where it differs from the look of a second ago as well, or the one before if that is older."""
    amount: Plane
    noise: float
    """Of the typical pixel, in grey levels."""


class Background:
    """Owned by one camera's scene; begins as its first picture."""

    def __init__(self, plane: Plane) -> None:
        self.mean = plane.copy()
        self._previous = plane
        self._noise = np.full_like(plane, _FIRST_NOISE**2)
        self._flicker = np.zeros_like(plane)
        self._flicker_near = np.zeros_like(plane)
        self._still_secs = np.zeros_like(plane)
        self._was = np.zeros(plane.shape, dtype=np.uint8)
        self._doubt: Plane | float = 0.0
        self._looks = 1
        self._previous_secs = 0.0
        self._uncover_secs = 0.0
        self.typical_noise = _FIRST_NOISE

    def carry(self, light: Light) -> None:
        """Bring the background under the light of the present look."""
        carried = cv2.addWeighted(self.mean, light.gain, self.mean, 0, light.offset)
        self._doubt = 0.0 if light.steady else _LIGHT_DOUBT * cv2.absdiff(carried, self.mean)
        self.mean = carried
        previous = self._previous
        self._previous = cv2.addWeighted(previous, light.gain, previous, 0, light.offset)

    def difference(self, plane: Plane, floor: float, sigmas: float) -> Difference:
        """Return where the picture differs by more than `floor` levels and `sigmas` times the noise."""
        threshold = sigmas * cv2.sqrt(self._noise + self._flicker_near)
        np.maximum(threshold, floor, out=threshold)
        threshold += self._doubt
        amount = cv2.absdiff(plane, self.mean)
        foreground = cv2.medianBlur((amount > threshold).astype(np.uint8), 3)
        moved = (cv2.absdiff(plane, self._previous) > _MOVED * threshold).astype(np.uint8)
        return Difference(foreground, cv2.bitwise_and(moved, foreground), amount, self.typical_noise)

    def learn(self, plane: Plane, seen: Difference, secs: float) -> None:
        """Take the look in, `secs` after the one before."""
        calm = 1 - cv2.dilate(seen.foreground, np.ones((3, 3), np.uint8))
        miss = plane - self.mean
        self._learn_noise(miss, calm, secs)
        self._learn_flicker(seen, secs)
        pace = max(_share(secs, _CALM_SECS), 1 / (self._looks + 1))
        limit = _LEAK_PER_SEC * min(secs, 2.0)
        step = np.clip(miss, -limit, limit) * seen.moved
        cv2.copyTo(pace * miss, calm, step)
        self.mean += step
        self._absorb(plane, seen, secs)
        self._was = seen.foreground
        self.skip(plane, secs)
        self._looks += 1

    def _learn_noise(self, miss: Plane, calm: Mask, secs: float) -> None:
        square = miss * miss
        pace = max(_share(secs, _NOISE_SECS), 1 / (self._looks + 1))
        cv2.accumulateWeighted(square, self._noise, pace, calm)
        sample = np.abs(miss[::5, ::5]).ravel()
        middle = float(np.partition(sample, sample.size // 2)[sample.size // 2])
        self.typical_noise += max(pace, 0.1) * (max(_MIN_NOISE, 1.4826 * middle) - self.typical_noise)
        np.maximum(self._noise, (0.8 * self.typical_noise) ** 2, out=self._noise)

    def _learn_flicker(self, seen: Difference, secs: float) -> None:
        kept = math.exp(-secs / _FLICKER_SECS)
        self._flicker *= kept
        self._flicker_near *= kept
        entered = cv2.bitwise_and(seen.foreground, 1 - self._was)
        if cv2.countNonZero(entered):
            energy = seen.amount * seen.amount
            grown: Plane = (1 + _FLICKER_GROWTH) * self._flicker + _FLICKER_SHARE * energy
            grown = cv2.max(cv2.min(grown, _FLICKER_MOST * energy), self._flicker)
            cv2.copyTo(grown, entered, self._flicker)
            self._flicker_near = cv2.dilate(self._flicker, _AROUND)

    def _absorb(self, plane: Plane, seen: Difference, secs: float) -> None:
        still = cv2.bitwise_and(seen.foreground, 1 - seen.moved)
        self._still_secs += min(secs, 5.0)
        self._still_secs *= still
        if cv2.minMaxLoc(self._still_secs)[1] > ABSORB_SECS:
            np.copyto(self.mean, plane, where=self._still_secs > ABSORB_SECS)
        self._uncover_secs += secs
        if self._uncover_secs >= _UNCOVER_SECS and np.count_nonzero(still) > _GHOST_LEAST:
            self._uncover_secs = 0.0
            np.copyto(self.mean, plane, where=ghosts(self.mean, plane, still) > 0)

    def restart(self, plane: Plane, keep: Mask | None = None) -> None:
        """Take the picture as the new background, except where `keep` is 1; noise stays known."""
        if keep is None:
            self.mean = plane.copy()
            self._flicker[:] = self._flicker_near[:] = 0
        else:
            np.copyto(self.mean, plane, where=keep == 0)
        self._still_secs[:] = 0
        self._was = np.zeros_like(self._was)
        self._previous, self._previous_secs = plane, 0.0
        self._doubt = 0.0

    def skip(self, plane: Plane, secs: float) -> None:
        """Remember a look, so that later ones are compared with it; quick looks with one of a second ago."""
        self._previous_secs += secs
        if self._previous_secs >= _MOVE_SECS:
            self._previous, self._previous_secs = plane, 0.0


def ghosts(mean: Plane, plane: Plane, still: Mask) -> Mask:
    """Return the still changes whose outline is in the mean and not in the picture: something has left."""
    opened = cv2.morphologyEx(still, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if cv2.countNonZero(opened) < _GHOST_LEAST:
        return opened * 0
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    found = np.zeros_like(still)
    height, width = still.shape
    for label in range(1, count):
        left, top, w, h, area = (int(value) for value in boxes[label])
        if area < _GHOST_LEAST:
            continue
        part = (
            slice(max(0, top - 4), min(height, top + h + 4)),
            slice(max(0, left - 4), min(width, left + w + 4)),
        )
        shape = (labels[part] == label).astype(np.uint8)
        outline = cv2.morphologyEx(shape, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
        if _edges(mean[part], outline) > _GHOST_EDGES * _edges(plane[part], outline):
            found[part] |= shape
    return cv2.dilate(found, np.ones((7, 7), np.uint8))


def _edges(plane: Plane, where: Mask) -> float:
    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    return cv2.mean(cv2.magnitude(across, down), where)[0]


def _share(secs: float, constant: float) -> float:
    return 1 - math.exp(-max(secs, 0.0) / constant)
