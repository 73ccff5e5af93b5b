"""Light told apart from things: one gain and one offset for the whole picture, and the structure beneath.

A light that changes (exposure, a lamp, a cloud, the infrared filter) scales what is there; a thing that
comes replaces it. So the change is explained first by `gain * old + offset`, fitted to the pictures at a
tenth of their size by reweighted least squares, which gives no vote to the tiles that a thing covers.
What a single gain cannot explain (a lamp lights one corner more) is judged by structure: where the fine
pattern of old and new still correlates, only the light has changed (normalised cross-correlation, as
Jacques et al. 2005 use it against shadows).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgevlm.choose.canvas import Mask, Plane

_TILE = 10
_ROUNDS = 4
_GAINS = (0.2, 5.0)
_WINDOW = (5, 5)
_SAME_PATTERN = 0.75
_OTHER_PATTERN = 0.4
_VOTES = 2.5
_LEAST_VOTES = 0.05
_LEAST_TEXTURE = 1.0
_TEXTURE = 1.0
"""A window has a pattern when it varies by this many times the noise."""


@dataclass(frozen=True, slots=True)
class Light:
    """How the picture's light stands to the background's: `picture = gain * background + offset`."""

    gain: float = 1.0
    offset: float = 0.0

    def undo(self, plane: Plane) -> Plane:
        """Return the picture as it would look under the background's light."""
        return cv2.addWeighted(plane, 1 / self.gain, plane, 0, -self.offset / self.gain)

    def shift_at(self, background: Plane) -> Plane:
        """Return by how much the light alone changes each pixel."""
        return cv2.absdiff(self.undo(background), background)

    @property
    def steady(self) -> bool:
        """Whether the light is as good as unchanged."""
        return abs(self.gain - 1) < 0.04 and abs(self.offset) < 4


def shrink(plane: Plane, factor: int = _TILE) -> Plane:
    """Return the picture at one `factor`-th of its size, by area."""
    height, width = plane.shape
    size = max(4, width // factor), max(4, height // factor)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def fit_light(background: Plane, plane: Plane) -> Light:
    """Return the gain and offset that explain most of the picture, given both at tile size."""
    x, y = background.ravel(), plane.ravel()
    gain, offset = 1.0, _median(y - x)
    for _ in range(_ROUNDS):
        gain, offset = _refit(x, y, y - gain * x - offset, gain)
    return Light(gain, offset)


def _refit(x: Plane, y: Plane, miss: Plane, gain: float) -> tuple[float, float]:
    scale = max(1.0, 2.5 * _median(np.abs(miss)))
    weight = 1 / (1 + (miss / scale) ** 2) ** 2
    total = float(weight.sum())
    mean_x, mean_y = float(weight @ x) / total, float(weight @ y) / total
    off_x = x - mean_x
    weighted = weight * off_x
    spread = float(weighted @ off_x) / total
    if spread < 4:
        return gain, mean_y - gain * mean_x
    slope = float(weighted @ (y - mean_y)) / total / spread
    slope = min(max(slope, _GAINS[0]), _GAINS[1])
    return slope, mean_y - slope * mean_x


def _median(values: Plane) -> float:
    middle = values.size // 2
    return float(np.partition(values, middle)[middle])


def structure_kept(background: Plane, plane: Plane) -> float:
    """Return how well the edges of both pictures agree, -1 to 1, whatever the light does."""
    a, b = shrink(background, 3), shrink(plane, 3)
    products = energy_a = energy_b = 1e-6
    for dx, dy in ((1, 0), (0, 1)):
        edge_a, edge_b = cv2.Sobel(a, cv2.CV_32F, dx, dy), cv2.Sobel(b, cv2.CV_32F, dx, dy)
        np.clip(edge_a, -80, 80, out=edge_a)
        np.clip(edge_b, -80, 80, out=edge_b)
        products += float(np.vdot(edge_a, edge_b))
        energy_a += float(np.vdot(edge_a, edge_a))
        energy_b += float(np.vdot(edge_b, edge_b))
    return float(products / (energy_a * energy_b) ** 0.5)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where the fine pattern can be compared: `same` under whatever light, or an `other` one."""

    same: Mask
    other: Mask

    def lit(self, where: Mask) -> bool:
        """Return whether a change is light upon what was there before: most of its pattern is the same."""
        same = cv2.countNonZero(cv2.bitwise_and(self.same, where))
        other = cv2.countNonZero(cv2.bitwise_and(self.other, where))
        return same > _VOTES * other and same > _LEAST_VOTES * cv2.countNonZero(where)

    def within(self, part: tuple[slice, slice]) -> Pattern:
        """Return a rectangle of it."""
        return Pattern(self.same[part], self.other[part])


def compare_patterns(background: Plane, plane: Plane, noise: float) -> Pattern:
    """Compare what is left when all smooth shading is taken away, window by window, at half size.

    Where neither picture has a pattern (a plain wall) both masks are 0: nothing can be said.
    """
    a, b = _fine(background), _fine(plane)
    energy_a, energy_b = cv2.blur(a * a, _WINDOW), cv2.blur(b * b, _WINDOW)
    both = cv2.blur(a * b, _WINDOW)
    floor = max(_LEAST_TEXTURE, (_TEXTURE * noise) ** 2)
    likeness = both / cv2.sqrt(energy_a * energy_b + 1e-6)
    same = (likeness > _SAME_PATTERN) & (cv2.min(energy_a, energy_b) > floor)
    other = (likeness < _OTHER_PATTERN) & (cv2.max(energy_a, energy_b) > 3 * floor)
    return Pattern(_enlarge(same, plane.shape), _enlarge(other, plane.shape))


def _fine(plane: Plane) -> Plane:
    half = shrink(plane, 2)
    return half - cv2.blur(half, _WINDOW)


def _enlarge(mask: Mask, shape: tuple[int, ...]) -> Mask:
    height, width = shape
    return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
