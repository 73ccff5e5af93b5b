"""Pydantic's errors brought to the file's terms: the path in the YAML, and what may stand there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import ErrorDetails

from edgevlm.config.mistakes import KeyPath
from edgevlm.config.shape import (
    AnyShape,
    ChoiceShape,
    ListShape,
    MapShape,
    Option,
    ScalarShape,
    SectionShape,
    Shape,
    TaggedShape,
    WordShape,
    options,
)
from edgevlm.config.words import takes


@dataclass(frozen=True, slots=True)
class Problem:
    """One of pydantic's errors, brought to the file's terms."""

    path: KeyPath
    shape: Shape
    """What may stand at `path`; of a key that is not known, the section that does not know it."""
    value: Any
    kind: str
    details: dict[str, Any]
    about_key: bool = False
    option: Option | None = None
    """The option at the end of `path`, where it is one of a section."""
    choices: tuple[tuple[KeyPath, ChoiceShape, bool], ...] = ()
    """The choices on the way, and whether the value is of the kind that this error speaks of."""


def located(error: ErrorDetails, root: Shape, raw: Any) -> Problem:
    """Follow the error's location through shapes and values; names of union members are no keys."""
    path: KeyPath = ()
    shape, value = root, raw
    option: Option | None = None
    choices: list[tuple[KeyPath, ChoiceShape, bool]] = []
    steps = error["loc"]
    about_key = error["type"] == "extra_forbidden" or steps[-1:] == ("[key]",)
    for step in steps[:-1] if steps[-1:] == ("[key]",) else steps:
        if isinstance(shape, ChoiceShape):
            member = _member(shape, str(step))
            choices.append((path, shape, takes(member, value)))
            shape = member
        elif isinstance(shape, TaggedShape):
            shape = _variant(shape, step)
        else:
            option = options(shape.section).get(str(step)) if isinstance(shape, SectionShape) else None
            path, shape, value = (*path, step), _below(shape, step), _item(value, step)
    context = error.get("ctx", {})
    return Problem(path, shape, value, error["type"], context, about_key, option, tuple(choices))


def _variant(shape: TaggedShape, name: object) -> Shape:
    section = shape.section(name)
    return SectionShape(section) if section else AnyShape()


def _member(shape: ChoiceShape, label: str) -> Shape:
    """Return the member of a union that pydantic means by `label`."""
    # `function-after[_fits(), FieldConfig]` is FieldConfig with a validator of ours.
    core = label.rpartition(", ")[2].rstrip("]") if label.startswith("function-") else label
    return next((option for option in shape.options if _labelled(option, core)), shape.options[0])


def _labelled(shape: Shape, label: str) -> bool:
    match shape:
        case SectionShape(section=section):
            return section.__name__ in label
        case ListShape():
            return label.startswith("list")
        case MapShape():
            return label.startswith("dict")
        case WordShape():
            return label.startswith("literal")
        case ScalarShape(kind=kind):
            return kind.__name__ in label
        case _:
            return label.startswith("tagged-union")


def _below(shape: Shape, step: str | int) -> Shape:
    match shape:
        case SectionShape(section=section):
            option = options(section).get(str(step))
            return option.shape if option else shape
        case MapShape(value=value):
            return value
        case ListShape(item=item):
            return item
        case _:
            return AnyShape()


def _item(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def of_interest(problems: Iterable[Problem]) -> list[Problem]:
    """Leave out what pydantic says of a union's members that the user cannot have meant.

    Where the value fits no member at all, one problem stands for the whole union.
    """
    found = list(problems)
    meant = {path for problem in found for path, _, fits in problem.choices if fits}
    result = []
    for problem in found:
        misfit = next(((path, shape) for path, shape, fits in problem.choices if not fits), None)
        if misfit is None:
            result.append(problem)
        elif misfit[0] not in meant:
            meant.add(misfit[0])
            result.append(replace(problem, path=misfit[0], shape=misfit[1], kind="choice"))
    return result
