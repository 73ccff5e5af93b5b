"""Objects with boxes: each entry is judged by itself, the scale by all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edgevlm.errors import BadAnswer
from edgevlm.infer.boxes import BoxForm, Corners, Frame, check_scale, form_of, full_scale, within
from edgevlm.infer.confidence import self_reported
from edgevlm.infer.lookup import CLASS_KEYS, CONFIDENCE_KEYS, only, pick
from edgevlm.infer.names import UNKNOWN, NameSet, spoken
from edgevlm.infer.numbers import read_number
from edgevlm.infer.visible import one_line
from edgevlm.records import Question

MAX_DETECTIONS = 100
"""Objects in one answer; more are a model that repeats itself."""
MAX_LABEL_CHARS = 100

_LIST_KEYS = ("bbox_2d", "box_2d", "bbox", "box", "bounding_box", "xyxy", "coordinates")
_SIDES = (
    ("x_min", "x1", "left"),
    ("y_min", "y1", "top"),
    ("x_max", "x2", "right"),
    ("y_max", "y2", "bottom"),
)


@dataclass(frozen=True, slots=True)
class Detections:
    """What an answer's entries come to."""

    value: list[dict[str, Any]]
    more: bool = False
    """There were more than are kept."""
    in_doubt: bool = False
    """Every entry is called `unknown`."""


@dataclass(frozen=True, slots=True)
class _Entry:
    label: str
    box: Corners
    confidence: float | None


def read_detections(
    entries: list[Any], question: Question, box_format: str | None, frame: Frame
) -> Detections:
    """Read boxes into fractions and pixels of the source.

    An entry that is none, has no area or a class that was not asked for is dropped; the same object said
    twice counts once.

    Raises:
        BadAnswer: the boxes are of another scale than asked for, or entries came and none is one.

    """
    full = full_scale(box_format, frame.sent_size)
    if full is None:
        raise BadAnswer("boxes in pixels cannot be read: the size of the picture is not known")
    read = [entry for raw in entries if (entry := _entry(raw, form_of(box_format)))]
    check_scale([entry.box for entry in read if any(entry.box)], full, frame.sent_size)
    inside = [entry for entry in read if within(entry.box, full)]
    names = NameSet(question.classes, question.class_aliases) if question.classes else None
    value = list(_distinct(_objects(inside, names, full, frame)))
    if entries and not value and not any(_harmless(entry, names) for entry in inside):
        raise BadAnswer(f"none of {len(entries)} entries is an object with a usable box")
    in_doubt = bool(read) and all(NameSet(()).match(entry.label) == UNKNOWN for entry in read)
    return Detections(value[:MAX_DETECTIONS], len(value) > MAX_DETECTIONS, in_doubt)


def _harmless(entry: _Entry, names: NameSet | None) -> bool:
    """Tell an entry that is well-formed and no object: of another class, or zeros for `none found`."""
    return not any(entry.box) or (names is not None and names.match(entry.label) in (None, UNKNOWN))


def _entry(raw: Any, form: BoxForm) -> _Entry | None:
    if not isinstance(raw, dict):
        return None
    label = spoken(only(pick(raw, CLASS_KEYS)))
    box = _box(raw, form)
    if box is None or label is None or not one_line(label):
        return None
    return _Entry(one_line(label), box, self_reported(pick(raw, CONFIDENCE_KEYS)))


def _box(raw: dict[str, Any], form: BoxForm) -> Corners | None:
    """Return x_min, y_min, x_max, y_max in the model's own scale, from names or from a list of four."""
    held = only(pick(raw, _LIST_KEYS))
    named = held if isinstance(held, dict) else raw
    if not isinstance(held, list):
        return _corners([pick(named, side) for side in _SIDES])
    if form.order == "yxyx" and len(held) == 4:
        held = [held[1], held[0], held[3], held[2]]
    return _corners(held)


def _corners(sides: list[Any]) -> Corners | None:
    numbers = [float(number) for side in sides if (number := read_number(side)) is not None]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == len(sides) == 4 else None


def _objects(
    entries: list[_Entry], names: NameSet | None, full: tuple[float, float], frame: Frame
) -> Iterator[dict[str, Any]]:
    for entry in entries:
        label = names.match(entry.label) if names else entry.label.casefold()[:MAX_LABEL_CHARS]
        x_0, y_0, x_1, y_1 = entry.box
        box = frame.place((x_0 / full[0], y_0 / full[1], x_1 / full[0], y_1 / full[1]))
        if box is not None and label is not None and label != UNKNOWN:
            yield {
                "class": label,
                "confidence": entry.confidence,
                "box": list(box),
                "box_px": frame.pixels(box),
            }


def _distinct(objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: set[tuple[Any, ...]] = set()
    for found in objects:
        key = (found["class"], *found["box"])
        if key not in seen:
            seen.add(key)
            yield found
