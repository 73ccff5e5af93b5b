"""Free text: what the model says is the value, whole or cut off."""

from __future__ import annotations

from dataclasses import replace

from edgevlm.errors import EmptyAnswer
from edgevlm.infer.confidence import of_engine
from edgevlm.infer.names import NameSet
from edgevlm.infer.prompt import NO_TEXT
from edgevlm.infer.reading import Case, Reading

MAX_TEXT_CHARS = 32_768
"""Longest free text; the rest is cut off and the answer marked `truncated`."""
MAX_LINES = 1_000
"""Lines of `ocr`."""


def read_verbatim(case: Case) -> Reading:
    """Return the text as it stands: an unconstrained prompt may have asked for fences."""
    return _text(case, case.text)


def read_text(case: Case) -> Reading:
    """Return the text without a fence around it."""
    if not case.bare:
        raise EmptyAnswer("the model sent an empty block")
    return _text(case, case.bare)


def read_ocr(case: Case) -> Reading:
    """Return the text that was read with its lines; both empty when the model says that there is none."""
    if NameSet((NO_TEXT,)).match(case.bare) == NO_TEXT or not case.bare.strip("\"'` "):
        return Reading("ok", {"text": "", "lines": []}, of_engine(case.completion))
    reading = _text(case, case.bare)
    lines = [line.strip() for line in reading.value.split("\n") if line.strip()]
    value = {"text": reading.value, "lines": lines[:MAX_LINES]}
    return replace(reading, value=value, truncated=reading.truncated or len(lines) > MAX_LINES)


def _text(case: Case, text: str) -> Reading:
    kept = text[:MAX_TEXT_CHARS].rstrip()
    return Reading("ok", kept, of_engine(case.completion), truncated=case.cut or len(text) > MAX_TEXT_CHARS)
