"""What is wrong with a configuration file, and where: one `Mistake` each, collected in a `Report`.

A report takes one mistake a key: what follows from a mistake that is already told is not told again.
Values of the file are quoted only by `Report.quoted`, which knows what must stay secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from edgevlm.config.model import Config
from edgevlm.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The way from the root of the file to a value: keys, and positions in lists."""

_PLAIN_KEY = re.compile(r"[^\s:=.\[\]\"'\x00-\x1f\x7f-\x9f]{1,64}")
_HARMLESS = re.compile(r"[\w.,/+-][\w.,/+ -]{0,79}")
_MAX_COMPARED = 600
_MAX_LISTED = 24
_NOT_SHOWN = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the file; both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, or that deserves a warning; `str()` is the line that a user reads."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return self.text()

    def text(self, label: str = "") -> str:
        """Return `file:line:column: key.path: what is wrong; what would be right`; `label` goes before."""
        parts = [f"{self.file}:{self.line}:{self.column}:"]
        parts += [f"{part}:" for part in (label, self.path) if part]
        return " ".join([*parts, f"{self.message}; {self.hint}" if self.hint else self.message])

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        return asdict(self)


class InvalidConfig(ConfigError):
    """A configuration with mistakes.

    Attributes:
        mistakes: all of them, in the order of the file.
        warnings: what `Loaded.warnings` would have held.
        rest: the configuration without what is wrong; good for telling more about it, not for running.

    """

    def __init__(self, mistakes: Iterable[Mistake], warnings: Iterable[Mistake], rest: Config) -> None:
        self.mistakes = tuple(mistakes)
        self.warnings = tuple(warnings)
        self.rest = rest
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class Places:
    """Where each key and each value of the file stands."""

    def __init__(self) -> None:
        self._keys: dict[KeyPath, Place] = {}
        self._values: dict[KeyPath, Place] = {}
        self._below: dict[KeyPath, list[str]] = {}

    def add(self, path: KeyPath, *, value: Place, key: Place | None = None) -> None:
        """Note where the value at `path` stands, and its key."""
        self._values[path] = value
        if key is not None:
            self._keys[path] = key
            self._below.setdefault(path[:-1], []).append(str(path[-1]))

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._values

    def value(self, path: KeyPath) -> Place:
        """Return where the value stands; for an absent one, the place of what should hold it.

        A mapping or list over several lines stands where its key does.
        """
        while path not in self._values:
            if not path:
                return Place(1, 1)
            path = path[:-1]
        return self._values[path]

    def key(self, path: KeyPath) -> Place:
        """Return where the key stands; an item of a list has none, so its value counts."""
        return self._keys.get(path) or self.value(path)

    def below(self, path: KeyPath) -> list[str]:
        """Return the keys of the mapping at `path` as they stand in the file, usable or not."""
        return self._below.get(path, [])


class Report:
    """The mistakes and warnings of one file, while it is being read; knows what must not be shown."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places = Places()
        self.secrets: set[str] = set()
        self._mistakes: list[Mistake] = []
        self._warnings: list[Mistake] = []
        self._told: set[KeyPath] = set()

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """All mistakes, in the order of the file."""
        return tuple(sorted(self._mistakes, key=_position))

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """All warnings, in the order of the file."""
        return tuple(sorted(self._warnings, key=_position))

    def told(self, path: KeyPath) -> bool:
        """Say whether a mistake is known at `path` or at something that holds it."""
        return any(path[:depth] in self._told for depth in range(len(path) + 1))

    def mark(self, path: KeyPath) -> None:
        """Count `path` as told: nothing more is said of it, or of what is below."""
        self._told.add(path)

    def wrong_value(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Report the value at `path`; a default, which has no place, at the mapping that it belongs to."""
        shown = path if path in self.places else path[:-1]
        self._error(path, self.places.value(path), shown, message, hint)

    def wrong_key(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Report the key at the end of `path`; what is below it may be reported as well."""
        if not self.told(path):
            self._mistakes.append(self._mistake(self.places.key(path), path, message, hint))

    def lacks(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Report a key that is not there, at the mapping that lacks it; or an empty one where it stands."""
        if path in self.places:
            self._error(path, self.places.key(path), path, "no value stands here", hint)
        else:
            self._error(path, self.places.value(path), path[:-1], message, hint)

    def at(self, place: Place, path: KeyPath, message: str, hint: str = "") -> None:
        """Report something at a place of its own; `path` may be reported again."""
        self._mistakes.append(self._mistake(place, path, message, hint))

    def warn(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Warn of the value at `path`."""
        shown = path if path in self.places else path[:-1]
        self._warnings.append(self._mistake(self.places.value(path), shown, message, hint))

    def hide(self, secret: str) -> None:
        """Never show this text."""
        if secret:
            self.secrets.add(secret)

    def quoted(self, value: object) -> str:
        """Return `value` in quotes where it may be shown, else a word that stands for it."""
        if not isinstance(value, str) or not _HARMLESS.fullmatch(value):
            return "this"
        return "this" if any(secret in value for secret in self.secrets) else f"'{value}'"

    def _error(self, path: KeyPath, place: Place, shown: KeyPath, message: str, hint: str) -> None:
        if not self.told(path):
            self.mark(path)
            self._mistakes.append(self._mistake(place, shown, message, hint))

    def _mistake(self, place: Place, path: KeyPath, message: str, hint: str) -> Mistake:
        return Mistake(self.file, place.line, place.column, dotted(path), message, hint)


def _position(mistake: Mistake) -> tuple[int, int, str]:
    return (mistake.line, mistake.column, mistake.message)


def dotted(path: KeyPath) -> str:
    """Return `path` as users write it: `cameras.dock.privacy_masks[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shown_key(part)}" for part in path)
    return text.removeprefix(".")


def shown_key(key: str) -> str:
    """Return a key as it may be shown: of `password:hunter2` (a forgotten space) only the first word."""
    found = _PLAIN_KEY.match(key)
    word = found.group() if found else ""
    return word if word == key else word + _NOT_SHOWN


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a typo most likely meant."""
    found = difflib.get_close_matches(word[:100], islice(known, _MAX_COMPARED), n=1, cutoff=0.6)
    return found[0] if found else None


def either(words: Iterable[str], *, last: str = "or") -> str:
    """Return `a, b or c`."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the hint for a word that is not known: the nearest one, or all of them."""
    names = list(known)
    guess = nearest(word, names)
    return f"did you mean {guess}?" if guess else all_known(names)


def all_known(names: Iterable[str]) -> str:
    """Return what could stand there."""
    known = list(islice(names, _MAX_LISTED + 1))
    if len(known) > _MAX_LISTED:
        known[-1] = _NOT_SHOWN
    return f"known: {', '.join(known) or 'none'}"
