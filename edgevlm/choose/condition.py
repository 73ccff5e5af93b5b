"""Whether a look is worth anything at all: black, covered, overexposed, frozen and torn pictures are known.

Covered means that a picture which had detail has lost nearly all of it; after a quarter of an hour it is
taken for what the camera now shows, so that a foggy night or a turned camera is not silent for ever.
Frozen means that a picture which was alive (no two looks of a sensor are alike) has become the same in
every byte; a source that never was alive, such as a still picture, is not frozen. Torn means that a good
part is the even grey that a decoder fills in for what was lost.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Literal

import cv2
import numpy as np

from edgevlm.choose.canvas import Plane
from edgevlm.choose.light import shrink
from edgevlm.records import Look

Condition = Literal["ok", "black", "covered", "overexposed", "frozen", "torn"]

_FROZEN_SECS = 20.0
_BLACK_LEVEL = 24
_WHITE_LEVEL = 248
_WHITE_SHARE = 0.7
_COVERED_SHARE = 0.2
_COVERED_DETAIL = 0.9
"""Grey levels at a quarter of the size: real views have more than 1.3 even in the dark, covered ones 0.5."""
_BELIEVED_SECS = 900.0
_REMEMBERED = 31
_TORN_SHARE = 0.05
_EVEN = 0.05
"""Of the Laplacian: what a decoder fills in is exactly flat, a smooth wall is only nearly so."""


class Inspector:
    """Remembers what is usual for one camera: detail, sharpness, being alive."""

    def __init__(self) -> None:
        self._details: deque[float] = deque(maxlen=_REMEMBERED)
        self._sharpness: deque[float] = deque(maxlen=_REMEMBERED)
        self._filled_shares: deque[float] = deque(maxlen=_REMEMBERED)
        self._covered_since: float | None = None
        self._bytes = b""
        self._same_since: float | None = None
        self._alive = False

    def condition(self, look: Look, plane: Plane, at_secs: float) -> Condition:
        """Judge one look."""
        if self._frozen(look.luma, at_secs):
            return "frozen"
        small = shrink(plane, 4)
        brightest = small.ravel()
        nearly_all = int(0.98 * brightest.size)
        if float(np.partition(brightest, nearly_all)[nearly_all]) < _BLACK_LEVEL:
            return "black"
        if float(np.mean(small > _WHITE_LEVEL)) > _WHITE_SHARE:
            return "overexposed"
        if self._covered(small, at_secs):
            return "covered"
        torn = self._filled(plane)
        usual_torn = median(self._filled_shares) if self._filled_shares else torn
        self._filled_shares.append(torn)
        if torn > usual_torn + _TORN_SHARE:
            return "torn"
        return "ok"

    def _covered(self, small: Plane, at_secs: float) -> bool:
        detail = float((small - cv2.GaussianBlur(small, (5, 5), 0)).std())
        usual = median(self._details) if self._details else detail
        if detail >= _COVERED_DETAIL or detail >= _COVERED_SHARE * usual:
            self._covered_since = None
            self._details.append(detail)
            return False
        since = self._covered_since = at_secs if self._covered_since is None else self._covered_since
        if at_secs - since < _BELIEVED_SECS:
            return True
        self._details.clear()
        return False

    def _filled(self, plane: Plane) -> float:
        """Return the share of the picture that a decoder filled in: mid-grey without any noise."""
        grey = cv2.inRange(plane, 124.5, 130.5)
        even = cv2.inRange(cv2.Laplacian(plane, cv2.CV_32F), -_EVEN, _EVEN)
        return cv2.countNonZero(cv2.bitwise_and(grey, even)) / plane.size

    def _frozen(self, luma: bytes, at_secs: float) -> bool:
        if luma != self._bytes:
            self._alive = self._alive or bool(self._bytes)
            self._bytes, self._same_since = luma, at_secs
            return False
        return self._alive and self._same_since is not None and at_secs - self._same_since >= _FROZEN_SECS

    def sharpness(self, plane: Plane) -> float:
        """Return how sharp the look is, 1 being usual for this camera."""
        _, deviation = cv2.meanStdDev(cv2.Laplacian(plane, cv2.CV_32F))
        value = float(deviation[0, 0]) ** 2
        usual = median(self._sharpness) if self._sharpness else value
        self._sharpness.append(value)
        return value / max(usual, 1e-3)
