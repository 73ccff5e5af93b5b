"""Variables in the user's texts: `{camera}`, `{last.value}`, `{vars.NAME}` and so on.

Only `{name}` in lower case, with parts joined by dots, counts as a variable, so that JSON in a prompt stays
as it is; `{{name}}` stands for the text `{name}`. A value comes from outside (an earlier answer, an MQTT
topic): it goes in as one short line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgevlm.infer.visible import one_line

NAMES = frozenset({"camera", "zone", "now", "last.value", "trigger.value"})
MAX_VALUE_CHARS = 500
ABSENT = "none"
"""Stands for a variable without a value yet, such as the last value of a rule that was never asked."""

_VARIABLE = re.compile(r"(\{\{|\{)([a-z_]+(?:\.[A-Za-z0-9_-]+)*)(\}\}|\})")


def unknown_names(text: str) -> list[str]:
    """Return the names in `text` that are written as variables but are none."""
    return [match[2] for match in _VARIABLE.finditer(text) if not _literal(match) and not _known(match[2])]


def variables_in(text: str) -> list[str]:
    """Return the names of the variables in `text`."""
    return [match[2] for match in _VARIABLE.finditer(text) if not _literal(match) and _known(match[2])]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with its variables replaced by `values`; what is no variable stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        if _literal(match):
            return f"{{{match[2]}}}"
        if not _known(match[2]):
            return match[0]
        value = one_line(values.get(match[2], ""))[:MAX_VALUE_CHARS]
        return match[1][1:] + (value or ABSENT) + match[3][1:]

    return _VARIABLE.sub(replacement, text)


def _literal(match: re.Match[str]) -> bool:
    return match[1] == "{{" and match[3] == "}}"


def _known(name: str) -> bool:
    return name in NAMES or re.fullmatch(r"vars\.[A-Za-z0-9_-]+", name) is not None
