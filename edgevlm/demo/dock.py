"""Camera `dock`: parcels come along a conveyor, one after the other, and now and then someone walks by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgevlm.demo import brush
from edgevlm.demo.brush import Canvas, Point, ink
from edgevlm.demo.walker import draw_walker

PARCEL_SECS = 8
"""Each parcel's time in the picture: it rolls in, rests, rolls out."""
PASS_SECS = 20
"""Someone walks by once in this time."""
LABEL_BOX = (430, 350, 850, 600)
"""Left, top, right, bottom of the label of a parcel at rest, with a little room around it."""

_CITIES = ("BERLIN", "HAMBURG", "MADRID", "TORINO", "GENEVA", "LISBON", "WARSAW", "DUBLIN")
_FIRST_NUMBER = 4711
_WALK_SECS = 7.0
_MOVE_SECS = 0.9
_FLOOR_Y, _WALK_Y, _BELT_Y = 400.0, 536.0, 600.0
_REST_X = 640.0
_PARCEL_WIDTH, _PARCEL_HEIGHT, _PARCEL_DEPTH = 420.0, 250.0, 56.0

_CARD, _CARD_TOP, _CARD_SIDE = ink("#c2945e"), ink("#d9b07c"), ink("#9a713f")
_TAPE, _PAPER, _BLACK = ink("#e2c89c"), ink("#fbfbf7"), ink("#16191b")


