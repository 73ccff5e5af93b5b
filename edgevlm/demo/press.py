"""Camera `press`: a gauge and a display whose pressure climbs past its limit, again and again."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgevlm.demo import brush
from edgevlm.demo.brush import Canvas, Point, ink

LIMIT_BAR = 10.0
CYCLE_SECS = 30
DISPLAY_BOX = (650, 165, 1240, 475)
"""Left, top, right, bottom of the display, with the room around it that OCR wants."""

_CENTRE: Point = (360.0, 372.0)
_SCALE_TOP_BAR = 14
_SWEEP_FROM, _SWEEP_TO = 135.0, 405.0
_LAMP: Point = (766.0, 580.0)

_GREEN, _AMBER, _RED = ink("#3f9d63"), ink("#e0a83a"), ink("#cf4137")
_STEEL, _PAPER, _BLACK = ink("#9aa7ae"), ink("#f4f3ec"), ink("#1d2226")


def pressure(t_secs: float) -> float:
    """Return the pressure in bar: calm, a climb past the limit, a moment there, and back."""
    at = t_secs % CYCLE_SECS
    return float(np.interp(at, (0, 2, 14, 20, 26, CYCLE_SECS), (7.4, 7.4, 11.6, 11.8, 7.4, 7.4)))


def reading(t_secs: float) -> str:
    """Return what the display shows; it changes once a second, as displays do."""
    return f"{pressure(int(t_secs)):.1f} bar"


def draw_press(t_secs: float) -> Canvas:
    """Return the press as it looks at `t_secs`."""
    canvas = _background().copy()
    over = round(pressure(int(t_secs)), 1) > LIMIT_BAR
    _draw_needle(canvas, pressure(t_secs))
    _draw_display(canvas, reading(t_secs), over=over)
    _draw_lamp(canvas, lit=over and t_secs % 1 < 0.6)
    return canvas


def _direction(bar: float) -> float:
    return _SWEEP_FROM + (_SWEEP_TO - _SWEEP_FROM) * bar / _SCALE_TOP_BAR


@lru_cache(maxsize=1)
def _background() -> Canvas:
    canvas = brush.blank((1280, 720), ink("#3a464e"), ink("#252d33"))
    _draw_panel(canvas)
    _draw_bezel(canvas)
    _draw_dial(canvas)
    _draw_housing(canvas)
    canvas.flags.writeable = False
    return canvas


def _draw_panel(canvas: Canvas) -> None:
    """Draw the steel plate that everything is mounted on."""
    corners: list[Point] = [(36, 40), (1252, 40), (1252, 692), (36, 692)]
    brush.shadow(canvas, corners, blur=14, strength=0.7)
    brush.box(canvas, (32, 30), (1248, 682), ink("#8796a0"), 22)
    brush.box(canvas, (34, 32), (1246, 680), ink("#5d6c76"), 20)
    _brush_steel(canvas[40:672, 40:1240])
    for at in ((62, 60), (1218, 60), (62, 652), (1218, 652)):
        _draw_screw(canvas, (float(at[0]), float(at[1])))


def _brush_steel(plate: Canvas) -> None:
    """Give a plate the faint horizontal grain and the light from above of brushed steel."""
    height = plate.shape[0]
    grain = np.random.default_rng(7).normal(0, 1.6, (height, 1, 1))
    light = np.linspace(16, -14, height)[:, None, None]
    plate[:] = np.clip(plate + grain + light, 0, 255).astype(np.uint8)


def _draw_screw(canvas: Canvas, at: Point) -> None:
    brush.disc(canvas, (at[0] + 1, at[1] + 2), 11, ink("#3d4850"))
    brush.disc(canvas, at, 10, _STEEL)
    brush.stroke(canvas, brush.polar(at, 6, 35), brush.polar(at, 6, 215), ink("#4b575f"), 3)


def _draw_bezel(canvas: Canvas) -> None:
    """Draw the gauge's chromed ring, lit from the upper left."""
    brush.shadow(canvas, brush.disc_corners((368, 388), 276), blur=16, strength=0.65)
    for degrees in range(0, 360, 3):
        shine = 150 + 70 * np.cos(np.radians(2 * (degrees - 225))) + 20 * np.cos(np.radians(degrees - 225))
        grey = int(np.clip(shine, 0, 255))
        brush.ring(canvas, _CENTRE, (238, 276), (degrees, degrees + 4), (grey, grey, grey - 6))
    brush.disc(canvas, _CENTRE, 276, ink("#4a545b"), 2)
    brush.disc(canvas, _CENTRE, 246, ink("#2b3237"))
    brush.disc(canvas, _CENTRE, 241, _PAPER)


