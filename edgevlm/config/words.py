"""A configuration's shapes and values in the words of a YAML user: a number, a list, 1 to 120."""

from __future__ import annotations

from edgevlm.config.mistakes import either
from edgevlm.config.shape import (
    AnyShape,
    ChoiceShape,
    Limits,
    ListShape,
    MapShape,
    ScalarShape,
    SectionShape,
    Shape,
    TaggedShape,
    WordShape,
)
from edgevlm.runtime.section import Secret


def describe(shape: Shape) -> str:
    """Return what must stand there: `a number`, `a list`, `one of tcp, udp`."""
    match shape:
        case ScalarShape(kind=kind):
            return _SCALARS[kind]
        case WordShape(words=words):
            return either(words) if len(words) < 3 else f"one of {', '.join(words)}"
        case ListShape():
            return "a list"
        case MapShape() | SectionShape() | TaggedShape():
            return "a mapping"
        case ChoiceShape(options=choices):
            return either(dict.fromkeys(describe(choice) for choice in choices))
        case AnyShape():
            return "a value"


_SCALARS: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Secret: "a secret",
}


def describe_value(value: object) -> str:
    """Return what a value of the file is, without showing it."""
    if value is None:
        return "nothing"
    if isinstance(value, float) and not value.is_integer():
        return "a number with a fraction"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a value")


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (Secret, "a secret"),
    (list, "a list"),
    (dict, "a mapping"),
)


def takes(shape: Shape, value: object) -> bool:
    """Say whether `value` is of the right kind, whatever is in it."""
    match shape:
        case ChoiceShape(options=choices):
            return any(takes(choice, value) for choice in choices)
        case AnyShape():
            return True
        case ListShape():
            return isinstance(value, list)
        case MapShape() | SectionShape() | TaggedShape():
            return isinstance(value, dict)
        case WordShape():
            return isinstance(value, str)
        case ScalarShape(kind=kind):
            return isinstance(value, _ACCEPTED[kind]) and (kind is bool or not isinstance(value, bool))


_ACCEPTED: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    Secret: (str, Secret),
}


def range_of(limits: Limits, unit: str = "") -> str:
    """Return the bounds in words: `1 to 120`, `more than 0`, or nothing."""
    if limits.min_length is not None or limits.max_length is not None:
        return _between(limits.min_length, limits.max_length) + unit
    low = f"more than {_number(limits.above)}" if limits.above is not None else ""
    if low and limits.most is not None:
        return f"{low}, up to {_number(limits.most)}"
    return low or _between(limits.least, limits.most)


def _between(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return _number(low) if low == high else f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"{_number(low)} or more"
    return "" if high is None else f"at most {_number(high)}"


def _number(value: float | None) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def allowed(shape: Shape) -> str:
    """Return which values of the right kind are taken, or nothing where all are: `tcp or udp`, `1 to 120`."""
    match shape:
        case WordShape(words=words):
            return either(words) if len(words) > 1 else ""
        case ScalarShape(kind=kind, limits=limits) if kind is not str:
            return range_of(limits)
        case ListShape(limits=limits):
            return range_of(limits, " items")
        case _:
            return ""
