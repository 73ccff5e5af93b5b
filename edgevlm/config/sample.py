"""Makes `config/edgevlm.yaml` from the classes: every option, commented out, at its default.

A line `# text` explains; a line `#key: value` is an option that works when its `#` is removed. The first
entry of its kind shows every option, further ones only what makes them different.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgevlm.config.examples import example
from edgevlm.config.model import Config
from edgevlm.config.shape import (
    ChoiceShape,
    ListShape,
    MapShape,
    Option,
    SectionShape,
    Shape,
    TaggedShape,
    options,
)
from edgevlm.config.words import allowed
from edgevlm.config.yaml12 import plain
from edgevlm.runtime.section import Section

WIDTH = 106

HEADER = """\
# yaml-language-server: $schema=../docs/config.schema.json
#
# edgevlm: every option, at its default.
#
# A line that begins with # and a space explains. A line that begins with # and no space is an option: remove
# the # to set it, and the # of the lines that hold it. What is left out, or has no value, is at its default.
# Options marked "required" have no default; they, names, and the rules' `model` show an example.
# For small real configurations see examples/, for tables of all options docs/configuration.md.
#
# Secrets: `password: !credential NAME` (systemd's LoadCredential=), `!file PATH` or `!env NAME`.
# Check what you wrote: edgevlm check -c FILE
"""

_NAMES = {
    "openai-compatible": "local",
    "embedded": "reader",
    "mqtt": "broker",
    "file": "results",
    "stdout": "terminal",
    "source.rtsp": "dock",
    "source.usb": "bench",
    "source.file": "recorded",
    "source.image": "folder",
}
"""Names for entries, by their type; the type itself where none is better."""

_SHOWN = {"RuleConfig.model": "local"}
"""Optional ones that show an example, for with several models each rule needs it."""

_PLAIN_TEXT = re.compile(r"(?:[\w/.](?:[\w/.+ -]|:(?=\S))*(?<! ))")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key of the file, with what is below it."""

    key: str
    comment: str = ""
    value: str = ""
    below: tuple[_Entry, ...] = ()
    items: tuple[tuple[_Entry, ...], ...] = ()
    """A list of mappings."""

    def lines(self, indent: int = 0) -> Iterator[str]:
        """Yield its lines, commented out."""
        space = " " * indent
        mark = f"{space}# "
        yield from textwrap.wrap(self.comment, WIDTH, initial_indent=mark, subsequent_indent=mark)
        yield f"{space}#{self.key}: {self.value}".rstrip()
        for entry in self.below:
            yield from entry.lines(indent + 2)
        for item in self.items:
            yield from _item_lines(item, indent + 2)


def _item_lines(item: tuple[_Entry, ...], indent: int) -> Iterator[str]:
    lines = [line for entry in item for line in entry.lines(indent + 2)]
    first = next(index for index, line in enumerate(lines) if is_option(line))
    yield from (line[2:] for line in lines[:first])
    yield f"{' ' * indent}#- {lines[first].strip()[1:]}"
    yield from lines[first + 1 :]


def is_option(line: str) -> bool:
    """Say whether a line is an option that is commented out."""
    return re.match(r" *#[^ #]", line) is not None


def uncommented(text: str) -> str:
    """Return the file with every option set."""
    lines = (line.replace("#", "", 1) if is_option(line) else line for line in text.splitlines())
    return "\n".join(lines) + "\n"


def sample() -> str:
    """Return the text of the file."""
    entries = _Sample().section(Config)
    return "\n".join([HEADER, *("\n".join([*entry.lines(), ""]) for entry in entries)])


