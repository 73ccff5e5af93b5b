"""What holds for any completion: it is an answer that the contract allows, or `BadAnswer`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgevlm.errors import BadAnswer
from edgevlm.infer.answer import Reading
from edgevlm.infer.boxes import BOX_FORMATS, form_of, full_scale
from edgevlm.infer.prompt import build_prompt
from edgevlm.records import Question
from tests.infer.asking import (
    CLASSIFICATION,
    CLOSED_QUESTION,
    MULTI_LABEL,
    QUESTIONS,
    STRUCTURED,
    UNPROMPTED_DETECTION,
    read,
)

BOX = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 4, "maxItems": 4}
SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def value_schema(question: Question) -> dict[str, Any]:
    """Return what the contract says of a task's value, written down apart from the code that reads it."""
    if question.task == "visual-question-answering" and question.answers:
        return {"enum": list(question.answers)}
    schema = VALUES.get(question.task)
    return {"type": "string", "minLength": 1} if schema is None else schema(question)


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def detections(question: Question) -> dict[str, Any]:
    label = {"enum": list(question.classes)} if question.classes else {"type": "string", "minLength": 1}
    pixels = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1280}}
    found = closed(**{"class": label}, confidence=SHARE, box=BOX, box_px=pixels)
    return {"type": "array", "items": found, "maxItems": 100}


def labels(question: Question) -> dict[str, Any]:
    label = closed(**{"class": {"enum": list(question.classes)}}, confidence=SHARE)
    return {"type": "array", "items": label, "uniqueItems": True}


LINES = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 1000}
FIELDS = closed(
    label={"enum": ["truck", "van"]},
    x1={"type": "integer", "minimum": 0, "maximum": 1000},
    score={"type": "number", "maximum": 90.5},
    answer={"type": "boolean"},
    name={"type": "string"},
)
VALUES: dict[str, Callable[[Question], dict[str, Any]]] = {
    "ocr": lambda _: closed(text={"type": "string"}, lines=LINES),
    "classification": lambda question: {"enum": list(question.classes)},
    "multi-label-classification": labels,
    "object-detection": detections,
    "structured-answering": lambda _: FIELDS | {"required": ["label", "x1", "name"]},
}


def check_valid(question: Question, reading: Reading) -> None:
    """Fail unless an answer is what the contract says."""
    if reading.outcome == "unknown":
        assert reading.value is None
        return
    jsonschema.validate(reading.value, value_schema(question))
    json.dumps(reading.value, allow_nan=False).encode()
    for found in reading.value if question.task == "object-detection" else ():
        x_min, y_min, x_max, y_max = found["box"]
        assert x_min < x_max
        assert y_min < y_max
    if reading.confidence is not None:
        assert 0 <= reading.confidence.value <= 1


def check_failure(failure: BadAnswer) -> None:
    """Fail unless a failure can be logged, encoded and sent."""
    assert failure.raw is not None
    failure.raw.encode()
    assert len(failure.message) < 300
    assert "\n" not in failure.message


KEYS = [
    "class_name",
    "class",
    "label",
    "name",
    "answer",
    "confidence",
    "score",
    "predicted_classes",
    "detections",
]
KEYS += ["objects", "bbox_2d", "box_2d", "x_min", "y_min", "x_max", "y_max", "x1", "y1", "x2", "y2", "text"]
WORDS = [
    "truck",
    "Van",
    "bus",
    "unknown",
    "yes",
    "5",
    "90%",
    "0.5",
    "NO TEXT",
    "true",
    "",
    "x" * 300,
    "\u202e",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([0, 0.1, 0.9, 1, 100, 500, 1000, 1280, 10**400, math.inf, math.nan])
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=7),
    max_leaves=25,
)
names = st.sampled_from(WORDS) | scalars
shares = st.floats(0, 1) | scalars
boxes = st.fixed_dictionaries(
    {"label": names, "bbox_2d": st.lists(st.floats(-0.2, 1.2) | scalars, min_size=4, max_size=4)}
)
labels_said = st.fixed_dictionaries({"class": names, "confidence": shares})
near_answers = [
    st.fixed_dictionaries({"class_name": names}, optional={"confidence": shares}),
    st.fixed_dictionaries({"answer": names}),
    st.fixed_dictionaries({"predicted_classes": st.lists(labels_said, max_size=4)}),
    st.fixed_dictionaries({"detections": st.lists(boxes, max_size=4)}),
    st.lists(boxes, max_size=4),
    st.fixed_dictionaries(
        {
            "label": st.sampled_from(["truck", "van", "unknown"]),
            "x1": st.integers(-5, 1500) | scalars,
            "name": names,
        },
        optional={"score": st.floats() | scalars, "answer": scalars},
    ),
]
answers = st.one_of(*near_answers, values)
PROSE = [
    "",
    "Sure! ",
    "```json\n",
    "\n```",
    "<think>",
    "</think>",
    "[1] ",
    "{",
    "}",
    "]",
    '"',
    "'",
    ",",
    "truck",
    "\n",
]


