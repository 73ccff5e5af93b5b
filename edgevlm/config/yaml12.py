"""YAML 1.2 (core schema) out of PyYAML, which speaks 1.1: values, and the place of each.

- Only `true` and `false` are booleans; `0123` is 123, `12:30` is text; `yes`, `no`, `on`, `off` are text.
- No tags but `!env`, `!file` and `!credential`; a key stands once in a mapping; keys are text, always.
- Bounded: size, depth, and the number of values that aliases unfold to. The C parser recurses while it
  composes, so the depth is checked on its events before.
- What can be read around a mistake is read, so that all mistakes come at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Protocol

import yaml

from edgevlm.config.credentials import BETTER_FORMS, Unreadable
from edgevlm.config.mistakes import KeyPath, Place, Report
from edgevlm.runtime.section import Secret

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_VALUES = 100_000
TAGS = ("!env", "!file", "!credential")

SecretSource = Callable[[str, str], tuple[Secret, str]]
"""From a tag and its argument to the secret and a warning; raises `Unreadable`."""

_TEXT_TAG = "tag:yaml.org,2002:str"
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS = 300


class _Loader(yaml.CSafeLoader):
    """The C parser, with no opinion about plain scalars: they stay text until `plain` reads them."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # typeshed and PyYAML: a class attribute


