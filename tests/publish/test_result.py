"""The result document: its shape, its id, and that it can always be written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.errors import ErrorCode, Stage
from edgevlm.publish.result import (
    build_message,
    encode,
    new_boot_id,
    result_schema,
    rfc3339,
    writable,
)
from edgevlm.records import Answer, Confidence
from tests.publish.answers import BOOT_ID, CONTEXT, T0_NS, answer, failed, message, picture, unknown

DOCS = Path(__file__).parents[2] / "docs"
BOX = {"class": "truck", "confidence": 0.8, "box": [0.1, 0.2, 0.5, 0.6], "box_px": [64, 72, 320, 216]}
VALUES: dict[str, Any] = {
    "unconstrained": "There is a truck.",
    "ocr": {"text": "4711", "lines": ["4711"]},
    "visual-question-answering": "yes",
    "caption": "A truck at a bay.",
    "detailed-caption": "A white truck stands at bay 1.",
    "classification": "truck",
    "multi-label-classification": [
        {"class": "truck", "confidence": 0.8},
        {"class": "rain", "confidence": None},
    ],
    "object-detection": [BOX],
    "structured-answering": {"trucks": 2, "gate": "open"},
}


def check(document: Any) -> None:
    jsonschema.Draft202012Validator(result_schema()).validate(document)


@pytest.mark.parametrize("task", VALUES)
def test_each_task_follows_the_schema(task: str) -> None:
    for each in (answer(VALUES[task], task=task), unknown(task=task), failed(task=task)):
        document = build_message(each, context=CONTEXT, seq=1).document
        check(document)
        assert list(document) == result_schema()["required"]


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"value": 3},
        {"outcome": "unknown"},
        {"outcome": "error"},
        {"outcome": "maybe"},
        {"captured_at": "2026-11-21 07:00:00"},
        {"clock": None},
        {"id": "x"},
        {"trigger": {"type": "interval"}},
        {"error": {"code": "oops", "stage": "infer", "retryable": True, "message": ""}},
    ],
)
def test_the_schema_rejects_what_we_never_send(change: dict[str, Any]) -> None:
    document = {**message().document, **change}
    with pytest.raises(jsonschema.ValidationError):
        check(document)


def test_the_schema_lets_new_fields_come() -> None:
    check({**message().document, "weather": "rain"})


def test_the_schema_knows_our_vocabulary_and_explains_each_field() -> None:
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    error = schema["properties"]["error"]["anyOf"][1]["properties"]
    assert tuple(error["code"]["enum"]) == get_args(ErrorCode)
    assert tuple(error["stage"]["enum"]) == get_args(Stage)
    assert all(each.get("description") for each in schema["properties"].values())


def test_the_schema_in_docs_is_the_packages_own() -> None:
    assert json.loads((DOCS / "result.schema.json").read_text()) == result_schema()


def test_an_error_changes_no_state() -> None:
    told = build_message(failed(), context=CONTEXT, seq=1)
    assert (told.state, told.value) == (None, None)
    assert told.document["error"] == {
        "code": "timeout",
        "stage": "infer",
        "retryable": True,
        "message": "no whole answer in 60 s",
    }


def test_unknown_is_a_state_of_its_own() -> None:
    told = build_message(unknown(), context=CONTEXT, seq=1)
    assert told.state == "unknown"
    assert told.value is not None
    assert (told.value["outcome"], told.value["value"]) == ("unknown", None)


def test_the_value_names_its_result() -> None:
    told = message(4)
    assert told.value == {
        "id": f"{BOOT_ID}-000000000004",
        "captured_at": "2026-11-18T11:06:40.123Z",
        "outcome": "ok",
        "value": "truck",
        "confidence": {"value": 0.9, "source": "self-reported"},
    }


def test_captured_at_is_the_newest_pictures() -> None:
    pictures = (picture(), picture(captured_at_ns=T0_NS + 2_000_000_000), picture())
    document = message(pictures=pictures).document
    assert document["captured_at"] == "2026-11-18T11:06:42.123Z"
    assert len(document["frames"]) == 3
    assert message(pictures=()).document["captured_at"] is None


def test_a_commands_request_id_comes_back() -> None:
    assert message(request_id="panel-9").document["request_id"] == "panel-9"
    assert message().document["request_id"] == "req-1"


def test_ids_sort_by_time_and_are_the_same_on_a_second_building() -> None:
    ids = [message(seq).id for seq in (0, 9, 10, 99_999, 100_000)]
    assert ids == sorted(ids)
    assert message(9).id == ids[1]


def test_a_later_run_sorts_later_and_no_two_are_equal() -> None:
    first, same_time, later = new_boot_id(T0_NS), new_boot_id(T0_NS), new_boot_id(T0_NS + 1_000_000)
    assert first < later
    assert first != same_time
    assert new_boot_id(-1) < first  # a clock before 1970 is no reason to fail


@pytest.mark.parametrize(
    ("utc_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_999_999, "1970-01-01T00:00:00.001Z"),
        (1_795_000_000_999_999_999, "2026-11-18T11:06:40.999Z"),
    ],
)
def test_times_are_cut_to_milliseconds(utc_ns: int, text: str) -> None:
    assert rfc3339(utc_ns) == text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_anything_can_be_written(value: Any) -> None:
    line = encode({"value": writable(value)})
    assert b"\n" not in line
    assert json.loads(line).keys() == {"value"}


def test_what_json_cannot_hold_is_replaced() -> None:
    odd = answer({"a": math.nan, "b": "half \ud83d", "c": (1, math.inf)}, task="structured-answering")
    told = build_message(replace(odd, raw="\udfff"), context=CONTEXT, seq=1)
    assert told.document["value"] == {"a": None, "b": "half ?", "c": [1, None]}
    assert told.document["raw"] == "?"
    assert told.state == '{"a":null,"b":"half ?","c":[1,null]}'


def test_only_an_ok_answer_has_a_value() -> None:
    leaking: Answer = answer("truck", outcome="unknown", confidence=Confidence(0.1, "logprobs"))
    assert build_message(leaking, context=CONTEXT, seq=1).document["value"] is None
