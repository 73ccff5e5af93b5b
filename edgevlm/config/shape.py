"""The shape of a configuration, read off its classes: which keys there are, and what may stand below each.

Messages, the reference in `docs/`, and `config/edgevlm.yaml` are made from it: a new class or field needs no
change here.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from edgevlm.runtime.section import Secret, Section


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a number, or of a length."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class AnyShape:
    """Whatever YAML can say."""


@dataclass(frozen=True, slots=True)
class ScalarShape:
    """Text, a number, a boolean, a secret."""

    kind: type
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class WordShape:
    """One word out of a closed set."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list of alike items."""

    item: Shape
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class MapShape:
    """A mapping whose keys the user chooses."""

    key: Shape
    value: Shape
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class SectionShape:
    """A mapping with known keys."""

    section: type[Section]


@dataclass(frozen=True, slots=True)
class TaggedShape:
    """A mapping whose `type` says which keys it takes."""

    variants: tuple[tuple[str, type[Section]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The words that `type` can be."""
        return tuple(name for name, _ in self.variants)

    def section(self, name: object) -> type[Section] | None:
        """Return the class that `type: name` stands for."""
        return next((section for word, section in self.variants if word == name), None)


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of several shapes that are told apart by looking at the value."""

    options: tuple[Shape, ...]


Shape = AnyShape | ScalarShape | WordShape | ListShape | MapShape | SectionShape | TaggedShape | ChoiceShape


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a section."""

    owner: type[Section]
    name: str
    """The attribute of the class."""
    key: str
    """The word in the file."""
    field: FieldInfo
    shape: Shape
    nullable: bool

    @property
    def required(self) -> bool:
        """Whether a section is wrong without it."""
        return self.field.is_required()

    @property
    def default(self) -> Any:
        """What holds when it is absent; None also where that depends on the box."""
        return None if self.required or self.field.default_factory else self.field.default

    @property
    def meaning(self) -> str:
        """The docstring that stands below the field."""
        return " ".join((self.field.description or "").split())


@cache
def options(section: type[Section]) -> dict[str, Option]:
    """Return the keys that a section takes, in the order of its class."""
    found = {}
    for name, field in section.model_fields.items():
        key = field.alias or name
        annotation = Annotated[field.annotation, field] if field.annotation else Any
        shape, nullable = shape_of(annotation)
        found[key] = Option(section, name, key, field, shape, nullable)
    return found


def shape_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> tuple[Shape, bool]:
    """Return the shape that an annotation stands for, and whether it may be empty (null)."""
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*metadata, *more)
    if get_origin(annotation) in (Union, types.UnionType):
        return _union(annotation, metadata)
    return _single(annotation, _limits(metadata)), False


def _union(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Shape, bool]:
    members = [member for member in get_args(annotation) if member is not type(None)]
    nullable = len(members) < len(get_args(annotation))
    if len(members) == 1:
        return shape_of(members[0], metadata)[0], nullable
    if any(isinstance(note, FieldInfo) and note.discriminator for note in metadata):
        return TaggedShape(tuple(pair for member in members for pair in _tags(member))), nullable
    return ChoiceShape(tuple(shape_of(member, metadata)[0] for member in members)), nullable


def _tags(section: type[Section]) -> list[tuple[str, type[Section]]]:
    return [(str(word), section) for word in get_args(section.model_fields["type"].annotation)]


def _single(annotation: Any, limits: Limits) -> Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return WordShape(tuple(str(word) for word in arguments))
    if origin is list:
        return ListShape(shape_of(arguments[0])[0], limits)
    if origin is dict:
        return MapShape(shape_of(arguments[0])[0], shape_of(arguments[1])[0], limits)
    if isinstance(annotation, type):
        if issubclass(annotation, Section):
            return SectionShape(annotation)
        if issubclass(annotation, (str, bool, int, float, Secret)):
            return ScalarShape(annotation, limits)
    return AnyShape()


def _limits(metadata: tuple[Any, ...]) -> Limits:
    found: dict[str, Any] = {}
    for note in _flat(metadata):
        for kind, name, attribute in _LIMITS:
            if isinstance(note, kind):
                found[name] = getattr(note, attribute)
        pattern = getattr(note, "pattern", None)
        if isinstance(pattern, str):
            found["pattern"] = pattern
    return Limits(**found)


_LIMITS: tuple[tuple[type, str, str], ...] = (
    (Ge, "least", "ge"),
    (Gt, "above", "gt"),
    (Le, "most", "le"),
    (Lt, "below", "lt"),
    (MinLen, "min_length", "min_length"),
    (MaxLen, "max_length", "max_length"),
)


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    """Return the notes of an annotation; those within a `Field(...)` come out of it."""
    notes: list[Any] = []
    for note in metadata:
        notes += note.metadata if isinstance(note, FieldInfo) else [note]
    return notes
