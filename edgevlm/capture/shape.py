"""Builds frozen dataclasses out of parsed JSON and takes nothing for granted.

A capture host that a camera has taken over may send anything. So every field must be there and of the type
that its class declares; numbers are finite and fit 64 bits, text is valid Unicode of bounded length.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_MAX_INT = 2**63 - 1
_MAX_TEXT = 10_000
_KNOWN: dict[Any, Mapping[str, Any]] = {}


def build(cls: type[T], given: object, **more: bytes) -> T:
    """Return an instance of the dataclass `cls` with the fields `given`, and `more` that came apart.

    Raises:
        ValueError: a field is missing, too many, or not of its type.

    """
    kinds = _kinds(cls)
    if not isinstance(given, dict) or {*given, *more} != kinds.keys() or given.keys() & more.keys():
        raise ValueError("fields missing or unknown")
    return cls(**more, **{name: shaped(kinds[name], value) for name, value in given.items()})


def _kinds(cls: Any) -> Mapping[str, Any]:
    """Return the type of each field, looked up once a class."""
    if cls not in _KNOWN:
        hints = get_type_hints(cls)
        _KNOWN[cls] = {field.name: hints[field.name] for field in fields(cls)}
    return _KNOWN[cls]


def shaped(kind: Any, value: object) -> Any:
    """Return `value` as the type `kind`.

    Raises:
        ValueError: it is not of that type.

    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), value)
    if origin is Literal:
        return _literal(get_args(kind), value)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return _plain(kind, value)


def _one_of(kinds: tuple[Any, ...], value: object) -> Any:
    for kind in kinds:
        try:
            return shaped(kind, value)
        except ValueError:
            continue
    raise ValueError("none of the allowed types")


def _literal(allowed: tuple[Any, ...], value: object) -> Any:
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return value
    raise ValueError("not one of the allowed words")


def _tuple(kinds: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004 - one kind of error for whatever does not fit
    if kinds[-1] is Ellipsis:
        return tuple(shaped(kinds[0], item) for item in value)
    if len(kinds) != len(value):
        raise ValueError("a list of another length")
    return tuple(shaped(kind, item) for kind, item in zip(kinds, value, strict=True))


def _plain(kind: Any, value: object) -> Any:
    """Return a null, boolean, number or text."""
    if kind is float and type(value) is int:
        value = _bounded(value)
        return float(value)
    if kind is type(None) and value is None:
        return None
    if type(value) is not kind:
        raise ValueError(f"not a {kind}")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number")
    return _bounded(value) if type(value) is int else value


def _bounded(value: int) -> int:
    if abs(value) > _MAX_INT:
        raise ValueError("a number beyond 64 bits")
    return value


def _text(value: str) -> str:
    """Return text that can be encoded; half a surrogate pair becomes a question mark."""
    if len(value) > _MAX_TEXT:
        raise ValueError("a text beyond its bound")
    return value.encode("utf-8", "replace").decode()
