"""What must not be seen: logs, errors, topics and pages pass through here.

A text is masked in three ways, in this order: every known secret, in the forms it takes on its way through
libraries (as it is, percent-encoded, escaped, base64); whatever looks like a secret by its place (userinfo of
a URL, a key called `password` or `api_key`, an Authorization header); then the known secrets once more, since
cutting may bring one together. Mask first and cut to length later: half a secret is not recognised.

Only the standard library is imported: capture hosts mask their own output.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Any

MASK = "***"
MIN_LENGTH = 4
"""Shorter values are masked only as a whole userinfo of a URL: as a substring, a password `ab` would blank
half of every line, and the holes would spell it out."""

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class _Known:
    """One secret and how to find it."""

    anchor: str
    """Its longest run of letters and digits, which no encoding but base64 changes: a cheap first look."""
    plain: re.Pattern[str]
    encoded: tuple[str, ...]

    def mask(self, text: str) -> str:
        """Replace every form of the secret in `text`."""
        if self.anchor in text:
            text = self.plain.sub(MASK, text)
        for form in self.encoded:
            if form in text:
                text = text.replace(form, MASK)
        return text


class Redactor:
    """Masks secrets in texts and nested values; may be called from any thread, `add` from one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._found: dict[str, _Known | None] = {}
        self._known: tuple[_Known, ...] = ()
        for value in secrets:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask `value` from now on."""
        if not value or value in self._found:
            return
        self._found[value] = _known(value) if len(value) >= MIN_LENGTH else None
        # Longest first: a secret inside a longer one must not leave the rest of the longer one readable.
        longest_first = sorted(self._found.items(), key=lambda item: -len(item[0]))
        self._known = tuple(known for _, known in longest_first if known)

    def text(self, text: str) -> str:
        """Return `text` with every secret in it masked."""
        masked = self._mask_known(text)
        if _SUSPICIOUS.search(masked) is None:
            return masked
        masked = _DATA_URL.sub(_cut_data_url, masked)
        masked = _USERINFO.sub(self._mask_userinfo, masked)
        masked = _AUTHORIZATION.sub(rf"\g<1>{MASK}", masked)
        masked = _BEARER.sub(rf"\g<1>{MASK}", masked)
        return self._mask_known(_mask_pairs(masked))

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a copy of `value`, made of plain types, with every string in it masked."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if self._mask_known(str(value)) == str(value) else MASK
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            return {self.text(str(key)): self._entry(key, item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
            return [self.value(item, depth + 1) for item in value]
        return self.text(_plain(value))

    def event(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        """Mask a whole log event, rendered traceback included (a structlog processor)."""
        masked: dict[str, Any] = self.value(event)
        return masked

    def _entry(self, key: object, item: Any, depth: int) -> Any:
        hidden = (
            isinstance(item, str | bytes | int) and not isinstance(item, bool) and is_secret_name(str(key))
        )
        return MASK if hidden and item else self.value(item, depth)

    def _mask_known(self, text: str) -> str:
        before = None
        while before != text:  # ends: each replacement is shorter than what it replaces
            before = text
            for known in self._known:
                text = known.mask(text)
        return text

    def _mask_userinfo(self, match: re.Match[str]) -> str:
        if match["password"] is not None:
            return f"://{match['user']}:{MASK}@"
        return f"://{MASK}@" if match["user"] in self._found else match[0]


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Tell whether a value under this key is a secret: `api_key`, `accessToken`, `Authorization`."""
    words = _words(name)
    return bool(words) and (_SECRET_WORD.fullmatch(words[-1]) is not None)


def _known(secret: str) -> _Known:
    anchor = max(re.findall(r"[A-Za-z0-9]+", secret), key=len, default="")
    plain = "".join(_spellings(char) for char in secret)
    return _Known(anchor, re.compile(plain), tuple(_base64_forms(secret)))


def _spellings(char: str) -> str:
    """Return a pattern for one character as URLs, JSON and `repr` may write it, JSON within JSON too."""
    if char.isascii() and char.isalnum():
        return char
    if char == "\\":
        plain = r"\\{1,8}"
    elif char in "\"'/":
        plain = rf"\\{{0,7}}{char}"
    else:
        plain = "[ +]" if char == " " else re.escape(char)
    percent = "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    escapes = {json.dumps(char)[1:-1], ascii(char)[1:-1], f"\\u{ord(char):04x}"} - {char}
    others = "|".join(sorted(re.escape(form).replace(r"\\", r"\\{1,8}") for form in escapes))
    return rf"(?:{plain}|(?i:{percent}|{others}))"


