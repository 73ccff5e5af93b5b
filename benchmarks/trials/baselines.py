"""What others do, written from their descriptions: fixed intervals, MOG2, Frigate, SSIM, pHash, Reducto.

Each sees what it would see in the field (`cadence`): the pixel methods get every decoded frame at the rate
that they are run at, because that is what they are paid for; the intervals decode when they ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.harness import Asked, Cadence, Chooser, Maker

Luma = NDArray[Any]


@dataclass
class Interval:
    """Ask every so many seconds."""

    every_secs: float
    cadence: Cadence = "every"

    def see(self, at_secs: float, luma: Luma, *, keyframe: bool) -> list[Asked]:  # noqa: ARG002 - the protocol's
        """Take one look; return the questions it leads to."""
        return [Asked(at_secs, at_secs, "interval")]

    def wanted_secs(self) -> float | None:
        """Return how soon another look would help."""
        return None


class Triggered:
    """Asks when a measure says that something is there, and not again before the cool-down is over."""

    def __init__(
        self,
        active: Callable[[Luma, bool], bool],
        *,
        cooldown_secs: float,
        every_secs: float = 0.2,
        cadence: Cadence = "every",
    ) -> None:
        self.cadence, self.every_secs = cadence, every_secs
        self._active, self._cooldown_secs = active, cooldown_secs
        self._asked_secs: float | None = None

    def see(self, at_secs: float, luma: Luma, *, keyframe: bool) -> list[Asked]:  # noqa: ARG002 - the protocol's
        """Take one look; return the questions it leads to."""
        free = self._asked_secs is None or at_secs - self._asked_secs >= self._cooldown_secs
        if not self._active(luma, free) or not free:
            return []
        self._asked_secs = at_secs
        return [Asked(at_secs, at_secs, "active")]

    def wanted_secs(self) -> float | None:
        """Return how soon another look would help."""
        return None


class Mog2:
    """OpenCV's mixture of Gaussians; active when the largest opened blob has `least` of the picture."""

    def __init__(self, least: float = 0.004) -> None:
        self._least = least
        self._model = cv2.createBackgroundSubtractorMOG2(history=500, varThreshold=16, detectShadows=True)
        self._looks = 0

    def __call__(self, luma: Luma, _: bool) -> bool:
        """Return whether something is there."""
        mask: Luma = self._model.apply(luma)
        self._looks += 1
        mask = cv2.morphologyEx((mask == 255).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return self._looks > 10 and _largest(mask) >= self._least * luma.size


class Frigate:
    """Height 100, contrast between the 4th and 96th percentile, running average 0.01, threshold 30, 10 px."""

    def __init__(self) -> None:
        self._average: Luma | None = None
        self._bounds: list[tuple[float, float]] = []
        self._calibrating = True
        self._motion_looks = 0

    def __call__(self, luma: Luma, _: bool) -> bool:
        """Return whether something is there."""
        height, width = luma.shape
        size = (width * 100 // height, 100)
        small = cv2.resize(luma, size, interpolation=cv2.INTER_NEAREST)
        self._bounds = [
            *self._bounds[-49:],
            (float(np.percentile(small, 4)), float(np.percentile(small, 96))),
        ]
        low, high = np.mean(self._bounds, axis=0)
        stretched: Luma = np.clip((small.astype(np.float32) - low) / max(1.0, high - low) * 255, 0, 255)
        picture: Luma = cv2.GaussianBlur(stretched.astype(np.float32), (0, 0), 1)
        if self._average is None:
            self._average = picture.copy()
        return self._compare(picture, self._average)

    def _compare(self, picture: Luma, average: Luma) -> bool:
        mask: Luma = (cv2.absdiff(picture, average) > 30).astype(np.uint8)
        mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        share = float(mask.mean())
        moving = _largest(mask) >= 10 and not self._calibrating
        if share > 0.8:
            self._calibrating = True
        elif share < 0.02:
            self._calibrating = False
        self._motion_looks = self._motion_looks + 1 if moving else 0
        if not moving or self._motion_looks >= 10:
            cv2.accumulateWeighted(picture, average, 0.2 if self._calibrating else 0.01)
        return moving and share <= 0.8


class GlobalSsim:
    """One SSIM for the whole picture against the look before, as a popular home automation plug-in has it."""

    def __init__(self, below: float = 0.97) -> None:
        self._below = below
        self._before: NDArray[np.float64] | None = None

    def __call__(self, luma: Luma, _: bool) -> bool:
        """Return whether something is there."""
        now = luma.astype(np.float64)
        before, self._before = self._before, now
        if before is None:
            return False
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        mean_a, mean_b = before.mean(), now.mean()
        both = ((before - mean_a) * (now - mean_b)).mean()
        top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
        bottom = (mean_a**2 + mean_b**2 + c1) * (before.var() + now.var() + c2)
        return bool(top / bottom < self._below)


class PerceptualHash:
    """64 signs of the lowest cosine frequencies against those of the last asked picture."""

    def __init__(self, above: int = 5) -> None:
        self._above = above
        self._asked: NDArray[np.bool_] | None = None

    def __call__(self, luma: Luma, free: bool) -> bool:
        """Return whether something is there."""
        small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        low = cv2.dct(small)[:8, :8].ravel()
        bits: NDArray[np.bool_] = low > np.median(low[1:])
        differs = self._asked is None or int((bits != self._asked).sum()) > self._above
        if differs and free:
            self._asked = bits
        return differs


class ReductoArea:
    """The largest changed contour against the last asked picture, as a share of the picture."""

    def __init__(self, above: float = 0.01) -> None:
        self._above = above
        self._asked: Luma | None = None

    def __call__(self, luma: Luma, free: bool) -> bool:
        """Return whether something is there."""
        smooth = cv2.GaussianBlur(luma, (11, 11), 0)
        if self._asked is None:
            self._asked = smooth
            return True
        mask = cv2.dilate((cv2.absdiff(smooth, self._asked) > 21).astype(np.uint8), np.ones((3, 3), np.uint8))
        differs = _largest(mask) > self._above * luma.size
        if differs and free:
            self._asked = smooth
        return differs


def _largest(mask: Luma) -> float:
    if not mask.any():
        return 0.0
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return float(boxes[1:, cv2.CC_STAT_AREA].max())


def _triggered(measure: Callable[[], Callable[[Luma, bool], bool]], **options: float | Cadence) -> Maker:
    def make() -> Chooser:
        return Triggered(measure(), **options)  # type: ignore[arg-type]  # one dict for all options

    return make


BASELINES: dict[str, Maker] = {
    "every 1 s": lambda: Interval(1.0),
    "every 5 s": lambda: Interval(5.0),
    "every 10 s": lambda: Interval(10.0),
    "MOG2, 5 s": _triggered(Mog2, cooldown_secs=5.0, every_secs=0.0),
    "MOG2, 10 s": _triggered(Mog2, cooldown_secs=10.0, every_secs=0.0),
    "Frigate, 10 s": _triggered(Frigate, cooldown_secs=10.0, every_secs=0.2),
    "global SSIM, 10 s": _triggered(GlobalSsim, cooldown_secs=10.0, every_secs=1.0),
    "pHash, 10 s": _triggered(PerceptualHash, cooldown_secs=10.0, cadence="keyframes"),
    "Reducto area, 1 s": _triggered(ReductoArea, cooldown_secs=1.0, cadence="keyframes"),
    "Reducto area, 10 s": _triggered(ReductoArea, cooldown_secs=10.0, cadence="keyframes"),
}


def _intervals() -> list[tuple[str, Maker]]:
    return [(f"{secs:g} s", partial(Interval, secs)) for secs in (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)]


def _mog2s() -> list[tuple[str, Maker]]:
    return [
        (f"{least:g}", _triggered(partial(Mog2, least), cooldown_secs=10.0, every_secs=0.0))
        for least in (0.0005, 0.002, 0.01, 0.03)
    ]


def _reductos() -> list[tuple[str, Maker]]:
    return [
        (f"{above:g}", _triggered(partial(ReductoArea, above), cooldown_secs=10.0, cadence="keyframes"))
        for above in (0.002, 0.01, 0.03, 0.1)
    ]


CURVES: dict[str, list[tuple[str, Maker]]] = {
    "interval": _intervals(),
    "MOG2": _mog2s(),
    "Reducto area": _reductos(),
}
