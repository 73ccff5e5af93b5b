"""A person in a hard hat and a high-visibility vest, walking.

The pose follows from one number, the strides walked so far: thighs and arms swing against each other, the
knee of the leg in the air bends, and the body stands on whichever foot is lower, so no foot floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgevlm.demo import brush
from edgevlm.demo.brush import Canvas, Colour, Point, ink

_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 68.0, 68.0, 52.0, 48.0
_SKIN, _HAT, _HAT_BRIM = ink("#d9a07a"), ink("#f6f6f0"), ink("#d5d8d4")
_VEST, _VEST_SHADE, _TAPE = ink("#f08a24"), ink("#c96e15"), ink("#e9efc9")
_NEAR_TROUSERS, _FAR_TROUSERS = ink("#33475f"), ink("#24344a")
_NEAR_SLEEVE, _FAR_SLEEVE, _BOOT = ink("#3e566f"), ink("#2b3d52"), ink("#22221f")


@dataclass(frozen=True, slots=True)
class _Leg:
    """Offsets from the hip, to the front and down."""

    knee: Point
    ankle: Point
    toe: Point


def draw_walker(canvas: Canvas, feet: Point, *, stride: float, facing: int) -> None:
    """Draw the walker with the lower foot at `feet`; `facing` is 1 for right, -1 for left."""
    near, far = _leg(stride), _leg(stride + 0.5)
    drop = max(near.ankle[1], far.ankle[1]) + 12
    hip = feet[0], feet[1] - drop
    _draw_ground_shade(canvas, feet)
    _draw_arm(canvas, hip, stride, facing, _FAR_SLEEVE)
    _draw_leg(canvas, hip, far, facing, _FAR_TROUSERS)
    _draw_leg(canvas, hip, near, facing, _NEAR_TROUSERS)
    _draw_body(canvas, hip, facing)
    _draw_head(canvas, hip, facing)
    _draw_arm(canvas, hip, stride + 0.5, facing, _NEAR_SLEEVE)


def _swing(stride: float) -> float:
    return 2 * math.pi * stride


def _hang(length: float, degrees: float) -> Point:
    """Return where something ends that hangs down, `degrees` swung to the front."""
    turn = math.radians(degrees)
    return length * math.sin(turn), length * math.cos(turn)


def _leg(stride: float) -> _Leg:
    thigh = 4 + 24 * math.sin(_swing(stride))
    bend = 6 + 48 * max(0.0, math.cos(_swing(stride))) ** 1.5
    knee = _hang(_THIGH, thigh)
    shin = _hang(_SHIN, thigh - bend)
    ankle = knee[0] + shin[0], knee[1] + shin[1]
    foot = _hang(26, 90 + (thigh - bend) * 0.6)
    return _Leg(knee, ankle, (ankle[0] + foot[0], ankle[1] + foot[1]))


def _place(hip: Point, offset: Point, facing: int) -> Point:
    return hip[0] + facing * offset[0], hip[1] + offset[1]


def _draw_ground_shade(canvas: Canvas, feet: Point) -> None:
    shade = [(feet[0] + 74 * math.cos(a / 9), feet[1] + 8 + 9 * math.sin(a / 9)) for a in range(57)]
    brush.fill(canvas, shade, ink("#5f6463"))


def _draw_leg(canvas: Canvas, hip: Point, leg: _Leg, facing: int, colour: Colour) -> None:
    knee, ankle, toe = (_place(hip, at, facing) for at in (leg.knee, leg.ankle, leg.toe))
    brush.limb(canvas, hip, knee, (40, 32), colour)
    brush.limb(canvas, knee, ankle, (32, 23), colour)
    brush.limb(canvas, ankle, toe, (24, 15), _BOOT)


def _draw_body(canvas: Canvas, hip: Point, facing: int) -> None:
    chest, waist = _place(hip, (6, -98), facing), _place(hip, (0, -8), facing)
    brush.limb(canvas, chest, waist, (62, 50), _VEST)
    back = _place(hip, (-16, -98), facing), _place(hip, (-14, -8), facing)
    brush.limb(canvas, back[0], back[1], (14, 14), _VEST_SHADE)
    for height, half in ((-62.0, 25.0), (-28.0, 22.5)):
        left, right = _place(hip, (3 - half, height), facing), _place(hip, (3 + half, height), facing)
        brush.stroke(canvas, left, right, _TAPE, 9)


def _draw_head(canvas: Canvas, hip: Point, facing: int) -> None:
    neck, head = _place(hip, (8, -128), facing), _place(hip, (15, -160), facing)
    brush.limb(canvas, neck, head, (22, 22), _SKIN)
    brush.disc(canvas, head, 25, _SKIN)
    brush.limb(canvas, _place(head, (23, 4), facing), _place(head, (25, 8), facing), (8, 7), _SKIN)
    dome = [brush.polar((head[0], head[1] - 5), 29, degrees) for degrees in range(180, 361, 10)]
    brush.fill(canvas, dome, _HAT)
    brush.stroke(canvas, _place(head, (-29, -6), facing), _place(head, (40, -6), facing), _HAT_BRIM, 7)


def _draw_arm(canvas: Canvas, hip: Point, stride: float, facing: int, colour: Colour) -> None:
    shoulder = 4.0, -104.0
    upper = -22 * math.sin(_swing(stride + 0.5))
    elbow = _hang(_UPPER_ARM, upper)
    wrist = _hang(_FOREARM, upper + 26 + 10 * math.sin(_swing(stride)))
    at = _place(hip, shoulder, facing)
    bent = _place(at, elbow, facing)
    hand = _place(bent, wrist, facing)
    brush.limb(canvas, at, bent, (28, 22), colour)
    brush.limb(canvas, bent, hand, (22, 17), colour)
    brush.disc(canvas, hand, 10.5, _SKIN)