def _base64_forms(secret: str) -> set[str]:
    """Return what stays the same of the secret's base64 wherever it stands in the encoded text.

    Basic authentication encodes `user:password`, so the password begins at any of three bit offsets. The
    characters at both ends mix in bits of the neighbours and are left out.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    forms = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        first, last = math.ceil(offset * 8 / 6), (offset + len(raw)) * 8 // 6
        form = encoded[first:last]
        forms |= {form, form.translate({43: "-", 47: "_"})}
    return forms


_SECRET_WORD = re.compile(
    "auth|authorization|bearer|cookie|credentials?|key|pass|pwd|sig|signature"
    "|.*(?:apikey|passphrase|passwd|password|secret|token)"
)
_STRONG_WORD = re.compile("apikey|authorization|passphrase|passwd|password|secret")

_SUSPICIOUS = re.compile(r"(?i)://|data:|auth|pass|pwd|secret|token|key|bearer|cookie|credential|sig")

_DATA_URL = re.compile(r"(data:[\w.+/\\-]{1,80}(?:;[\w=.-]{1,40}){0,3},)([\w+/\\%=-]{33,})")

# A password with a raw `/` or `#` is read up to the last `@`, unless what follows the colon is a port.
_USERINFO = re.compile(
    r"://(?P<user>[^\s/?#@:\[\"'<>]{0,256})"
    r"(?::(?P<password>[^\s/?#\"'<>]{0,1024}|(?!\d{1,5}[/?#])[^\s\"'<>]{0,1024}))?@"
)

_AUTHORIZATION = re.compile(
    r"(?i)(\bauthorization\s?[:=]\s{0,4}(?:basic|bearer|digest|negotiate|token)\s)[^\r\n]+"
)
_BEARER = re.compile(r"(?i)(\bbearer\s)[\w.~+/=-]{16,}")

_NAME = re.compile(r"(?<![\w.\-])(?P<name>[\w.\-]++)(?P<quote>\\{0,7}[\"']?)\s{0,4}(?P<sign>[=:])\s{0,4}")
_QUOTED = re.compile(
    r"(?P<before>(?:[A-Za-z_][\w.]{0,40}\(|[bru]{1,2})?(?P<open>\\{0,7}[\"']))(?P<body>.*?)(?P<close>(?<!\\)(?P=open)|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_BARE = re.compile(r"[^\s,;&\"'<>()\[\]{}]+")
_HARMLESS = re.compile(r"(?i:null|none|true|false)\Z|!(?:env|file|credential)\b")
_END_OF_LINE = re.compile(r"[ \t]*(?:[,;#}\r\n]|\Z)")


def _cut_data_url(match: re.Match[str]) -> str:
    return f"{match[1]}…({len(match[2])} characters)"


def _mask_pairs(text: str) -> str:
    """Mask the values of `name=value`, `"name": "value"` and `name: value` where the name tells a secret."""
    parts: list[str] = []
    done = 0
    for match in _NAME.finditer(text):
        if match.start() < done or not is_secret_name(match["name"]):
            continue
        end, masked = _masked_value(text, match)
        if end > match.end():
            parts += (text[done : match.end()], masked)
            done = end
    return "".join(parts) + text[done:] if parts else text


def _masked_value(text: str, name: re.Match[str]) -> tuple[int, str]:
    """Return where the value after `name` ends and what to write for it; `name.end()`: nothing to mask."""
    prose = name["sign"] == ":" and not name["quote"]
    if prose and not _is_strong(name["name"]):
        return name.end(), ""
    if quoted := _QUOTED.match(text, name.end()):
        return quoted.end(), f"{quoted['before']}{MASK}{quoted['close']}"
    bare = _BARE.match(text, name.end())
    if bare is None or _HARMLESS.match(bare[0]):
        return name.end(), ""
    # "wrong password: connection refused" is a sentence, "password: hunter2" at the end of a line is YAML
    if prose and not _END_OF_LINE.match(text, bare.end()):
        return name.end(), ""
    return bare.end(), MASK


def _is_strong(name: str) -> bool:
    """Tell whether `name: value` is more than a sentence or the path of a configuration mistake."""
    words = _words(name)
    return "." not in name and (len(words) > 1 or _STRONG_WORD.fullmatch(words[-1]) is not None)


def _words(name: str) -> list[str]:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return [word for word in re.split(r"[^a-z]+", parted) if word]


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, BaseException):
        return str(value) or type(value).__name__
    return str(value) if isinstance(value, PurePath) else repr(value)
