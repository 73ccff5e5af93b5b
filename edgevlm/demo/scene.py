"""The demo's two cameras as pure functions of time: the same camera and instant give the same picture."""

from __future__ import annotations

from collections.abc import Callable

from edgevlm.demo.brush import Canvas
from edgevlm.demo.dock import LABEL_BOX, draw_dock
from edgevlm.demo.press import DISPLAY_BOX, draw_press

SIZE = (1280, 720)
"""Width and height of every picture."""

_SCENES: dict[str, Callable[[float], Canvas]] = {"press": draw_press, "dock": draw_dock}

CAMERAS = tuple(_SCENES)
"""The names that `draw` knows."""


def draw(camera: str, t_secs: float) -> Canvas:
    """Return the BGR picture of `camera` (`press` or `dock`) at `t_secs` from its start."""
    return _SCENES[camera](t_secs)


def zone(camera: str) -> list[list[float]]:
    """Return where `camera` shows its text, as a zone: corners in fractions of width and height."""
    left, top, right, bottom = {"press": DISPLAY_BOX, "dock": LABEL_BOX}[camera]
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [[round(x / SIZE[0], 4), round(y / SIZE[1], 4)] for x, y in corners]
