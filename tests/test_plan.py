"""From the configuration to what the pipeline runs."""

from __future__ import annotations

from typing import Any

import pytest

from edgevlm.config.model import Config
from edgevlm.plan import Plan, plans_of
from edgevlm.records import Trigger


def _plan(rule: dict[str, Any] | None = None, **sections: Any) -> Plan:
    task = {"type": "caption", "prompt": "In {zone} of {camera}, {vars.shift}: {last.value}"}
    camera = {
        "source": {"type": "rtsp", "url": "rtsp://10.0.0.1/x"},
        "zones": {"bay-1": [[0.4, 0.3], [0.9, 0.3], [0.9, 1.0], [0.4, 1.0]]},
        "labels": {"hall": "2", "site": "camera's"},
        "rules": {"r": {"trigger": {"type": "command", "zones": ["bay-1"]}, "task": task} | (rule or {})},
    }
    config = Config.model_validate(
        {
            "labels": {"site": "node's"},
            "vars": {"shift": "night"},
            "models": {"m": {"type": "openai-compatible", "base_url": "http://127.0.0.1/v1", "model": "x"}},
            "sinks": {"out": {"type": "stdout"}},
            "cameras": {"yard": camera},
        }
        | sections
    )
    return plans_of(config, "yard")["r"]


def test_the_only_model_and_all_sinks_are_taken_where_none_is_named() -> None:
    plan = _plan()
    assert (plan.model, plan.sinks) == ("m", ("out",))


def test_the_nearest_label_wins() -> None:
    assert _plan({"labels": {"rule": "1"}}).labels == {"site": "camera's", "hall": "2", "rule": "1"}


@pytest.mark.parametrize(
    ("picture", "crop"),
    [
        ({}, None),
        ({"crop": "zone", "margin": 0.0}, (0.4, 0.3, 0.9, 1.0)),
        ({"crop": "zone", "margin": 0.1}, (0.35, 0.23, 0.95, 1.0)),
        ({"crop": [0.1, 0.1, 0.3, 0.2], "margin": 0.5}, (0.0, 0.05, 0.4, 0.25)),
    ],
)
def test_a_crop_is_widened_by_its_margin_within_the_frame(
    picture: dict[str, Any], crop: tuple[float, float, float, float] | None
) -> None:
    found = _plan({"picture": picture}).shot.crop
    assert found == (pytest.approx(crop) if crop else None)


def test_ocr_gets_a_larger_picture() -> None:
    assert _plan().shot.max_side == 1280
    assert _plan({"task": {"type": "ocr"}}).shot.max_side == 1920
    assert _plan({"task": {"type": "ocr"}, "picture": {"max_side": 640}}).shot.max_side == 640


def test_a_request_carries_the_variables_and_the_commands_prompt() -> None:
    trigger = Trigger("yard", "r", "command", "command", 0, request_id="q", prompt="Another?")
    request = _plan().request(trigger, {"last.value": "a van"})
    assert request.question.prompt == "Another?"
    assert request.variables == {
        "camera": "yard",
        "zone": "bay-1",
        "vars.shift": "night",
        "last.value": "a van",
    }


@pytest.mark.parametrize(("model", "multiple_of"), [("Qwen3-VL-8B", 32), ("qwen2.5-vl", 28), ("x", 1)])
def test_a_picture_is_made_for_the_model_s_grid(model: str, multiple_of: int) -> None:
    endpoint = {"type": "openai-compatible", "base_url": "http://127.0.0.1/v1", "model": model}
    assert _plan(models={"m": endpoint}).shot.multiple_of == multiple_of
