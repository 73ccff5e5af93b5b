"""JSON values out of what a model wrote around them: fences, prose, several values, a missing end.

Reading is strict first, then lenient about control characters in strings, and only then is a value repaired.
Whatever the text, the time is bounded: the scan is linear, and what `json_repair` would chew on for seconds
(its time is quadratic where brackets or quotes come thick) is not given to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import json_repair

MAX_REPAIR_CHARS = 4_000
"""Repaired characters of one answer; an answer of 1024 tokens is about as long."""
MAX_ENTRIES = 1_000
"""Entries that are read from a list that breaks off."""

Ending = Literal["closed", "unclosed", "cut"]


@dataclass(frozen=True, slots=True)
class Found:
    """A value in a text."""

    value: Any
    ending: Ending
    """`unclosed`: brackets are missing at the end; `cut`: it breaks off inside a string, and has no value."""
    repaired: bool = False
    entries: tuple[Any, ...] = ()
    """Of a value that is not closed: the whole entries of its first list."""
    alone: bool = True
    """Nothing follows on its line: `[ ]` in a list with check boxes is no answer."""


# What can begin a JSON object or list; a bracket in prose mostly cannot.
_START = re.compile(r"""\{\s*["'“}A-Za-z_]|\[\s*(?:[\[\]{"'“\d-]|true\b|false\b|null\b)""")
_MARK = re.compile(r"""\\.|["'{}\[\]]""", re.DOTALL)
_LIST_START = re.compile(r"\[")
_GAP = re.compile(r"[\s,]*")
_STRICT = json.JSONDecoder()
_LENIENT = json.JSONDecoder(strict=False)


def find_values(text: str) -> Iterator[Found]:
    """Yield the values in `text`, first to last; one without an end is the last."""
    budget = _Budget()
    start = _START.search(text)
    while start:
        found, end = _read(text, start.start(), budget)
        if found is not None:
            yield found
        start = _START.search(text, end)


class _Budget:
    """What one answer may still have repaired."""

    def __init__(self) -> None:
        self._chars = MAX_REPAIR_CHARS

    def repair(self, segment: str) -> Any:
        """Return what `json_repair` makes of `segment`; None when it is not worth a try."""
        if len(segment) > self._chars or not plausible(segment):
            return None
        self._chars -= len(segment)
        try:
            value = json_repair.loads(segment, skip_json_loads=True)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict if segment[0] == "{" else list) else None


def _read(text: str, at: int, budget: _Budget) -> tuple[Found | None, int]:
    """Read the value that begins at `at`; tell where to look on."""
    value, end = _decode(text, at)
    if end is not None:
        return Found(value, "closed", alone=_alone(text, end)), end
    end, ending = _span(text, at)
    segment = text[at:end]
    if ending == "closed":
        value = budget.repair(segment)
        return (
            None if value is None else Found(value, "closed", repaired=True, alone=_alone(text, end))
        ), end
    whole = segment.rstrip("` \n\t")
    if ending == "cut" and whole.endswith("}" if segment[0] == "{" else "]"):
        ending = "unclosed"  # a quote within a string, more likely than a string that ends like this
    entries = tuple(_entries(segment, budget))
    value = budget.repair(whole) if ending == "unclosed" else None
    return Found(value, ending, repaired=True, entries=entries), end


def _decode(text: str, at: int) -> tuple[Any, int | None]:
    for decoder in (_STRICT, _LENIENT):
        try:
            return decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
    return None, None


def _alone(text: str, end: int) -> bool:
    return text[end:].split("\n", 1)[0].strip(" \t`.") == ""


def _span(text: str, at: int) -> tuple[int, Ending]:
    """Return where the brackets that open at `at` are closed, or the text's end and what is missing there."""
    depth, quote = 0, ""
    for mark in _MARK.finditer(text, at):
        sign = mark[0]
        if quote:
            quote = "" if sign == quote and _ends_string(text, mark.end(), quote) else quote
        elif sign == '"' or (sign == "'" and _begins_string(text, mark.start())):
            quote = sign
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return mark.end(), "closed"
    return len(text), "cut" if quote else "unclosed"


def _begins_string(text: str, at: int) -> bool:
    """Tell an opening single quote from an apostrophe."""
    return text[max(0, at - 16) : at].rstrip()[-1:] in ("{", "[", ",", ":")


def _ends_string(text: str, end: int, quote: str) -> bool:
    """Tell whether a quote ends its string: a single one may be an apostrophe."""
    return quote == '"' or text[end : end + 16].lstrip()[:1] in ("", ",", ":", "}", "]")


def _entries(segment: str, budget: _Budget) -> Iterator[Any]:
    """Yield the whole entries of the first list in a value that breaks off."""
    opening = _LIST_START.search(segment)
    at = len(segment) if opening is None else _next_entry(segment, opening.end())
    for _ in range(MAX_ENTRIES):
        if segment[at : at + 1] not in ("{", "[", '"'):
            return  # the end, or a number that may lack digits
        value, end = _decode(segment, at)
        if end is None:
            end, ending = _span(segment, at)
            if ending != "closed" or segment[at] == '"':
                return
            value = budget.repair(segment[at:end])
        yield value
        at = _next_entry(segment, end)


def _next_entry(segment: str, at: int) -> int:
    gap = _GAP.match(segment, at)
    return gap.end() if gap else at


def plausible(segment: str) -> bool:
    """Tell whether `segment` is JSON with a fault, and not a heap of brackets and quotes."""
    pairs = segment.count(":")
    parts = pairs + segment.count(",") + 1
    return (
        segment.count("{") <= pairs + 1
        and segment.count("[") <= parts
        and segment.count('"') + segment.count("'") + segment.count("“") <= 4 * parts + 8
        and abs(segment.count("{") - segment.count("}")) <= 8
        and abs(segment.count("[") - segment.count("]")) <= 8
    )
