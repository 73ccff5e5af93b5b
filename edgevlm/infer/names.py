"""Names of a closed set: when two count as the same, and which one a model meant.

A match is exact apart from case, spacing and wrapping (quotes, a full stop): whatever else a model says is
outside the set. Nothing is guessed from prose or from likeness.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from edgevlm.infer.visible import clean

UNKNOWN: Final = "unknown"
"""What a model may say instead of any name: the picture does not show enough to tell."""

_WRAPPING = " \t\r\n\"'`*_“”\u2018\u2019„«»"
_STOPS = ".!。"
_MAX_INTEGER = 10**15


def fold(name: str) -> str:
    """Return the form in which two names are compared: one case, single spaces, composed characters."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


class NameSet:
    """The names that an answer may have, `unknown` among them."""

    def __init__(self, names: Iterable[str], aliases: Mapping[str, Iterable[str]] | None = None) -> None:
        self.names = tuple(names)
        self._meant = {fold(UNKNOWN): UNKNOWN}
        for name, others in (aliases or {}).items():
            self._meant |= {fold(other): name for other in others}
        self._meant |= {fold(name): name for name in self.names}

    def match(self, said: Any) -> str | None:
        """Return the name as configured, or `unknown`, or None when `said` is neither."""
        text = spoken(said)
        if text is None:
            return None
        found = (self._meant.get(fold(form)) for form in _unwrapped(clean(text)))
        return next((name for name in found if name is not None), None)

    def begins_another(self, said: str) -> bool:
        """Tell whether a longer name begins with `said`, so that a cut answer could have become that one."""
        start = fold(said)
        return any(name != start and name.startswith(start) for name in self._meant)


def spoken(value: Any) -> str | None:
    """Return a JSON scalar as the text that stands for it: 5 → `5`, true → `true`; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and abs(value) < _MAX_INTEGER:
        return str(int(value)) if value == int(value) else repr(value)
    return None


def _unwrapped(text: str) -> Iterator[str]:
    """Yield `text` as it stands, then without what models put around a word."""
    yield text
    bare = text.strip(_WRAPPING)
    yield bare
    yield bare.rstrip(_STOPS).strip(_WRAPPING)
