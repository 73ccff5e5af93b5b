"""What a model server means when it refuses: an error body of any shape becomes one of our errors.

No two servers agree on the shape (`{"error": {…}}`, `{"error": "…"}`, `{"detail": […]}`, `[{"error": …}]`,
`{"object": "error"}`, HTML, nothing), and the status alone often lies: llama.cpp answers 500 for a model
without eyes, OpenRouter 200 for anything; so the words are read too (the table is in `meanings`). Bodies echo
keys and whole pictures: nothing leaves unmasked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgevlm.errors import InferError
from edgevlm.infer.meanings import Meaning, meant_by
from edgevlm.infer.retry_after import retry_after_secs
from edgevlm.runtime.redact import Redactor

MESSAGE_CHARS = 300
RAW_CHARS = 2_000

_SAYING = frozenset({"message", "msg", "detail", "error", "error_message", "raw", "title"})
_NAMING = frozenset({"type", "code", "status", "error_type", "reason", "param", "quotaId", "availability"})
_HINTS = frozenset({"retryDelay", "retry_after", "retry_after_seconds"})
_SILENT = frozenset({"input", "ctx", "body", "messages", "request"})
"""Where servers put what they were sent."""
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error body, read as far as it can be."""

    status: int
    """The HTTP status, or the one that the body names when that one is 200."""
    message: str
    """For a person: one line, masked, short."""
    words: str
    """Everything that it says or names, in lower case."""
    fields: frozenset[str]
    """Names of request fields that it points at: `param`, the end of `loc`, whatever it quotes."""
    raw: str
    retry_after_secs: float | None = None

    def mentions(self, field: str) -> bool:
        """Tell whether the field is named anywhere, quoted or not."""
        return re.search(rf"(?<![\w-]){re.escape(field)}(?![\w-])", self.words) is not None

    def error(self, meanings: tuple[Meaning, ...] = ()) -> InferError:
        """Return what this refusal means; `meanings` are a vendor's own rows, read before the common ones."""
        kind = meant_by(self.status, self.words, meanings)
        return kind(self.message, raw=self.raw or None, retry_after_secs=self.retry_after_secs)


def classify(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    redactor: Redactor | None = None,
    meanings: tuple[Meaning, ...] = (),
) -> InferError:
    """Return the error that an answer with `status` and `body` means."""
    return read_refusal(status, body, headers, redactor=redactor).error(meanings)


def read_refusal(
    status: int, body: bytes, headers: Mapping[str, str], *, redactor: Redactor | None = None
) -> Refusal:
    """Read an error body of any shape, or of none."""
    text = _clean(body.decode(errors="replace"), redactor or Redactor())
    found = _Found()
    found.read(_document(text))
    said = _message(text, found)
    return Refusal(
        status=found.status if status < 400 and found.status else status,
        message=_cut(f"the server answered {status}: {said}" if said else f"the server answered {status}"),
        words=" ".join((*found.sayings, *found.names)).lower() if found.sayings else said.lower(),
        fields=frozenset(found.fields).union(_QUOTED.findall(said)),
        raw=text[:RAW_CHARS],
        retry_after_secs=retry_after_secs(headers, found.hints, said),
    )


class _Found:
    """What the walk through a JSON error document picks up."""

    def __init__(self) -> None:
        self.sayings: list[str] = []
        self.names: list[str] = []
        self.fields: list[str] = []
        self.hints: list[Any] = []
        self.status = 0

    def read(self, node: Any, key: str = "error", depth: int = 0) -> None:
        """Collect from `node`, which stands under `key`."""
        if depth > _MAX_DEPTH:
            return
        if isinstance(node, dict):
            for name, value in node.items():
                self._entry(str(name), value, depth)
        elif isinstance(node, list):
            for value in node[:20]:
                self.read(value, key, depth + 1)
        elif isinstance(node, str) and key in _SAYING and node.strip():
            self._saying(node, depth)
        elif key in _NAMING and isinstance(node, str | int) and not isinstance(node, bool):
            self._name(node)

    def _entry(self, name: str, value: Any, depth: int) -> None:
        if name in _SILENT:
            return
        if name in _HINTS:
            self.hints.append(value)
        elif name == "loc" and isinstance(value, list) and value:
            self.fields.append(str(value[-1]))
        else:
            if name == "param" and isinstance(value, str):
                self.fields.append(value.partition(".")[0])
            self.read(value, name, depth + 1)

    def _saying(self, text: str, depth: int) -> None:
        """Keep a text; OpenRouter hands on the upstream's own error as JSON within it."""
        inner = _document(text) if text.lstrip().startswith(("{", "[")) else None
        if isinstance(inner, dict | list) and inner:
            self.read(inner, "error", depth + 1)
        else:
            self.sayings.append(text)

    def _name(self, name: str | int) -> None:
        if isinstance(name, int) or name.isdecimal():
            self.status = self.status or (int(name) if 400 <= int(name) < 600 else 0)
        else:
            self.names.append(name)


def _document(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _message(text: str, found: _Found) -> str:
    if found.sayings or found.names:
        return " ".join(dict.fromkeys(found.sayings or found.names))
    if title := _TITLE.search(text):
        return title[1].strip()
    if cut_off := _SAID.findall(text):  # JSON that is cut off, or wrong
        return " ".join(cut_off)
    return "" if text.startswith(("{", "[")) else _TAG.sub(" ", text[:4000]).strip()


def _clean(text: str, redactor: Redactor) -> str:
    return _LONG_RUN.sub("…", redactor.text(text)).strip()


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARS else line[: MESSAGE_CHARS - 1] + "…"


_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_TAG = re.compile(r"<(?:style|script).*?</(?:style|script)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SAID = re.compile(r'"(?:message|msg|detail|error)"\s*:\s*"((?:[^"\\]|\\.){1,500})')
_QUOTED = re.compile(r"""['"`]([A-Za-z_]\w{0,40})(?:\.\w+)*['"`]""")
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=]{200,}")
