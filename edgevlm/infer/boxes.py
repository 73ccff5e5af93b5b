"""Boxes: the conventions of model families, and the way from the model's numbers to the source's pixels.

A family is asked in the form that it was trained on. Numbers that cannot be of that form are an error, never
a box in the wrong place: small boxes look the same in several scales, so nothing is guessed from one box.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from edgevlm.errors import BadAnswer

BoxFormat = Literal[
    "xyxy_absolute",
    "xyxy_0_1000",
    "yxyx_0_1000",
    "xyxy_percent",
    "named_0_1000",
    "named_normalized",
    "xyxy_0_999",
    "resized-absolute",
]
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)
DEFAULT_FORMAT: BoxFormat = "named_normalized"

Size = tuple[int, int]
Corners = tuple[float, float, float, float]

WHOLE: Corners = (0.0, 0.0, 1.0, 1.0)
"""The crop that leaves nothing out."""
SLACK = 0.1
"""How far beyond its scale a coordinate may lie and still be clamped (Qwen3-VL goes a little above 1000)."""
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class BoxForm:
    """How one format writes a box."""

    order: Literal["xyxy", "yxyx", "named"]
    key: str
    """Where the four numbers stand; for `named`, the first of the four keys."""
    scale: float | None
    """The largest coordinate; None: pixels."""
    integers: bool = True


FORMS: dict[BoxFormat, BoxForm] = {
    "xyxy_absolute": BoxForm("xyxy", "bbox_2d", None),
    "resized-absolute": BoxForm("xyxy", "bbox_2d", None),
    "xyxy_0_1000": BoxForm("xyxy", "bbox_2d", 1000),
    "xyxy_0_999": BoxForm("xyxy", "bbox_2d", 999),
    "yxyx_0_1000": BoxForm("yxyx", "box_2d", 1000),
    "xyxy_percent": BoxForm("xyxy", "box_2d", 100, integers=False),
    "named_0_1000": BoxForm("named", "x_min", 1000),
    "named_normalized": BoxForm("named", "x_min", 1, integers=False),
}

# The first pattern that is found in the lower-case model name decides.
_FAMILIES: tuple[tuple[str, BoxFormat], ...] = (
    (r"paligemma|florence|molmo|moondream|llava", "named_normalized"),
    (r"qwen[-_ ]?2[._-]?5[-_ ]?(vl|omni)", "resized-absolute"),
    (r"qwen[-_ ]?2[-_ ]?vl|qwen[-_ ]?([3-9]|\d\d)", "xyxy_0_1000"),
    (r"glm-?\d+(\.\d+)?v|internvl", "xyxy_0_1000"),
    (r"gemini|gemma[-_ ]?([3-9]|\d\d)", "yxyx_0_1000"),
    (r"deepseek[-_]?vl2|pixtral|mistral|ministral|magistral", "xyxy_0_999"),
    (r"\bmuse\b", "named_0_1000"),
    (r"grok", "xyxy_percent"),
    (r"gpt-5(\.1)?(?![.\d])", "named_normalized"),
    (r"gpt-[4-9]|claude", "xyxy_absolute"),
)


def default_box_format(model_name: str) -> BoxFormat:
    """Return the convention of the family that a model's name tells; `named_normalized` for a stranger."""
    name = model_name.casefold()
    found = (box_format for pattern, box_format in _FAMILIES if re.search(pattern, name))
    return next(found, DEFAULT_FORMAT)


def form_of(box_format: str | None) -> BoxForm:
    """Return how a format writes a box; the default's for None."""
    return FORMS[known_format(box_format)]


def known_format(box_format: str | None) -> BoxFormat:
    """Return `box_format` if it is one, the default for None.

    Raises:
        ValueError: no such format.

    """
    if box_format is not None and box_format not in BOX_FORMATS:
        raise ValueError(f"no box format {box_format!r}: there are {', '.join(BOX_FORMATS)}")
    return cast("BoxFormat", box_format or DEFAULT_FORMAT)


def full_scale(box_format: str | None, sent_size: Size | None) -> tuple[float, float] | None:
    """Return the coordinates of the picture's far corner; None for pixels of a picture of unknown size."""
    form = form_of(box_format)
    if form.scale is not None:
        return form.scale, form.scale
    if sent_size is None:
        return None
    return qwen_size(sent_size) if box_format == "resized-absolute" else sent_size


def qwen_size(size: Size, factor: int = 28, least: int = 56 * 56, most: int = 12_845_056) -> Size:
    """Return the size to which Qwen2.5-VL's own preprocessing brings a picture (its `smart_resize`)."""
    width, height = size
    new_width, new_height = (max(factor, round(side / factor) * factor) for side in size)
    if new_width * new_height > most:
        shrink = math.sqrt(width * height / most)
        return _floored(width / shrink, factor), _floored(height / shrink, factor)
    if new_width * new_height < least:
        grow = math.sqrt(least / (width * height))
        return math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return new_width, new_height


def _floored(side: float, factor: int) -> int:
    return max(factor, math.floor(side / factor) * factor)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the sent picture lies in its source."""

    sent_size: Size | None = None
    source_size: Size | None = None
    """Pixels of the whole source picture; those of the sent one when absent and nothing was cut off."""
    crop: Corners = WHOLE
    """The part of the source that was sent, 0 to 1."""

    def place(self, corners: Corners) -> Corners | None:
        """Map corners from 0 to 1 of the sent picture to 0 to 1 of the source; None when nothing is left.

        Swapped corners are put right, and what lies outside the picture is cut off.
        """
        left, right = sorted(_clamp(x) for x in corners[0::2])
        top, bottom = sorted(_clamp(y) for y in corners[1::2])
        x_0, y_0, x_1, y_1 = self.crop
        x_min, x_max = (round(x_0 + x * (x_1 - x_0), _DIGITS) for x in (left, right))
        y_min, y_max = (round(y_0 + y * (y_1 - y_0), _DIGITS) for y in (top, bottom))
        return (x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None

    def pixels(self, box: Corners) -> list[int] | None:
        """Return a box in pixels of the source; None when no size is known."""
        size = self.source_size or (self.sent_size if self.crop == WHOLE else None)
        return None if size is None else [round(side * size[at % 2]) for at, side in enumerate(box)]


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))


def check_scale(boxes: Sequence[Corners], full: tuple[float, float], sent_size: Size | None) -> None:
    """Refuse an answer whose boxes are written in another scale than the one asked for.

    Raises:
        BadAnswer: a box ends where only another scale reaches, or all are fractions of a larger one.

    """
    highest = max(1000, *(sent_size or (0,))) * (1 + SLACK)
    for box in boxes:
        beyond = any(side > max(2.0, (1 + SLACK) * full[at % 2]) for at, side in enumerate(box))
        if beyond and max(box) <= highest:
            raise BadAnswer(
                f"a box reaches to {max(box):g} in a picture that ends at {full[0]:g}, {full[1]:g}"
            )
    if boxes and min(full) > 1 and all(max(box) <= 1 for box in boxes):
        raise BadAnswer(f"the boxes are given as fractions; numbers up to {max(full):g} were asked for")


def within(box: Corners, full: tuple[float, float]) -> bool:
    """Tell whether a box lies in the picture, give or take the slack."""
    return all(-SLACK * full[at % 2] <= side <= (1 + SLACK) * full[at % 2] for at, side in enumerate(box))
