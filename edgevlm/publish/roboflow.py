"""Results shaped for people who come from Roboflow workflows: `format: roboflow` on a sink.

The names are those of its VLM blocks and their parsers (`output`, `classes`, `predictions`, `top`,
`error_status`, `inference_id`); boxes are centre, width and height in pixels of the source picture. What
edgevlm knows beyond that (camera, rule, times, model, usage) stays beside it under its own names. Unlike
there, a value that is missing is null and never a text about an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Shape = Callable[[Mapping[str, Any]], dict[str, Any]]
_KEPT = (
    "schema_version",
    "request_id",
    "node",
    "camera",
    "rule",
    "task",
    "outcome",
    "error",
    "captured_at",
    "answered_at",
    "frames",
    "model",
    "usage",
    "labels",
)


def shape_of(name: str) -> Shape:
    """Return what a sink's `format` makes of a result document before it is written."""
    return as_roboflow if name == "roboflow" else dict


def as_roboflow(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result `document` under Roboflow's names."""
    classes = list(document.get("classes") or [])
    return {
        "inference_id": document["id"],
        "output": document["raw"],
        "classes": classes,
        "error_status": document["outcome"] == "error",
        "predictions": _predictions(document, classes),
        **{key: document[key] for key in _KEPT if key in document},
    }


def _predictions(document: Mapping[str, Any], classes: list[str]) -> Any:
    if document["outcome"] != "ok":
        return None
    value = document["value"]
    match document["task"]:
        case "classification":
            return _with_image(document, _single_label(document, classes))
        case "multi-label-classification":
            return _with_image(document, _multi_label(value, classes))
        case "object-detection":
            found = [_box(entry, classes) for entry in value]
            return _with_image(document, {"predictions": found})
        case _:
            return value


def _with_image(document: Mapping[str, Any], predictions: dict[str, Any]) -> dict[str, Any]:
    frames = document["frames"]
    size = {"width": frames[-1]["width"], "height": frames[-1]["height"]} if frames else None
    return {"image": size, "inference_id": document["id"], **predictions}


def _single_label(document: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    top, confidence = document["value"], _confidence(document)
    prediction = {"class": top, "class_id": _class_id(top, classes), "confidence": confidence}
    return {"top": top, "confidence": confidence, "predictions": [prediction]}


def _multi_label(value: list[dict[str, Any]], classes: list[str]) -> dict[str, Any]:
    names = [entry["class"] for entry in value]
    details = {
        entry["class"]: {"confidence": entry["confidence"], "class_id": _class_id(entry["class"], classes)}
        for entry in value
    }
    return {"predicted_classes": names, "predictions": details}


def _box(entry: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    left, top, right, bottom = entry["box_px"]
    return {
        "class": entry["class"],
        "class_id": _class_id(entry["class"], classes),
        "confidence": entry["confidence"],
        "x": (left + right) / 2,
        "y": (top + bottom) / 2,
        "width": right - left,
        "height": bottom - top,
    }


def _class_id(name: str, classes: list[str]) -> int:
    """Return the position of a class in the list that was asked, -1 for one that the model named itself."""
    return classes.index(name) if name in classes else -1


def _confidence(document: Mapping[str, Any]) -> float | None:
    confidence = document["confidence"]
    return None if confidence is None else confidence["value"]
