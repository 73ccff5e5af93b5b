"""A made camera for the tests of the `change` trigger: a view with texture and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm.choose.change import ChangeSettings, ChangeTrigger, Fired, Step
from edgevlm.choose.scene import Scene
from edgevlm.records import Instant, Look

Picture = NDArray[Any]
Draw = Callable[[Picture, float], Picture]
WIDTH, HEIGHT = 320, 180


def view(seed: int = 3) -> Picture:
    """A wall with shelves: boxes, lines and a soft gradient."""
    rng = np.random.default_rng(seed)
    picture = (
        np.full((HEIGHT, WIDTH), 105, np.float32) + np.linspace(-20, 25, HEIGHT, dtype=np.float32)[:, None]
    )
    for _ in range(22):
        x, y = int(rng.integers(0, WIDTH - 20)), int(rng.integers(0, HEIGHT - 20))
        w, h = int(rng.integers(8, 60)), int(rng.integers(8, 45))
        cv2.rectangle(picture, (x, y), (x + w, y + h), float(rng.uniform(40, 190)), -1)
        for line in range(x, x + w, 7):
            cv2.line(picture, (line, y), (line, y + h), float(rng.uniform(40, 190)), 1)
    return cv2.GaussianBlur(picture, (3, 3), 0.7)


def person(picture: Picture, x: float, *, feet: float = 150, high: float = 60, level: float = 50) -> Picture:
    """Draw somebody whose middle is at column `x`."""
    centre = round(x), round(feet - high / 2)
    stencil = np.zeros(picture.shape, np.float32)
    cv2.ellipse(stencil, centre, (round(high * 0.2), round(high / 2)), 0, 0, 360, 1.0, -1)
    coat = float(picture.mean()) + level
    return picture * (1 - stencil) + coat * stencil


@dataclass
class Watch:
    """One rule at one made camera; time moves as the looks come."""

    settings: ChangeSettings = field(default_factory=ChangeSettings)
    noise: float = 1.5
    gop_secs: float = 2.0
    on_demand: bool = True
    seed: int = 3
    at_secs: float = 0.0
    mono_offset_secs: float = 5000.0
    fired: list[tuple[float, Fired]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scene, self.trigger = Scene(), ChangeTrigger(self.settings)
        self.empty = view(self.seed)
        self._rng = np.random.default_rng(self.seed)
        self._key_secs = 0.0

    def run(self, until_secs: float, draw: Draw = lambda picture, _: picture) -> list[tuple[float, str]]:
        """Show the camera until then; return when and why it was asked in this time."""
        before = len(self.fired)
        while self.at_secs < until_secs:
            self.show(draw(self.empty.copy(), self.at_secs))
            self.at_secs = self._next_secs()
        return [(at, fired.reason) for at, fired in self.fired[before:]]

    def _next_secs(self) -> float:
        while self._key_secs <= self.at_secs:
            self._key_secs += self.gop_secs
        wanted = self.steps[-1].wanted_secs if self.on_demand and self.steps else None
        return self._key_secs if wanted is None else min(self._key_secs, self.at_secs + wanted)

    def show(self, picture: Picture, *, grain: bool = True) -> Step | None:
        """Show one picture now."""
        noise = self._rng.normal(0, self.noise, picture.shape) if grain and self.noise else 0.0
        luma = np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)
        found = self.scene.observe(look(luma, self.at_secs, self.at_secs + self.mono_offset_secs))
        if found is None:
            return None
        step = self.trigger.see(found)
        self.steps.append(step)
        self.fired += [(self.at_secs, fired) for fired in step.fired]
        return step

    def shown_secs(self) -> list[float]:
        """Return the time of each asked frame."""
        return [fired.instants[0].pts_ns / 1e9 for _, fired in self.fired]


def look(luma: Picture, at_secs: float, mono_secs: float | None = None) -> Look:
    mono_ns = round((at_secs if mono_secs is None else mono_secs) * 1e9)
    height, width = luma.shape
    instant = Instant(1, round(at_secs * 1e9), mono_ns, mono_ns)
    return Look("yard", instant, keyframe=True, width=width, height=height, luma=luma.tobytes())
