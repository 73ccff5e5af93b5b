"""What a rule may ask: the nine tasks with their parameters, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgevlm.infer.task import TASK_TYPES
from tests.infer.asking import question_of

NEEDED: dict[str, dict[str, Any]] = {
    "unconstrained": {"prompt": "What is it?"},
    "ocr": {},
    "visual-question-answering": {"prompt": "What is it?"},
    "caption": {},
    "detailed-caption": {},
    "classification": {"classes": ["a"]},
    "multi-label-classification": {"classes": ["a"]},
    "object-detection": {},
    "structured-answering": {"output_structure": {"a": "what it is"}},
}


def refusal_of(**task: Any) -> str:
    with pytest.raises(ValidationError) as failure:
        question_of(**task)
    return str(failure.value)


def test_there_are_nine_tasks() -> None:
    assert set(NEEDED) == set(TASK_TYPES)


@pytest.mark.parametrize("task", TASK_TYPES)
def test_a_task_with_what_it_needs(task: str) -> None:
    assert question_of(type=task, **NEEDED[task]).task == task


@pytest.mark.parametrize(
    ("task", "needed"), [(task, needed) for task, parameters in NEEDED.items() for needed in parameters]
)
def test_a_task_without_what_it_needs(task: str, needed: str) -> None:
    assert needed in refusal_of(type=task)


@pytest.mark.parametrize("task", TASK_TYPES)
@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(task: str, prompt: str) -> None:
    assert "prompt" in refusal_of(type=task, **NEEDED[task] | {"prompt": prompt})


@pytest.mark.parametrize("task", ["classification", "multi-label-classification", "object-detection"])
@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ([], "at least 1"),
        (["truck", " "], "must not be empty"),
        (["truck", "Truck "], "twice"),
        (["caf\u00e9", "cafe\u0301"], "twice"),
        (["truck", {"name": "van", "aliases": ["TRUCK"]}], "twice"),
        (["truck", {"name": "van", "aliases": ["bus", "bus"]}], "twice"),
        (["truck", "Unknown"], "must not hold 'unknown'"),
        (["truck", {"name": "van", "aliases": ["unknown"]}], "must not hold 'unknown'"),
        (["truck", 5], "valid string"),
        ([{"aliases": ["bus"]}], "name"),
    ],
)
def test_classes_that_an_answer_could_not_tell_apart(task: str, classes: list[Any], why: str) -> None:
    assert why in refusal_of(type=task, classes=classes)


@pytest.mark.parametrize(
    ("answers", "why"), [([], "at least 2"), (["yes", "YES"], "twice"), (["yes", "unknown"], "unknown")]
)
def test_answers_that_could_not_be_told_apart(answers: list[str], why: str) -> None:
    assert why in refusal_of(type="visual-question-answering", prompt="Is it?", answers=answers)


def test_a_class_may_have_a_description_and_aliases() -> None:
    question = question_of(
        type="classification",
        classes=[" truck ", {"name": "van", "description": "a small one", "aliases": ["bus"]}],
    )
    assert question.classes == ("truck", "van")
    assert question.class_descriptions == {"van": "a small one"}
    assert question.class_aliases == {"van": ("bus",)}


@pytest.mark.parametrize(
    ("structure", "why"),
    [
        ({}, "at least 1"),
        ({"a b": "x"}, "pattern"),
        ({"a": {"type": "integer", "enum": ["1"]}}, "enum goes with type: string"),
        ({"a": {"type": "string", "min": 1}}, "min and max go with"),
        ({"a": {"type": "number", "min": 2, "max": 1}}, "no value lies between"),
        ({"a": {"type": "integer", "min": 1.2, "max": 1.8}}, "no value lies between"),
        ({"a": {"enum": []}}, "at least 1"),
        ({"a": {"enum": ["open", "Open"]}}, "twice"),
        ({"a": {"type": "date"}}, "'string', 'integer', 'number' or 'boolean'"),
        ({"a": {"minimum": 1}}, "Extra inputs"),
    ],
)
def test_fields_that_no_answer_fits(structure: dict[str, Any], why: str) -> None:
    assert why in refusal_of(type="structured-answering", output_structure=structure)


def test_the_flat_and_the_typed_form_of_a_structure_are_the_same() -> None:
    flat = question_of(type="structured-answering", output_structure={"plate": "the number plate"})
    typed = question_of(
        type="structured-answering",
        output_structure={"plate": {"type": "string", "description": "the number plate", "required": True}},
    )
    assert flat == typed


@pytest.mark.parametrize(
    "place",
    [
        {"type": "ocr", "prompt": "At {gate}."},
        {"type": "ocr", "system_prompt": "At {gate}."},
        {"type": "classification", "classes": [{"name": "a", "description": "At {gate}."}]},
        {"type": "structured-answering", "output_structure": {"a": "At {gate}."}},
        {"type": "structured-answering", "output_structure": {"a": {"description": "At {gate}."}}},
    ],
)
def test_an_unknown_variable_is_refused(place: dict[str, Any]) -> None:
    assert "{gate}" in refusal_of(**place)


@pytest.mark.parametrize("temperature", [-0.1, 2.1])
def test_temperature_lies_between_0_and_2(temperature: float) -> None:
    assert "temperature" in refusal_of(type="ocr", temperature=temperature)
