"""Questions, prompts and completions as the tests of the infer stage make them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from edgevlm.infer.answer import Reading, read_answer
from edgevlm.infer.backend import Completion
from edgevlm.infer.prompt import build_prompt
from edgevlm.infer.task import TaskConfig
from edgevlm.records import Question

_TASK: TypeAdapter[Any] = TypeAdapter(TaskConfig)


def question_of(**task: Any) -> Question:
    """Return the question of a task as a rule's YAML has it."""
    question: Question = _TASK.validate_python(task).question()
    return question


def read(question: Question, text: str, finish: str | None = "stop", **geometry: Any) -> Reading:
    """Return what `text` says in answer to `question`."""
    box_format = geometry.pop("box_format", None)
    prompt = build_prompt(question, box_format=box_format, picture_size=geometry.get("sent_size"))
    return read_answer(question, prompt, Completion(text, finish), **geometry)


UNCONSTRAINED = question_of(type="unconstrained", prompt="What is it?")
OCR = question_of(type="ocr")
OPEN_QUESTION = question_of(type="visual-question-answering", prompt="What is it?")
CLOSED_QUESTION = question_of(type="visual-question-answering", prompt="Is it?", answers=["yes", "no", "5"])
CAPTION = question_of(type="caption")
DETAILED_CAPTION = question_of(type="detailed-caption")
CLASSES = ["truck", {"name": "van", "aliases": ["bus"]}, "5"]
CLASSIFICATION = question_of(type="classification", classes=CLASSES)
MULTI_LABEL = question_of(type="multi-label-classification", classes=CLASSES)
DETECTION = question_of(type="object-detection", classes=CLASSES)
UNPROMPTED_DETECTION = question_of(type="object-detection")
STRUCTURED = question_of(
    type="structured-answering",
    output_structure={
        "label": {"enum": ["truck", "van"]},
        "x1": {"type": "integer", "min": 0, "max": 1000},
        "score": {"type": "number", "max": 90.5, "required": False},
        "answer": {"type": "boolean", "required": False},
        "name": "what it is",
    },
)
JSON_QUESTIONS = [CLOSED_QUESTION, CLASSIFICATION, MULTI_LABEL, DETECTION, UNPROMPTED_DETECTION, STRUCTURED]
QUESTIONS = [UNCONSTRAINED, OCR, OPEN_QUESTION, CAPTION, DETAILED_CAPTION, *JSON_QUESTIONS]