def label(t_secs: float) -> tuple[str, str]:
    """Return the two lines on the label of the parcel that is in the picture."""
    turn = int(t_secs // PARCEL_SECS)
    return f"PARCEL {_FIRST_NUMBER + turn % 5000}", _CITIES[turn % len(_CITIES)]


def draw_dock(t_secs: float) -> Canvas:
    """Return the dock as it looks at `t_secs`."""
    canvas = _background().copy()
    _draw_passer_by(canvas, t_secs)
    _draw_belt(canvas, t_secs)
    left = _parcel_x(t_secs) - _PARCEL_WIDTH / 2
    if -_PARCEL_WIDTH - _PARCEL_DEPTH < left < canvas.shape[1]:
        _draw_parcel(canvas, left, label(t_secs))
    return canvas


def _parcel_x(t_secs: float) -> float:
    """Return where the parcel's middle is: in from the left, a rest, out to the right."""
    at = t_secs % PARCEL_SECS
    outside = 900.0
    if at < _MOVE_SECS:
        return _REST_X - outside * (1 - at / _MOVE_SECS) ** 2
    return _REST_X + outside * max(0.0, (at - PARCEL_SECS) / _MOVE_SECS + 1) ** 2


def _draw_passer_by(canvas: Canvas, t_secs: float) -> None:
    turn, at = divmod(t_secs - 2.0, PASS_SECS)
    if at > _WALK_SECS:
        return
    part = at / _WALK_SECS
    forward = turn % 2 == 0
    x = -120 + (canvas.shape[1] + 240) * (part if forward else 1 - part)
    draw_walker(canvas, (x, _WALK_Y), stride=at * 1.05, facing=1 if forward else -1)


@lru_cache(maxsize=1)
def _background() -> Canvas:
    canvas = brush.blank((1280, 720), ink("#c9d2d4"), ink("#a9b6ba"))
    _draw_wall(canvas)
    _draw_floor(canvas)
    _draw_door(canvas, (120, 96), (560, _FLOOR_Y))
    _draw_door(canvas, (760, 96), (1200, _FLOOR_Y))
    _draw_sign(canvas, (660, 150))
    _draw_lamps(canvas)
    _draw_frame(canvas)
    canvas.flags.writeable = False
    return canvas


def _draw_wall(canvas: Canvas) -> None:
    """Draw the hall's corrugated wall, darker towards the floor."""
    for x in range(0, 1280, 20):
        brush.box(canvas, (x, 0), (x + 3, _FLOOR_Y), ink("#b1bdc0"))
        brush.box(canvas, (x + 3, 0), (x + 5, _FLOOR_Y), ink("#d3dbdc"))
    brush.box(canvas, (0, 312), (1280, _FLOOR_Y), ink("#5b7280"))
    brush.box(canvas, (0, 308), (1280, 313), ink("#e7ecec"))


def _draw_floor(canvas: Canvas) -> None:
    """Draw the concrete floor with its painted walkway."""
    height = canvas.shape[0] - int(_FLOOR_Y)
    canvas[int(_FLOOR_Y) :] = brush.blank((1280, height), ink("#8b908f"), ink("#6c7170"))
    brush.box(canvas, (0, _FLOOR_Y - 8), (1280, _FLOOR_Y), ink("#3d4a52"))
    for edge, thick in ((436, 6), (550, 9)):
        brush.box(canvas, (0, edge), (1280, edge + thick), ink("#e5bd3f"))
    for x in range(-200, 1500, 160):
        middle = 640 + (x - 640) * 1.35
        brush.fill(canvas, [(x, 442), (x + 3, 442), (middle + 3, 550), (middle, 550)], ink("#7d8281"))


def _draw_door(canvas: Canvas, left_top: Point, right_bottom: Point) -> None:
    """Draw a closed roller door between two rubber bumpers."""
    (left, top), (right, bottom) = left_top, right_bottom
    brush.box(canvas, (left - 22, top - 30), (right + 22, bottom), ink("#32404a"), 4)
    brush.box(canvas, (left - 10, top - 26), (right + 10, top - 2), ink("#7d8c95"), 6)
    canvas[int(top) : int(bottom), int(left) : int(right)] = _slats(int(right - left), int(bottom - top))
    brush.box(canvas, (left, bottom - 16), (right, bottom), ink("#20282d"))
    for x in (left - 50, right + 24):
        brush.box(canvas, (x, bottom - 120), (x + 26, bottom), ink("#23282b"), 3)
        for y in range(int(bottom) - 112, int(bottom) - 8, 26):
            brush.fill(canvas, [(x, y + 14), (x + 26, y), (x + 26, y + 12), (x, y + 26)], ink("#e5bd3f"))


def _slats(width: int, height: int) -> Canvas:
    """Return the slats of a roller door, each lit from above."""
    rows = np.arange(height)
    light = np.where(rows % 30 < 2, 0.55, 1.08 - 0.22 * (rows % 30) / 30) * np.linspace(1.03, 0.9, height)
    colour = np.asarray(ink("#d5dde0"), np.float64)
    lines = np.clip(light[:, None] * colour, 0, 255).astype(np.uint8)
    return np.repeat(lines[:, None, :], width, axis=1)


def _draw_sign(canvas: Canvas, centre: Point) -> None:
    x, y = centre
    brush.box(canvas, (x - 62, y - 62), (x + 62, y + 62), ink("#1d4f86"), 10)
    brush.text(canvas, "DOCK", (x, y - 30), 34, _PAPER, weight=600)
    brush.text(canvas, "2", (x, y + 22), 70, _PAPER, weight=700)


def _draw_lamps(canvas: Canvas) -> None:
    """Draw two strip lights and what they do to the wall."""
    for x in (340, 980):
        glow: list[Point] = [(x - 190, 0), (x + 190, 0), (x + 240, 300), (x - 240, 300)]
        brush.shadow(canvas, glow, blur=60, strength=0.22, colour=(255, 255, 255))
        brush.box(canvas, (x - 150, 14), (x + 150, 34), ink("#fffdf2"), 8)


def _draw_frame(canvas: Canvas) -> None:
    """Draw the conveyor's frame and what lies in its shade."""
    brush.shadow(canvas, [(0, 650), (1280, 650), (1280, 720), (0, 720)], blur=18, strength=0.6)
    brush.box(canvas, (0, 566), (1280, _BELT_Y), ink("#59646b"))
    for x in range(-6, 1290, 52):
        slanted: list[Point] = [(x, 600), (x + 22, 566), (x + 26, 566), (x + 4, 600)]
        brush.fill(canvas, slanted, ink("#424c52"))
    brush.box(canvas, (0, 562), (1280, 567), ink("#7fb0d8"))
    brush.box(canvas, (0, _BELT_Y), (1280, 626), ink("#2c3338"))
    brush.box(canvas, (0, 626), (1280, 674), ink("#2f6fa8"))
    brush.box(canvas, (0, 626), (1280, 631), ink("#5b96c9"))
    brush.box(canvas, (0, 668), (1280, 674), ink("#1f4f7b"))
    for x in range(60, 1280, 290):
        brush.box(canvas, (x, 674), (x + 34, 720), ink("#27588a"))


def _draw_belt(canvas: Canvas, t_secs: float) -> None:
    """Draw the rollers; a notch on each turns with the parcel."""
    turn = _parcel_x(t_secs) * 4.4
    for x in range(24, 1290, 104):
        brush.disc(canvas, (x, 613), 10, ink("#4a555c"))
        brush.stroke(
            canvas, brush.polar((x, 613), 3, turn), brush.polar((x, 613), 7, turn), ink("#9ba7ae"), 3
        )


def _draw_parcel(canvas: Canvas, left: float, lines: tuple[str, str]) -> None:
    right, top, bottom = left + _PARCEL_WIDTH, _BELT_Y - _PARCEL_HEIGHT, _BELT_Y
    deep, up = _PARCEL_DEPTH, _PARCEL_DEPTH * 0.55
    brush.fill(
        canvas, [(left, top), (left + deep, top - up), (right + deep, top - up), (right, top)], _CARD_TOP
    )
    brush.fill(
        canvas,
        [(right, top), (right + deep, top - up), (right + deep, bottom - up), (right, bottom)],
        _CARD_SIDE,
    )
    brush.box(canvas, (left, top), (right, bottom), _CARD)
    middle = (left + right) / 2
    over: list[Point] = [(middle - 26, top), (middle - 26 + deep, top - up)]
    over += [(middle + 26 + deep, top - up), (middle + 26, top)]
    brush.fill(canvas, over, ink("#efdcb8"))
    brush.box(canvas, (middle - 26, top), (middle + 26, top + 36), _TAPE)
    brush.stroke(canvas, (left, top), (right, top), ink("#a87d49"), 2)
    _draw_label(canvas, (left + 30, top + 46), lines)


def _draw_label(canvas: Canvas, left_top: Point, lines: tuple[str, str]) -> None:
    x, y = left_top
    width, height = 360.0, 188.0
    brush.box(canvas, (x + 3, y + 5), (x + width + 3, y + height + 5), ink("#8f6a3c"), 6)
    brush.box(canvas, (x, y), (x + width, y + height), _PAPER, 6)
    brush.text(canvas, lines[0], (x + width / 2, y + 38), 46, _BLACK, weight=600)
    brush.stroke(canvas, (x + 20, y + 68), (x + width - 20, y + 68), _BLACK, 2)
    brush.text(canvas, lines[1], (x + width / 2, y + 103), 54, _BLACK, weight=700)
    _draw_bars(canvas, (x + 52, y + 140), lines[0])


def _draw_bars(canvas: Canvas, left_top: Point, words: str) -> None:
    """Draw a bar code that is as good as a drawn one can be: other words, other bars."""
    x, y = left_top
    for bit in "".join(f"{ord(letter) % 64:06b}" for letter in words[-7:]):
        thick = 4 if bit == "1" else 2
        brush.box(canvas, (x, y), (x + thick, y + 34), _BLACK)
        x += thick + 3