def _draw_dial(canvas: Canvas) -> None:
    zones = ((0.0, 8.0, _GREEN), (8.0, LIMIT_BAR, _AMBER), (LIMIT_BAR, 14.0, _RED))
    for low, high, colour in zones:
        brush.ring(canvas, _CENTRE, (200, 222), (_direction(low), _direction(high)), colour)
    for half in range(2 * _SCALE_TOP_BAR + 1):
        _draw_tick(canvas, half / 2)
    for bar in range(0, _SCALE_TOP_BAR + 1, 2):
        brush.text(canvas, str(bar), brush.polar(_CENTRE, 152, _direction(bar)), 40, _BLACK, weight=500)
    brush.text(canvas, "bar", (_CENTRE[0], _CENTRE[1] + 112), 34, ink("#596168"), weight=500)


def _draw_tick(canvas: Canvas, bar: float) -> None:
    depth, thickness = (184, 5) if bar == int(bar) else (192, 2)
    direction = _direction(bar)
    start, end = brush.polar(_CENTRE, depth, direction), brush.polar(_CENTRE, 222, direction)
    brush.stroke(canvas, start, end, _BLACK, thickness)


def _draw_housing(canvas: Canvas) -> None:
    """Draw what stands still to the right of the gauge: title, display housing, lamp socket, plate."""
    brush.text(canvas, "HYDRAULIC PRESS 3", (958, 100), 46, ink("#e9eef1"), weight=600)
    brush.shadow(canvas, [(712, 196), (1212, 196), (1212, 448), (712, 448)], blur=9, strength=0.6)
    brush.box(canvas, (706, 186), (1210, 440), ink("#2a3136"), 18)
    brush.box(canvas, (722, 202), (1194, 424), ink("#0c1412"), 10)
    brush.shadow(canvas, brush.disc_corners((_LAMP[0] + 2, _LAMP[1] + 6), 52), blur=7, strength=0.5)
    brush.disc(canvas, _LAMP, 50, ink("#b4bec4"))
    brush.disc(canvas, _LAMP, 44, ink("#2d3439"))
    brush.box(canvas, (864, 530), (1210, 630), ink("#d9b43c"), 8)
    brush.box(canvas, (870, 536), (1204, 624), ink("#f0cb4e"), 5)
    brush.text(canvas, f"LIMIT {LIMIT_BAR:.1f} bar", (1037, 580), 40, _BLACK, weight=600)


def _draw_needle(canvas: Canvas, bar: float) -> None:
    direction = _direction(bar)
    _draw_pointer(canvas, (_CENTRE[0] + 4, _CENTRE[1] + 7), direction, ink("#c9c8c0"))
    _draw_pointer(canvas, _CENTRE, direction, ink("#b3271e"))
    brush.disc(canvas, _CENTRE, 24, ink("#23292d"))
    brush.disc(canvas, _CENTRE, 17, ink("#596670"))
    brush.disc(canvas, (_CENTRE[0] - 4, _CENTRE[1] - 4), 6, ink("#8d9aa3"))


def _draw_pointer(canvas: Canvas, centre: Point, direction: float, colour: tuple[int, int, int]) -> None:
    brush.limb(canvas, brush.polar(centre, -54, direction), centre, (18, 14), colour)
    brush.limb(canvas, centre, brush.polar(centre, 206, direction), (14, 3), colour)


def _draw_display(canvas: Canvas, words: str, *, over: bool) -> None:
    colour = ink("#ff6a55") if over else ink("#7df0b2")
    brush.text(canvas, words, (958, 313), 90, colour, weight=600)


def _draw_lamp(canvas: Canvas, *, lit: bool) -> None:
    if lit:
        brush.disc(canvas, _LAMP, 40, ink("#ff3b2d"))
        brush.disc(canvas, (_LAMP[0] - 4, _LAMP[1] - 6), 27, ink("#ff6d5d"))
    else:
        brush.disc(canvas, _LAMP, 40, ink("#5d1d19"))
    brush.disc(canvas, (_LAMP[0] - 14, _LAMP[1] - 16), 7, ink("#ffc9bf") if lit else ink("#8f4d47"))
