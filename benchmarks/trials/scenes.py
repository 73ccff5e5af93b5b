"""Scenes drawn here: a view with texture, light, noise and things that move; and every disturbance we know.

Nothing of them was filmed, so they say little about recall in the field; they are exact in what happened
when. No parameter was fitted to them, but faults were found on them. Drawn at 640x360, 15 a second, then
encoded as a camera would.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.material import CACHE, FPS, Encoding, Stream, encoded_stream

WIDTH, HEIGHT = 640, 360
Picture = NDArray[Any]
Effect = Callable[[Picture, float, np.random.Generator], Picture]


def view(seed: int) -> Picture:
    """Return an empty view: sky or wall, ground, boxes, poles, grain."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH), rng.uniform(90, 150), np.float32)
    horizon = int(rng.uniform(0.25, 0.5) * HEIGHT)
    slope = np.linspace(0, 1, HEIGHT - horizon, dtype=np.float32)[:, None]
    picture[horizon:] = rng.uniform(60, 110) + rng.uniform(-30, 40) * slope
    for _ in range(int(rng.integers(8, 16))):
        x, y = int(rng.integers(0, WIDTH - 40)), int(rng.integers(0, HEIGHT - 40))
        w, h = int(rng.integers(15, 150)), int(rng.integers(15, 110))
        cv2.rectangle(picture, (x, y), (x + w, y + h), float(rng.uniform(30, 200)), -1)
        for step in range(x, x + w, int(rng.integers(8, 25))):
            cv2.line(picture, (step, y), (step, y + h), float(rng.uniform(30, 200)), 1)
    grain = rng.normal(0, 1, (HEIGHT // 3, WIDTH // 3)).astype(np.float32)
    return picture + 6 * cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Thing:
    """Something that crosses, or comes, waits and leaves."""

    start: float
    end: float
    size: float
    """Height as a share of the picture's."""
    level: float
    """Grey levels against what is behind it."""
    path: tuple[tuple[float, float], ...]
    """Where its feet are at equal steps of time, 0 to 1."""

    def draw(self, picture: Picture, at: float) -> None:
        """Draw the thing where it is at this time."""
        if not self.start <= at <= self.end:
            return
        share = (at - self.start) / (self.end - self.start) * (len(self.path) - 1)
        leg = min(int(share), len(self.path) - 2)
        (x0, y0), (x1, y1) = self.path[leg], self.path[leg + 1]
        x, y = x0 + (x1 - x0) * (share - leg), y0 + (y1 - y0) * (share - leg)
        high = self.size * HEIGHT
        centre = (round(x * WIDTH), round(y * HEIGHT - high / 2))
        sway = 1 + 0.08 * np.sin(at * 9)
        stencil = np.zeros(picture.shape, np.float32)
        cv2.ellipse(
            stencil, centre, (max(2, round(high * 0.2 * sway)), round(high * 0.5)), 0, 0, 360, 1.0, -1
        )
        cv2.circle(stencil, (centre[0], centre[1] - round(high * 0.4)), max(2, round(high * 0.13)), 0.6, -1)
        soft = cv2.GaussianBlur(stencil, (3, 3), 0.8)
        picture += soft * (float(picture.mean()) + self.level - picture)


def crossing(start: float, secs: float, size: float, level: float, *, low: float = 0.9) -> Thing:
    return Thing(start, start + secs, size, level, ((-0.05, low), (1.05, low)))


def visit(start: float, secs: float, size: float, level: float) -> Thing:
    """Come in from the left, stand for most of the time, leave to the right."""
    stand = ((0.5, 0.85), (0.51, 0.85), (0.5, 0.85), (0.51, 0.85), (0.5, 0.85), (0.51, 0.85))
    return Thing(start, start + secs, size, level, ((-0.05, 0.85), *stand, (1.05, 0.85)))


@dataclass(frozen=True)
class Drawn:
    """A scene to be drawn: the view, its things, what disturbs it, and the noise of the sensor."""

    name: str
    seed: int
    secs: float = 60.0
    things: tuple[Thing, ...] = ()
    effect: Effect | None = None
    noise: float = 2.0
    light: float = 1.0

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames, one by one."""
        rng = np.random.default_rng(self.seed + 1000)
        empty = view(self.seed)
        kept: NDArray[np.uint8] | None = None
        for number in range(round(self.secs * FPS)):
            at = number / FPS
            if self.name.startswith("frozen") and at > 15 and kept is not None:
                yield kept
                continue
            picture = empty.copy()
            for thing in self.things:
                thing.draw(picture, at)
            picture *= self.light
            grain = self.noise * rng.standard_normal(picture.shape, dtype=np.float32)
            before = self.effect is not loss  # what a decoder fills in has no noise of the sensor
            picture = picture if before else picture + grain
            if self.effect:
                picture = self.effect(picture, at, rng)
            picture = picture + grain if before else picture
            kept = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
            yield kept

    def truth(self) -> dict[str, Any]:
        """Return the events as the footage's files have them."""
        events = [
            {
                "start_s": t.start,
                "end_s": t.end,
                "what": f"thing {t.size:.2f} high, {t.level:+.0f}",
                "uncertainty_s": 0.3,
            }
            for t in self.things
        ]
        return {"events": events, "quiet": [], "nuisance": []}


# --- disturbances: each lasts from the 15th second on, unless it says otherwise ------------------------

START = 15.0


def clock(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    text = f"2026-03-07 11:{int(at) // 60 + 41:02d}:{int(at) % 60:02d}"
    for level, width in ((0.0, 4), (250.0, 2)):
        stencil = np.zeros(picture.shape, np.uint8)
        cv2.putText(stencil, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, width)
        picture[stencil > 127] = level
    return picture


def exposure_ramp(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    gain: float = 1 + 0.35 * min(1.0, max(0.0, (at - START) / 4)) - 0.25 * min(1.0, max(0.0, (at - 40) / 2))
    return picture * gain + 4 * (gain - 1)


def _lamp() -> Picture:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamp: Picture = np.exp(-((x - 480) ** 2 + (y - 60) ** 2) / (2 * 260.0**2)).astype(np.float32)
    return lamp


def light_switch(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    return picture * (0.45 + 0.7 * _lamp()) if at > START else picture * 0.4


def ir_cut(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    """Show other wavelengths: every material reflects otherwise, and the lamp is in the middle."""
    if at < START:
        return picture
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    near = np.exp(-(x**2 + y**2) / 1.2)
    infrared: Picture = 50 + 0.5 * picture + 25 * np.sin(picture / 21)
    lit: Picture = infrared * near + 5 * rng.standard_normal(picture.shape)
    return lit


def rain(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    for _ in range(60 if at > START else 0):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        cv2.line(picture, (x, y), (x + 2, y + int(rng.integers(10, 30))), float(rng.uniform(150, 210)), 1)
    return picture


def snow(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    for _ in range(70 if at > START else 0):
        centre = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        cv2.circle(picture, centre, int(rng.integers(1, 5)), 235.0, -1)
    return picture


def insect(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    """Draw a moth in the infrared lamp: bright, large, somewhere else in each frame, now and then."""
    if at > START and (at * 0.4) % 1 < 0.12:
        centre = int(rng.integers(60, WIDTH - 60)), int(rng.integers(60, HEIGHT - 60))
        cv2.ellipse(picture, centre, (26, 9), float(rng.uniform(0, 180)), 0, 360, 250.0, -1)
    return picture


def wind(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    """Sway a tree: a patch of leaves that sways by some pixels, more in gusts."""
    if at < START:
        return picture
    leaves = cv2.GaussianBlur(
        np.random.default_rng(5).normal(0, 60, (150, 170)).astype(np.float32), (0, 0), 2.2
    )
    gust = 1 + 0.8 * np.sin(at * 0.6)
    dx, dy = 5 * gust * np.sin(at * 2.7) + rng.normal(0, 0.5), 3 * gust * np.sin(at * 3.9 + 1)
    shift = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    swayed = cv2.warpAffine(leaves, shift, (170, 150), borderMode=cv2.BORDER_REFLECT)
    picture[40:190, 420:590] += 2.4 * swayed
    return picture


def shake(picture: Picture, at: float, rng: np.random.Generator) -> Picture:
    if at < START:
        return picture
    dx, dy = 4 * np.sin(at * 5) + rng.normal(0, 1.5), 3 * np.sin(at * 7) + rng.normal(0, 1.5)
    moved = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    return cv2.warpAffine(picture, moved, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)


def turn(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    """Pan the camera to another view in two seconds and stay."""
    wide = np.concatenate([picture, view(77)], axis=1)
    offset = int(min(1.0, max(0.0, (at - START) / 2)) * WIDTH)
    return wide[:, offset : offset + WIDTH].copy()


def loss(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    """Lose packets: two seconds of grey and torn blocks, twice a minute."""
    if START < at % 30 < START + 2:
        rows = np.random.default_rng(int(at / 2)).integers(0, HEIGHT - 60)
        picture[rows : rows + 60] = 128
        picture[rows + 60 :] = np.roll(picture[rows + 60 :], 37, axis=1)
    return picture


def covered(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    return 0.02 * picture + 35 if START < at < 45 else picture


def black(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    return 0.02 * picture if START < at < 45 else picture


def cloud(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    """Let the soft edge of a cloud's shadow pass over the view."""
    x = np.arange(WIDTH, dtype=np.float32)[None, :]
    edge = (at - START) / 12 * WIDTH
    return picture * (1 - 0.35 / (1 + np.exp(np.clip((x - edge) / 45, -40, 40))))


def headlights(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    """Sweep a beam over a wall for 3 s of each 15."""
    phase = (at - START) % 15
    if at < START or phase > 3:
        return picture
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    beam = np.exp(-((x - phase / 3 * WIDTH) ** 2 + (y - 150) ** 2) / (2 * 80.0**2))
    lit: Picture = picture * (1 + 1.2 * beam)
    return lit


def blinking(picture: Picture, at: float, _: np.random.Generator) -> Picture:
    """Blink a beacon once a second, from the start."""
    if at % 1 < 0.5:
        cv2.circle(picture, (500, 120), 12, 250.0, -1)
    return picture


_EFFECTS: tuple[Effect, ...] = (
    *(clock, exposure_ramp, light_switch, ir_cut, rain, snow, insect, wind, shake, turn, loss),
    *(covered, black, cloud, headlights, blinking),
)
EFFECTS = {effect.__name__: effect for effect in _EFFECTS}


def disturbances(*, night: bool, seed: int = 11) -> list[Drawn]:
    """Return one minute of each disturbance, without any event."""
    make = partial(Drawn, seed=seed, noise=7.0 if night else 2.0, light=0.5 if night else 1.0)
    suite = [make(f"{name}-{'night' if night else 'day'}", effect=effect) for name, effect in EFFECTS.items()]
    return [
        *suite,
        make(f"frozen-{'night' if night else 'day'}"),
        make(f"quiet-{'night' if night else 'day'}", secs=120),
    ]


def visits(*, night: bool, seed: int) -> Drawn:
    """Return four minutes with ten events: large and small, quick and slow, faint and strong, one still."""
    rng = np.random.default_rng(seed)
    low = 14.0 if night else 22.0
    things, at = [], 12.0
    for number in range(10):
        size, secs = float(rng.uniform(0.1, 0.5)), float(rng.uniform(3, 9))
        level = float(rng.choice([-1, 1]) * rng.uniform(low, 70))
        if number % 4 == 3:
            things.append(visit(at, 14.0, max(size, 0.25), level))
            at += 14.0
        else:
            things.append(crossing(at, secs, size, level, low=float(rng.uniform(0.55, 0.98))))
            at += secs
        at += float(rng.uniform(4, 18))
    name = f"visits-{'night' if night else 'day'}-{seed}"
    return Drawn(name, seed, at + 10, tuple(things), None, 7.0 if night else 2.0, 0.5 if night else 1.0)


def drawn_stream(drawn: Drawn, encoding: Encoding) -> Stream:
    """Draw and encode a scene; made once, then read from the cache."""
    raw = CACHE / f"{drawn.name}-{drawn.seed}.avi"
    name = f"{drawn.name}-{drawn.seed}-{encoding.name}"
    if not list(CACHE.glob(f"{name}-*.npy")):
        _draw(drawn, raw)
    stream = encoded_stream(name, raw, encoding.arguments(), drawn.truth())
    raw.unlink(missing_ok=True)
    return stream


def _draw(drawn: Drawn, raw: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    size = ["-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS)]
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "rawvideo",
        *size,
        "-i",
        "-",
        "-c:v",
        "huffyuv",
        "-pix_fmt",
        "yuv422p",
    ]
    with subprocess.Popen([*command, str(raw)], stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for frame in drawn.frames():
            encoder.stdin.write(frame.tobytes())
