"""One camera's looks against what is known of its view: what is in front, and how the view itself fares.

Shared by all `change` rules of the camera. Each look is explained by the cheapest cause that will do:
another light, a shaken camera, a thing in front, and only then another view. A big change that no light
and no shake explains is an `upheaval`; when it has come to rest it is the `new_view`, and the background
begins again. No clock, no I/O; the state is a few pictures of at most 60,000 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgevlm.choose.background import Background, Difference
from edgevlm.choose.canvas import Mask, Plane, plane_of
from edgevlm.choose.condition import Condition, Inspector
from edgevlm.choose.light import Pattern, compare_patterns, fit_light, shrink, structure_kept
from edgevlm.choose.shift import shake_between, steady
from edgevlm.records import Instant, Look

Kind = Literal["first", "same", "light", "shake", "upheaval", "new_view"]

NS = 1e9
_ANEW_SECS = 60.0
"""After a silence this long (a suspended machine, a camera that was away) the view is taken as it is."""
_WARM_UP_SECS = 2.5
"""A camera that was just opened settles its exposure and white balance."""
_SHAKE_FROM = 0.01
_SPREAD = 0.25
_LIGHT_FROM = 0.15
_UPHEAVAL_FROM = 0.3
_UPHEAVAL_SPREAD = 0.6
_KEPT = 0.5
_AT_REST = 0.12
_NUDGED_SECS = 30.0


@dataclass(frozen=True, slots=True)
class View:
    """What one look shows; arrays are at working size and not to be changed."""

    instant: Instant
    at_secs: float
    """Monotonic."""
    gap_secs: float
    """Since the look before."""
    kind: Kind
    condition: Condition
    plane: Plane
    foreground: Mask
    moved: Mask
    noise: float
    sharpness: float
    pattern: Pattern | None
    """The view's fine pattern against the background's; None when nothing is in front."""


class Scene:
    """Owned by one camera; `observe` is its only call."""

    def __init__(self, floor: float = 7.0, sigmas: float = 4.0) -> None:
        self._floor, self._sigmas = floor, sigmas
        self._inspector = Inspector()
        self._background: Background | None = None
        self._at_secs = self._began_secs = 0.0
        self._shaken_since: float | None = None

    def observe(self, look: Look) -> View | None:
        """Return what the look shows, or None when it is no newer than the one before."""
        at_secs = look.instant.captured_mono_ns / NS
        gap = at_secs - self._at_secs
        if self._background is not None and gap <= 0:
            return None
        self._at_secs = at_secs
        plane = plane_of(look)
        condition = self._inspector.condition(look, plane, at_secs)
        background = self._background
        if background is None or background.mean.shape != plane.shape:
            return self._begin(look, plane, condition)
        if condition != "ok":
            return self._view(look, gap, "same", condition, plane, _nothing(plane), background.typical_noise)
        if gap > _ANEW_SECS or at_secs - self._began_secs < _WARM_UP_SECS:
            background.restart(plane)
            return self._view(look, gap, "same", condition, plane, _nothing(plane), background.typical_noise)
        return self._compare(look, plane, background, gap)

    def _begin(self, look: Look, plane: Plane, condition: Condition) -> View:
        again = self._background is not None
        self._background = Background(plane) if condition == "ok" else None
        self._began_secs = self._at_secs
        kind: Kind = "new_view" if again else "first"
        return self._view(look, 0.0, kind, condition, plane, _nothing(plane), 2.0)

    def _compare(self, look: Look, plane: Plane, background: Background, gap: float) -> View:
        background.carry(fit_light(shrink(background.mean), shrink(plane)))
        seen = background.difference(plane, self._floor, self._sigmas)
        share = float(seen.foreground.mean())
        kind: Kind = "same"
        if share > _SHAKE_FROM and _everywhere(seen.foreground):
            plane, seen, kind = self._unshake(plane, seen, background)
            share = float(seen.foreground.mean())
        pattern = None
        if share > 0:
            pattern = compare_patterns(background.mean, plane, seen.noise)
        if share > _LIGHT_FROM and pattern:
            kind, seen = self._explain(plane, seen, background, pattern)
        self._settle(kind, plane, seen, background, gap)
        return self._view(look, gap, kind, "ok", plane, seen, seen.noise, pattern)

    def _unshake(
        self, plane: Plane, seen: Difference, background: Background
    ) -> tuple[Plane, Difference, Kind]:
        displacement = shake_between(background.mean, plane)
        if displacement is None:
            return plane, seen, "same"
        moved_back = steady(plane, displacement)
        better = background.difference(moved_back, self._floor, self._sigmas)
        if better.foreground.sum() > 0.5 * seen.foreground.sum():
            return plane, seen, "same"
        _clear_border(better, displacement)
        return moved_back, better, "shake"

    def _explain(
        self, plane: Plane, seen: Difference, background: Background, pattern: Pattern
    ) -> tuple[Kind, Difference]:
        if pattern.lit(seen.foreground):
            things = cv2.bitwise_and(seen.foreground, pattern.other)
            things = cv2.morphologyEx(things, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
            moved = cv2.bitwise_and(seen.moved, things)
            return "light", Difference(things, moved, seen.amount, seen.noise)
        small = float(seen.foreground.mean()) < _UPHEAVAL_FROM
        if (
            small
            or not _everywhere(seen.foreground, _UPHEAVAL_SPREAD)
            or structure_kept(background.mean, plane) > _KEPT
        ):
            return "same", seen
        at_rest = float(seen.moved.mean()) < _AT_REST
        return ("new_view" if at_rest else "upheaval"), seen

    def _settle(self, kind: Kind, plane: Plane, seen: Difference, background: Background, gap: float) -> None:
        """Let the background learn what this kind of look teaches."""
        if kind == "same":
            background.learn(plane, seen, gap)
        elif kind == "light":
            background.restart(plane, keep=cv2.dilate(seen.foreground, np.ones((5, 5), np.uint8)))
        elif kind == "new_view":
            background.restart(plane)
        elif kind in ("upheaval", "shake"):
            background.skip(plane, gap)
        self._notice_nudge(kind, plane, background)

    def _notice_nudge(self, kind: Kind, plane: Plane, background: Background) -> None:
        """Take a shake that stays for half a minute as where the camera now looks."""
        if kind != "shake":
            self._shaken_since = None
        elif self._shaken_since is None:
            self._shaken_since = self._at_secs
        elif self._at_secs - self._shaken_since > _NUDGED_SECS:
            background.restart(plane)
            self._shaken_since = None

    def _view(
        self,
        look: Look,
        gap: float,
        kind: Kind,
        condition: Condition,
        plane: Plane,
        seen: Difference,
        noise: float,
        pattern: Pattern | None = None,
    ) -> View:
        sharpness = self._inspector.sharpness(plane) if condition == "ok" else 0.0
        return View(
            look.instant,
            self._at_secs,
            gap,
            kind,
            condition,
            plane,
            seen.foreground,
            seen.moved,
            noise,
            sharpness,
            pattern,
        )


def _nothing(plane: Plane) -> Difference:
    empty = np.zeros(plane.shape, dtype=np.uint8)
    return Difference(empty, empty, plane, 0.0)


def _clear_border(seen: Difference, displacement: tuple[float, float]) -> None:
    """Forget the edge that came into view only because the camera shook."""
    dx, dy = (round(abs(far)) + 2 for far in displacement)
    for mask in (seen.foreground, seen.moved):
        mask[:dy] = mask[-dy:] = 0
        mask[:, :dx] = mask[:, -dx:] = 0


def _everywhere(foreground: Mask, spread: float = _SPREAD) -> bool:
    """Return whether the change is spread over the picture, as only light and a moved camera spread it."""
    tiles = cv2.resize(foreground.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    return float((tiles > _SHAKE_FROM / 4).mean()) > spread
