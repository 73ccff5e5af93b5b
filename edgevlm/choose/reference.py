"""The last picture that was asked about, and whether the scene now rests in another state."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgevlm.choose.canvas import Mask, Plane
from edgevlm.choose.light import compare_patterns, fit_light, shrink
from edgevlm.choose.scene import View
from edgevlm.choose.tracks import Blob, Shot, find_blobs

_LEAST_CONTRAST = 14.0
_SIGMAS = 6.0
"""Two single looks are compared, without the mean's patience: both thresholds are higher than for it."""
_LIGHT_CONTRAST = 10.0
_BESIDE = 4
_FRONT_REACH = np.ones((9, 9), np.uint8)


class Reference:
    """Holds what one question showed; replaced with each question."""

    def __init__(self, shot: Shot, shape: tuple[int, ...]) -> None:
        self._plane: Plane = np.frombuffer(shot.picture, np.uint8).reshape(shape).astype(np.float32)
        self._front: Mask | None = np.frombuffer(shot.front, np.uint8).reshape(shape)

    def resize(self, shape: tuple[int, ...]) -> None:
        """Fit to looks of another size."""
        self._plane = cv2.resize(self._plane, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
        self._front = None

    def differs(self, view: View, zone: Mask, there: Sequence[Blob], large: float) -> bool:
        """Return whether something large is otherwise than asked, light and known things apart.

        Args:
            view: what the camera shows now.
            zone: where to look.
            there: the things that were asked about and are still there.
            large: the least area in pixels.

        """
        light = fit_light(shrink(self._plane), shrink(view.plane))
        asked = cv2.addWeighted(self._plane, light.gain, self._plane, 0, light.offset)
        threshold = max(_LEAST_CONTRAST, _SIGMAS * view.noise)
        threshold += 0.0 if light.steady else _LIGHT_CONTRAST
        differs = (cv2.absdiff(asked, view.plane) > threshold).astype(np.uint8)
        differs &= zone & (1 - self._known(there))
        if cv2.countNonZero(differs) < large:
            return False
        opened: Mask = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return bool(find_blobs(opened, opened, large, compare_patterns(asked, view.plane, view.noise)))

    def _known(self, there: Sequence[Blob]) -> Mask:
        """Return where the known things are now and, while one is there, where they were when asked about."""
        known: Mask = np.zeros(self._plane.shape, dtype=np.uint8)
        if there and self._front is not None:
            known |= self._front
        for blob in there:
            left = max(0, round(blob.x - blob.width / 2) - _BESIDE)
            top = max(0, round(blob.y - blob.height / 2) - _BESIDE)
            known[top : top + blob.height + 2 * _BESIDE, left : left + blob.width + 2 * _BESIDE] = 1
        return known


def shot_of(view: View, score: float) -> Shot:
    """Keep a look that may be asked about."""
    picture = cv2.convertScaleAbs(view.plane).tobytes()
    front = cv2.dilate(view.foreground, _FRONT_REACH).tobytes()
    return Shot(view.instant, view.at_secs, score, picture, front)
