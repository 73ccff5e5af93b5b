"""Every class of a configuration, found by walking from the root."""

from __future__ import annotations

from functools import cache

from edgevlm.config.model import Config
from edgevlm.config.sample import sections_in
from edgevlm.config.shape import ListShape, MapShape, Shape, options
from edgevlm.runtime.section import Section


@cache
def every_class() -> frozenset[type[Section]]:
    """Return all section classes that a configuration file may use."""
    found: set[type[Section]] = set()
    waiting: list[type[Section]] = [Config]
    while waiting:
        section = waiting.pop()
        if section not in found:
            found.add(section)
            waiting += [below for option in options(section).values() for below in _below(option.shape)]
    return frozenset(found)


def _below(shape: Shape) -> list[type[Section]]:
    match shape:
        case MapShape(value=value):
            return _below(value)
        case ListShape(item=item):
            return _below(item)
        case _:
            return sections_in(shape)
