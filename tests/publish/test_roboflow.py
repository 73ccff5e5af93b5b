"""Results under Roboflow's names."""

from __future__ import annotations

from typing import Any

import pytest

from edgevlm.publish.config import StdoutSinkConfig
from edgevlm.publish.roboflow import as_roboflow, shape_of


def _document(task: str, value: Any, outcome: str = "ok", **more: Any) -> dict[str, Any]:
    return {
        "id": "b-1",
        "raw": "as it was said",
        "classes": ["truck", "van"],
        "task": task,
        "outcome": outcome,
        "value": value,
        "confidence": {"value": 0.75, "source": "self-reported"},
        "frames": [{"width": 1280, "height": 720}],
        **more,
    }


def test_a_single_label_has_top_and_class_id() -> None:
    shaped = as_roboflow(_document("classification", "van"))
    assert shaped["output"] == "as it was said"
    assert (shaped["error_status"], shaped["inference_id"], shaped["classes"]) == (
        False,
        "b-1",
        ["truck", "van"],
    )
    predictions = shaped["predictions"]
    assert predictions["image"] == {"width": 1280, "height": 720}
    assert (predictions["top"], predictions["confidence"]) == ("van", 0.75)
    assert predictions["predictions"] == [{"class": "van", "class_id": 1, "confidence": 0.75}]


def test_labels_are_keyed_by_class() -> None:
    value = [{"class": "truck", "confidence": 0.9}, {"class": "van", "confidence": None}]
    predictions = as_roboflow(_document("multi-label-classification", value))["predictions"]
    assert predictions["predicted_classes"] == ["truck", "van"]
    assert predictions["predictions"]["van"] == {"confidence": None, "class_id": 1}


def test_boxes_are_centre_and_size_in_pixels() -> None:
    value = [{"class": "bicycle", "confidence": 0.5, "box": [0, 0, 0.5, 0.5], "box_px": [100, 50, 300, 150]}]
    (box,) = as_roboflow(_document("object-detection", value))["predictions"]["predictions"]
    assert (box["x"], box["y"], box["width"], box["height"]) == (200, 100, 200, 100)
    assert (box["class"], box["class_id"]) == ("bicycle", -1)


@pytest.mark.parametrize("outcome", ["unknown", "error"])
def test_what_is_not_known_is_null_and_never_text(outcome: str) -> None:
    shaped = as_roboflow(_document("classification", None, outcome))
    assert shaped["predictions"] is None
    assert shaped["error_status"] is (outcome == "error")


def test_the_option_chooses_the_shape() -> None:
    assert shape_of(StdoutSinkConfig(type="stdout", format="roboflow").format) is as_roboflow
    document = _document("caption", "a yard")
    assert shape_of("json")(document) == document
