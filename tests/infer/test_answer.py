"""What completions say: recorded shapes with their outcomes, and the bounds of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgevlm.errors import BadAnswer, EmptyAnswer
from edgevlm.infer.answer import Reading, read_answer
from edgevlm.infer.backend import Completion
from edgevlm.infer.detections import MAX_DETECTIONS
from edgevlm.infer.fields import MAX_FIELD_CHARS
from edgevlm.infer.free_text import MAX_LINES, MAX_TEXT_CHARS
from edgevlm.infer.prompt import build_prompt
from edgevlm.records import Confidence, Question, Usage
from tests.infer.asking import (
    CLASSIFICATION,
    JSON_QUESTIONS,
    MULTI_LABEL,
    OCR,
    STRUCTURED,
    UNCONSTRAINED,
    UNPROMPTED_DETECTION,
    question_of,
    read,
)

TABLES = Path(__file__).parent.parent / "data" / "completions"


def recorded() -> Iterator[Any]:
    for table in sorted(TABLES.glob("*.yaml")):
        content = yaml.safe_load(table.read_text(encoding="utf-8"))
        for name, case in content["cases"].items():
            task = content["task"] | case.get("task", {})
            task = {key: value for key, value in task.items() if value is not None}
            yield pytest.param(task, case, id=f"{table.stem}-{name}")


@pytest.mark.parametrize(("task", "case"), list(recorded()))
def test_recorded_completion(task: dict[str, Any], case: dict[str, Any]) -> None:
    question = question_of(**task)
    prompt = build_prompt(question, box_format=case.get("box_format"))
    completion = Completion(
        case["text"],
        case.get("finish", "stop"),
        usage=Usage(completion_tokens=case.get("tokens")),
        logprobs=tuple((token, float(logprob)) for token, logprob in case.get("logprobs", ())),
    )
    sizes = {"sent_size": case.get("sent"), "source_size": case.get("source"), "crop": case.get("crop")}
    given = {key: tuple(value) for key, value in sizes.items() if value}

    if "error" in case:
        with pytest.raises(BadAnswer) as failure:
            read_answer(question, prompt, completion, **given)
        assert failure.value.code == case["error"]
        assert failure.value.raw == case["text"]
        return

    reading = read_answer(question, prompt, completion, **given)
    assert reading == Reading(
        outcome="unknown" if case.get("unknown") else "ok",
        value=case.get("value"),
        confidence=expected_confidence(case),
        truncated=case.get("truncated", False),
        repaired=case.get("repaired", False),
    )
    json.dumps(reading.value, allow_nan=False).encode()


def expected_confidence(case: dict[str, Any]) -> Confidence | None:
    if case.get("confidence") is None:
        return None
    return Confidence(case["confidence"], case.get("source_of", "self-reported"))


def test_there_are_enough_recorded_completions() -> None:
    assert len(list(recorded())) >= 60


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{'" * 50_000,
        '{"' * 50_000,
        "{,-“]" * 20_000,
        '{"a":' * 50_000,
        "<think>" * 30_000,
        "`" * 99_999,
    ],
)
@pytest.mark.parametrize("question", JSON_QUESTIONS, ids=lambda question: question.task)
def test_heaps_of_brackets_cost_no_time(text: str, question: Question) -> None:
    """Given to `json_repair`, some of these take minutes; the suite's time limit would end the test."""
    with pytest.raises(BadAnswer) as failure:
        read(question, text)
    assert failure.value.raw == text[:2000]


def test_long_text_is_cut() -> None:
    reading = read(UNCONSTRAINED, "x" * (MAX_TEXT_CHARS + 1))
    assert reading.truncated
    assert len(reading.value) == MAX_TEXT_CHARS


def test_text_beyond_what_is_read_counts_as_cut() -> None:
    """A closed answer behind 256 kB is not found, and a list that reaches there is not whole."""
    reading = read(MULTI_LABEL, '[{"class": "truck"},' + " " * 300_000 + '{"class": "van"}]')
    assert reading.truncated
    assert [label["class"] for label in reading.value] == ["truck"]


def test_many_lines_are_cut() -> None:
    reading = read(OCR, "x\n" * (MAX_LINES + 1))
    assert reading.truncated
    assert len(reading.value["lines"]) == MAX_LINES


def test_a_field_of_endless_text_is_no_answer() -> None:
    with pytest.raises(BadAnswer, match="name"):
        read(STRUCTURED, json.dumps({"label": "van", "x1": 1, "name": "x" * (MAX_FIELD_CHARS + 1)}))


def test_more_objects_than_are_kept() -> None:
    many = [{"bbox_2d": [0, 0, 0.5, 0.001 * number], "label": "thing"} for number in range(1, 200)]
    reading = read(UNPROMPTED_DETECTION, json.dumps(many))
    assert reading.truncated
    assert len(reading.value) == MAX_DETECTIONS


def test_as_many_objects_as_are_kept() -> None:
    many = [{"bbox_2d": [0, 0, 0.5, 0.009 * number], "label": "thing"} for number in range(1, 101)]
    reading = read(UNPROMPTED_DETECTION, json.dumps(many))
    assert not reading.truncated
    assert len(reading.value) == 100


def test_an_error_tells_why_the_first_value_is_no_answer() -> None:
    with pytest.raises(BadAnswer, match="'lorry' is not among the 3 names"):
        read(CLASSIFICATION, 'It is {"class_name": "lorry"}, see [1] and [2].')


def test_the_engine_tells_its_own_confidence() -> None:
    question = OCR
    completion = Completion("PARCEL", "stop", confidence=0.93)
    reading = read_answer(question, build_prompt(question), completion)
    assert reading.confidence == Confidence(0.93, "self-reported")


def test_an_empty_answer_says_what_to_do() -> None:
    with pytest.raises(EmptyAnswer, match="max_tokens=64"):
        read(CLASSIFICATION, "<think>hm", "length")


def test_an_error_does_not_repeat_a_long_answer() -> None:
    with pytest.raises(BadAnswer) as failure:
        read(CLASSIFICATION, json.dumps({"class_name": "x" * 5000}))
    assert len(failure.value.message) < 200
    assert len(failure.value.raw or "") == 2000
