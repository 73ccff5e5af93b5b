"""Values that could stand for an option: shown where a required one has no default."""

from __future__ import annotations

from typing import Any

from edgevlm.config.shape import (
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
from edgevlm.runtime.section import Section

_EXAMPLES: dict[str, Any] = {
    "prompt": "Is the gate open?",
    "classes": ["truck", "van", "empty"],
    "OpenAICompatibleConfig.model": "Qwen/Qwen3-VL-8B-Instruct",
    "FileSourceConfig.path": "clip.mp4",
    "ImageSourceConfig.path": "pictures",
    "ClassConfig.name": "truck",
    "every_secs": 30,
    "output_structure": {"gate": "open or closed", "trucks": {"type": "integer", "min": 0}},
}
"""By key, or by class and key; what is not here is made from its shape."""


def example(option: Option) -> Any:
    """Return a value that the option takes: its field's own example, or one that fits its shape."""
    if option.field.examples:
        return option.field.examples[0]
    for key in (f"{option.owner.__name__}.{option.key}", option.key):
        if key in _EXAMPLES:
            return _EXAMPLES[key]
    return example_of(option.shape)


def example_of(shape: Shape) -> Any:
    """Return a value of this shape, as small as it may be."""
    match shape:
        case ScalarShape():
            return _scalar(shape)
        case WordShape(words=words):
            return words[0]
        case ChoiceShape(options=choices):
            return example_of(choices[0])
        case ListShape(item=item, limits=limits):
            return [example_of(item) for _ in range(limits.min_length or 0)]
        case _:
            return _mapping(shape)


def _mapping(shape: Shape) -> dict[str, Any]:
    match shape:
        case SectionShape(section=section):
            return required_of(section)
        case TaggedShape(variants=((name, section), *_)):
            return {**required_of(section), "type": name}
        case MapShape(value=value, limits=limits):
            return {f"name-{index + 1}": example_of(value) for index in range(limits.min_length or 0)}
        case _:
            return {}


def _scalar(shape: ScalarShape) -> Any:
    limits = shape.limits
    if shape.kind is bool:
        return False
    if issubclass(shape.kind, int | float):
        low = limits.least if limits.least is not None else limits.above
        return shape.kind(1 if low is None or low < 1 <= (limits.most or 1) else low)
    return "example"


def required_of(section: type[Section]) -> dict[str, Any]:
    """Return examples of all required keys of a section."""
    return {key: example(option) for key, option in options(section).items() if option.required}