class _Sample:
    """Remembers which classes have been shown with all their options, and what has been explained."""

    def __init__(self) -> None:
        self._seen: set[type[Section]] = set()
        self._explained: set[str] = set()

    def section(self, section: type[Section], turn: int = 0, kind: str = "") -> tuple[_Entry, ...]:
        """Return a section's entries; `turn` chooses among the variants of what is in it."""
        full = section not in self._seen
        self._seen.add(section)
        return tuple(
            self._entry(option, turn, kind, full=full)
            for option in by_weight(section)
            if full or option.required or _full_name(option) in _SHOWN
        )

    def _entry(self, option: Option, turn: int, kind: str, *, full: bool) -> _Entry:
        comment, shape = self._comment(option) if full else "", option.shape
        if option.key == "type" and kind:
            return _Entry("type", comment, kind)
        if isinstance(shape, SectionShape):
            return _Entry(option.key, comment, below=self.section(shape.section))
        if isinstance(shape, TaggedShape):
            return self._variant(option.key, comment, shape, turn)
        if isinstance(shape, MapShape) and sections_in(shape.value):
            return _Entry(option.key, comment, below=tuple(self._named(shape.value)))
        if isinstance(shape, ListShape) and option.required and self._new(shape.item):
            (section,) = sections_in(shape.item)
            return _Entry(option.key, comment, items=(self.section(section),))
        return _Entry(option.key, comment, flow(_shown_value(option)))

    def _variant(self, key: str, comment: str, shape: TaggedShape, turn: int) -> _Entry:
        kind, section = shape.variants[turn % len(shape.variants)]
        about = "" if section in self._seen else f"{kind}: {summary(section)}"
        return _Entry(key, f"{comment} {about}".strip(), below=self.section(section, kind=kind))

    def _named(self, shape: Shape) -> Iterator[_Entry]:
        """Yield as many named entries as show every variant."""
        if isinstance(shape, ChoiceShape):
            (section,) = sections_in(shape)
            yield _Entry("gate", value=flow("open or closed"))
            yield _Entry("plate", below=self.section(section))
            return
        for turn in range(_turns(shape) if self._new(shape) else 1):
            if isinstance(shape, TaggedShape):
                yield self._variant(_entry_name(shape, turn), "", shape, turn)
            elif isinstance(shape, SectionShape):
                yield _Entry(_entry_name(shape, turn), below=self.section(shape.section, turn))

    def _comment(self, option: Option) -> str:
        """Return what explains an option; one that a class inherits is explained once."""
        origin = f"{defined_by(option).__name__}.{option.key}"
        if option.key == "type" or origin in self._explained:
            return ""
        self._explained.add(origin)
        notes = ["required"] if option.required else []
        notes += [allowed(option.shape)] if allowed(option.shape) else []
        return f"{option.meaning} ({'; '.join(notes)})" if notes else option.meaning

    def _new(self, shape: Shape) -> bool:
        return any(section not in self._seen for section in sections_in(shape))


def _full_name(option: Option) -> str:
    return f"{option.owner.__name__}.{option.key}"


def _shown_value(option: Option) -> Any:
    if option.required:
        return example(option)
    return _SHOWN.get(_full_name(option), option.default)


def by_weight(section: type[Section]) -> list[Option]:
    """Return a section's options: its type, its own ones, then those that it shares with others."""
    found = options(section).values()
    return sorted(found, key=lambda option: (option.key != "type", defined_by(option) is not section))


def defined_by(option: Option) -> type[Section]:
    """Return the class that an option is written in."""
    line = [base for base in option.owner.__mro__ if issubclass(base, Section)]
    return next((base for base in reversed(line) if option.name in base.model_fields), option.owner)


def summary(section: type[Section]) -> str:
    """Return what a section is for: the first line of its docstring."""
    return (section.__doc__ or "").strip().partition("\n")[0]


def sections_in(shape: Shape) -> list[type[Section]]:
    """Return the classes that a value of this shape may be of."""
    match shape:
        case SectionShape(section=section):
            return [section]
        case TaggedShape(variants=variants):
            return [section for _, section in variants]
        case ChoiceShape(options=choices):
            return [section for choice in choices for section in sections_in(choice)]
        case _:
            return []


def _turns(shape: Shape) -> int:
    return len(_kinds(shape)) or 1


def _kinds(shape: Shape) -> tuple[str, ...]:
    """Return the types that entries of this shape differ by; of several, the more numerous ones."""
    if isinstance(shape, TaggedShape):
        return shape.names
    if not isinstance(shape, SectionShape):
        return ()
    tagged = [option.shape for option in options(shape.section).values()]
    return max((part.names for part in tagged if isinstance(part, TaggedShape)), key=len, default=())


def _entry_name(shape: Shape, turn: int) -> str:
    kinds = _kinds(shape) or ("one",)
    kind = kinds[turn % len(kinds)]
    source = isinstance(shape, SectionShape) and "source" in options(shape.section)
    return _NAMES.get(f"source.{kind}" if source else kind, kind)


def flow(value: Any) -> str:
    """Return a value in YAML's flow style, empty for None."""
    match value:
        case None:
            return ""
        case Section():
            return "{}"
        case dict():
            return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(flow(item) for item in value) + "]"
        case _:
            return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    text = str(value)
    safe = not isinstance(value, str) or (_PLAIN_TEXT.fullmatch(text) and plain(text) == text)
    return text if safe else json.dumps(text, ensure_ascii=False)
