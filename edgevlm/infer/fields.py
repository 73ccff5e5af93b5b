"""Structured answers: each field checked against its type, set and range."""

from __future__ import annotations

from typing import Any

from edgevlm.errors import BadAnswer
from edgevlm.infer.choice import shown
from edgevlm.infer.lookup import ABSENT, only
from edgevlm.infer.names import UNKNOWN, NameSet, fold, spoken
from edgevlm.infer.numbers import read_integer, read_number
from edgevlm.infer.schema import KINDS
from edgevlm.infer.visible import clean

MAX_FIELD_CHARS = 8_192
"""Longest text of one field; a longer one is no answer but a loop."""


class FieldUnknown(Exception):
    """A required field's value is `unknown`, where that is not one of its values: the model cannot tell."""


def read_fields(value: Any, structure: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that were asked for, in their order; further ones are left out.

    Raises:
        BadAnswer: not an object, a required field missing, a value of another type or out of range.
        FieldUnknown: the model says that it cannot tell.

    """
    entry = only(value)
    if not isinstance(entry, dict):
        raise BadAnswer("the answer is not a JSON object")
    held = {name: _held(entry, name) for name in structure}
    if entry and all(field is ABSENT for field in held.values()):
        raise BadAnswer("the answer holds none of the fields that were asked for")
    read = {name: _read(name, held[name], spec) for name, spec in structure.items()}
    return {name: field for name, field in read.items() if field is not ABSENT}


def _held(entry: dict[str, Any], name: str) -> Any:
    """Return what stands under `name`; in another case only where that is the one such key."""
    if name in entry:
        return entry[name]
    alike = [key for key in entry if fold(key) == fold(name)]
    return entry[alike[0]] if len(alike) == 1 else ABSENT


def _read(name: str, value: Any, spec: dict[str, Any]) -> Any:
    if value is None or value is ABSENT:
        return _leave_out(name, spec)
    read = _READERS[spec["type"]](value, spec)
    if read is None and _is_unknown(value):
        if spec.get("required", True):
            raise FieldUnknown
        return ABSENT
    if read is None:
        said = spoken(value)
        raise BadAnswer(f"field {name} is not {_wanted(spec)}" + ("" if said is None else f": {shown(said)}"))
    return read


def _leave_out(name: str, spec: dict[str, Any]) -> Any:
    if spec.get("required", True):
        raise BadAnswer(f"field {name} is required, and the answer has none")
    return ABSENT


def _is_unknown(value: Any) -> bool:
    return isinstance(value, str) and fold(clean(value)) == UNKNOWN


def _wanted(spec: dict[str, Any]) -> str:
    if spec.get("enum"):
        return f"one of its {len(spec['enum'])} values"
    limits = [f"{word} {spec[key]:g}" for key, word in (("min", "from"), ("max", "to")) if _limit(spec, key)]
    return " ".join([KINDS[spec["type"]], *limits])


def _limit(spec: dict[str, Any], key: str) -> bool:
    return spec.get(key) is not None


def _string(value: Any, spec: dict[str, Any]) -> str | None:
    """Return text; a number or a boolean is taken as the text that stands for it."""
    text = spoken(value)
    if text is None or len(text) > MAX_FIELD_CHARS:
        return None
    if not spec.get("enum"):
        return clean(text).strip()
    name = NameSet(spec["enum"]).match(text)
    return name if name in spec["enum"] else None


def _integer(value: Any, spec: dict[str, Any]) -> int | None:
    number = read_integer(value)
    return number if number is not None and _in_range(number, spec) else None


def _number(value: Any, spec: dict[str, Any]) -> float | int | None:
    number = read_number(value)
    return number if number is not None and _in_range(number, spec) else None


def _boolean(value: Any, _spec: dict[str, Any]) -> bool | None:
    """Return a boolean; of strings only `true` and `false` are one: a yes may answer another question."""
    words = {"true": True, "false": False}
    return words.get(fold(value)) if isinstance(value, str) else value if isinstance(value, bool) else None


def _in_range(number: float, spec: dict[str, Any]) -> bool:
    low, high = spec.get("min"), spec.get("max")
    return (low is None or number >= low) and (high is None or number <= high)


_READERS = {"string": _string, "integer": _integer, "number": _number, "boolean": _boolean}