@st.composite
def completions(draw: st.DrawFn) -> str:
    """Draw JSON that is nearly an answer, with what models put around it, and with damage."""
    parts = []
    for value in draw(st.lists(answers, min_size=1, max_size=2)):
        parts += [draw(st.sampled_from(PROSE)), json.dumps(value), draw(st.sampled_from(PROSE))]
    return draw(st.sampled_from(DAMAGES))("".join(parts), draw(st.integers(0, 300)))


DAMAGES: list[Callable[[str, int], str]] = [
    lambda text, _at: text,
    lambda text, _at: text,
    lambda text, at: text[:at],
    lambda text, at: text[:at] + text[at + 1 :],
    lambda text, _at: text.replace('"', "'"),
    lambda text, _at: text.replace(",", ",,"),
]


@settings(max_examples=600, deadline=None)
@given(
    question=st.sampled_from(QUESTIONS),
    text=st.text() | completions(),
    finish=st.sampled_from(["stop", "length", None, "tool_calls"]),
    box_format=st.sampled_from(BOX_FORMATS),
)
def test_any_text_is_a_valid_answer_or_none(
    question: Question, text: str, finish: str | None, box_format: str
) -> None:
    try:
        reading = read(question, text, finish, box_format=box_format, sent_size=(1280, 720))
    except BadAnswer as failure:
        check_failure(failure)
    else:
        check_valid(question, reading)


def instances(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw what a server that holds a model to `schema` can send."""
    if "anyOf" in schema:
        return st.one_of([instances(option) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            properties = schema["properties"].items()
            return st.fixed_dictionaries({name: instances(inner) for name, inner in properties})
        case "array":
            return st.lists(instances(schema["items"]), max_size=4)
        case kind:
            return {
                "null": st.none(),
                "boolean": st.booleans(),
                "integer": st.integers(0, 1000),
                "number": st.floats(0, 1),
                "string": st.text(max_size=20),
            }[kind]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), question=st.sampled_from([CLOSED_QUESTION, CLASSIFICATION, MULTI_LABEL, STRUCTURED]))
def test_whatever_follows_the_schema_is_read(data: st.DataObject, question: Question) -> None:
    schema = build_prompt(question).schema
    assert schema is not None
    reading = read(question, json.dumps(data.draw(instances(schema))))
    check_valid(question, reading)
    assert not reading.repaired


@settings(max_examples=100, deadline=None)
@given(data=st.data(), box_format=st.sampled_from(BOX_FORMATS))
def test_a_box_comes_back_whatever_the_convention(data: st.DataObject, box_format: str) -> None:
    form = form_of(box_format)
    full = full_scale(box_format, (1280, 720))
    assert full is not None
    shares = st.floats(0.05, 0.95)
    left, right = sorted((data.draw(shares), data.draw(shares)))
    top, bottom = sorted((data.draw(shares), data.draw(shares)))
    assume(right - left > 0.05 and bottom - top > 0.05)
    x_0, y_0, x_1, y_1 = left * full[0], top * full[1], right * full[0], bottom * full[1]
    entry: dict[str, Any] = {"label": "truck"}
    if form.order == "named":
        entry |= {"x_min": x_0, "y_min": y_0, "x_max": x_1, "y_max": y_1}
    else:
        entry[form.key] = [x_0, y_0, x_1, y_1] if form.order == "xyxy" else [y_0, x_0, y_1, x_1]

    reading = read(UNPROMPTED_DETECTION, json.dumps([entry]), box_format=box_format, sent_size=(1280, 720))

    assert reading.value[0]["box"] == pytest.approx([left, top, right, bottom], abs=1e-4)