class _SyntaxMistake(Exception):
    """The text is not YAML, or exceeds a bound."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


def read(raw: bytes, report: Report, secret_source: SecretSource) -> dict[str, Any]:
    """Return the root mapping of `raw`; report its mistakes, and note its places, in `report`."""
    try:
        root = _compose(_decode(raw))
        if root is None:
            return {}
        report.places.add((), value=_place(root.start_mark))
        value = _Reader(report, secret_source).value(root, ())
    except _SyntaxMistake as mistake:
        report.at(mistake.place, (), mistake.message, mistake.hint)
        report.mark(())
        return {}
    if value is not None and not isinstance(value, dict):
        report.wrong_value((), "the file holds no mapping", "it consists of lines such as `cameras:`")
    return value if isinstance(value, dict) else {}


class _Mark(Protocol):
    """A position as PyYAML gives it, counted from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _place(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _decode(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise _SyntaxMistake(Place(1, 1), f"the file is larger than {MAX_BYTES} bytes", "split it up")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        raise _SyntaxMistake(
            _place_after(before), "this is not UTF-8 text", "save the file as UTF-8"
        ) from None


def _place_after(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _compose(text: str) -> yaml.Node | None:
    """Return the one document's root node, or None when there is nothing in it."""
    try:
        _check_depth(text)
        return yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        # PyYAML knows only the offset, which counts UTF-8 bytes as the C parser sees them.
        before = text.encode()[: error.position].decode(errors="ignore")
        message = "a control character stands here"
        raise _SyntaxMistake(_place_after(before), message, "remove it") from None
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            message = f"mappings and lists are nested deeper than {MAX_DEPTH}"
            raise _SyntaxMistake(_place(event.start_mark), message)


_SENTENCES = {
    "mapping values are not allowed in this context": (
        "a colon may not stand here",
        "is the line indented like its neighbours? Text with a colon and a space needs quotes",
    ),
    "could not find expected ':'": ("this line has no colon", "a key, a colon, a space, a value"),
    "did not find expected key": (
        "a key was expected here",
        "is the line indented like its neighbours? Is a bracket or quote missing before?",
    ),
    "did not find expected '-' indicator": (
        "a list item was expected here",
        "items begin with `- ` and all are indented alike",
    ),
    "did not find expected ',' or ']'": ("the list is not closed", "a comma between items, ] at the end"),
    "did not find expected ',' or '}'": ("the mapping is not closed", "a comma between keys, } at the end"),
    "found unexpected end of stream": ("a quote is not closed", "write the same quote at the end"),
    "found undefined alias": (
        "this alias is not defined",
        "define it before by & and its name; text that begins with * needs quotes",
    ),
    "second occurrence": ("this anchor is defined twice", "give each anchor a name of its own"),
    "but found another document": (
        "a second document begins here",
        "the file holds one; remove the line ---",
    ),
    "found unknown escape character": (
        "an unknown escape stands in double quotes",
        "write \\\\ for a backslash, or use single quotes",
    ),
}


def _explained(error: yaml.MarkedYAMLError, text: str) -> _SyntaxMistake:
    """Turn the parser's error into a plain sentence; its own words never hold text of the file."""
    place = _place(error.problem_mark)
    if error.context_mark and _at_end(place, text):
        place = _place(error.context_mark)  # where the list began that does not end
    if error.problem == "found character that cannot start any token":
        return _SyntaxMistake(place, *_bad_start(_lines_from(place, text)[0][:1]))
    if error.problem in _SENTENCES:
        return _SyntaxMistake(place, *_SENTENCES[error.problem])
    detail = " ".join(part for part in (error.context, error.problem) if part)
    return _SyntaxMistake(place, f"this is not YAML ({detail})", "text with special characters needs quotes")


def _at_end(place: Place, text: str) -> bool:
    return not "".join(_lines_from(place, text)).strip()


def _lines_from(place: Place, text: str) -> list[str]:
    first, *rest = text.split("\n")[place.line - 1 :] or [""]
    return [first[place.column - 1 :], *rest]


def _bad_start(character: str) -> tuple[str, str]:
    if character == "\t":
        return "a tab may not stand here", "indent with spaces"
    return f"text may not begin with {character or 'this character'}", "put it in quotes"


class _Reader:
    """Makes values of nodes, notes their places, and reports what may not be in a configuration."""

    def __init__(self, report: Report, secret_source: SecretSource) -> None:
        self._report = report
        self._secret_source = secret_source
        self._count = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the value of `node`; recursion is bounded, also for an alias within its own anchor."""
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            place = self._report.places.key(path[:1])
            raise _SyntaxMistake(place, "the aliases below unfold to too much", "use fewer of them")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag.startswith("!") or not node.tag.endswith((":map", ":seq")):
            self._unknown_tag(path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self._report.places.add(path, value=_place(node.start_mark))
        return self.value(node, path)

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT_TAG:
                self._report.at(place, path, "a key must be plain text", "e.g. `dock:`")
                continue
            key = str(key_node.value)
            if key in result:
                message = f"the key stands twice; the first is in line {lines[key]}"
                self._report.at(place, (*path, key), message, "keep one of them")
                continue
            lines[key] = place.line
            below = isinstance(value_node, yaml.CollectionNode) and not value_node.flow_style
            start = place if below else _place(value_node.start_mark)
            self._report.places.add((*path, key), value=start, key=place)
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag in TAGS:
            return self._secret(node, path)
        if node.tag != _TEXT_TAG:
            self._unknown_tag(path)
            return str(node.value)
        if node.style:
            return str(node.value)
        try:
            return plain(str(node.value))
        except ValueError:
            self._report.wrong_value(path, "the number is too large", "text that looks like one needs quotes")
            return str(node.value)

    def _secret(self, node: yaml.ScalarNode, path: KeyPath) -> Secret:
        try:
            secret, warning = self._secret_source(str(node.tag), str(node.value))
        except Unreadable as error:
            self._report.wrong_value(path, error.message, error.hint)
            return Secret("unreadable", str(node.tag))
        self._report.hide(secret.reveal())
        if warning:
            self._report.warn(path, warning, "chmod 600 it")
        return secret

    def _unknown_tag(self, path: KeyPath) -> None:
        # The tag is not quoted: a password that begins with ! looks like one.
        hint = f"tags are {BETTER_FORMS}; text that begins with ! needs quotes"
        self._report.wrong_value(path, "the tag is not known", hint)


def plain(text: str) -> Any:
    """Read an unquoted scalar by the core schema of YAML 1.2; raise ValueError for an endless number."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("not finite")
    return text


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("too many digits")
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number
