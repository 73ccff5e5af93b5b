"""JSON Schema of an answer: the part of it that every server understands.

Root object, explicit types, all properties required, no further ones; no ranges, patterns or lengths.
OpenAI's strict mode, the grammars of llama.cpp, vLLM and SGLang, and Moonshot's subset (MFJS) accept this
much. Ranges are told in the text and checked by `fields`, as everything else is checked once more.
"""

from __future__ import annotations

from typing import Any

from edgevlm.infer.boxes import BoxForm
from edgevlm.infer.names import UNKNOWN
from edgevlm.records import Question

MAX_ENUM = 500
"""MFJS takes no longer list; beyond it only the text names the set."""

KINDS = {"string": "text", "integer": "an integer", "number": "a number", "boolean": "true or false"}
"""The types of a structured answer's fields, in words."""

_NUMBER = {"type": "number"}
_CORNERS = ("x_min", "y_min", "x_max", "y_max")


def schema_of(question: Question, form: BoxForm) -> dict[str, Any] | None:
    """Return the schema that the answer to `question` follows; None for free text."""
    match question.task:
        case "classification":
            return _object(class_name=_choice(question.classes), confidence=_NUMBER)
        case "multi-label-classification":
            label = _object(**{"class": _choice(question.classes)}, confidence=_NUMBER)
            return _object(predicted_classes={"type": "array", "items": label})
        case "visual-question-answering" if question.answers:
            return _object(answer=_choice(question.answers))
        case "object-detection":
            return _object(detections={"type": "array", "items": _detection(question, form)})
        case "structured-answering":
            return _object(**{name: _field(spec) for name, spec in question.output_structure.items()})
        case _:
            return None


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _choice(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the type of a closed set's member, `unknown` among them."""
    return _string([*names, UNKNOWN])


def _string(allowed: list[str] | None) -> dict[str, Any]:
    if not allowed or len(allowed) > MAX_ENUM:
        return {"type": "string"}
    return {"type": "string", "enum": allowed}


def _detection(question: Question, form: BoxForm) -> dict[str, Any]:
    label = _string(list(question.classes))
    side = {"type": "integer"} if form.integers else _NUMBER
    if form.order == "named":
        return _object(**dict.fromkeys(_CORNERS, side), class_name=label, confidence=_NUMBER)
    return _object(**{form.key: {"type": "array", "items": side}}, label=label)


def _field(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the type of one field; a model may leave an optional one empty, but must say so."""
    kind = _string(_with_unknown(spec["enum"])) if spec.get("enum") else {"type": spec["type"]}
    return kind if spec.get("required", True) else {"anyOf": [kind, {"type": "null"}]}


def _with_unknown(names: list[str]) -> list[str]:
    return names if UNKNOWN in names else [*names, UNKNOWN]
