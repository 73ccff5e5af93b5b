"""`docs/mqtt.md` tells the truth: every example is one that edgevlm could send or would obey."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgevlm.publish.command import Command, parse_command
from edgevlm.publish.result import result_schema
from edgevlm.records import CameraState
from tests.publish.answers import message

PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """Return the fenced blocks that are marked as `kind`."""
    found = re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found


def test_results_follow_the_schema_field_by_field() -> None:
    documents = [json.loads(text) for text in blocks("json result")]
    assert [document["outcome"] for document in documents] == ["ok", "unknown", "error"]
    for document in documents:
        jsonschema.validate(document, result_schema())
        assert list(document) == list(message().document)


def test_values_have_the_fields_that_we_send() -> None:
    for text in blocks("json value"):
        assert list(json.loads(text)) == list(message().value or {})


def test_the_table_of_values_follows_the_schema() -> None:
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| [^|]+ \| `(.+)` \|$", PAGE, re.MULTILINE)
    tasks = {task: json.loads(value) for names, value in rows for task in re.findall(r"`([a-z-]+)`", names)}
    assert sorted(tasks) == sorted(result_schema()["properties"]["task"]["enum"])
    for task, value in tasks.items():
        document: dict[str, Any] = {**message().document, "task": task, "value": value}
        jsonschema.validate(document, result_schema())


def test_commands_are_understood() -> None:
    for text in blocks("json ask"):
        assert isinstance(parse_command("dock/truck-at-bay/ask", text.encode()), Command)
    assert all(isinstance(json.loads(text)["ok"], bool) for text in blocks("json reply"))


def test_other_json_is_json() -> None:
    assert all(isinstance(json.loads(text), dict) for text in blocks("json"))


def test_every_state_of_a_camera_is_named() -> None:
    section = PAGE.partition("## CAMERA/status")[2].partition("\n## ")[0]
    assert {state.value for state in CameraState} <= set(re.findall(r"`([a-z]+)`", section))


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


@pytest.mark.parametrize("recipe", blocks("sh"))
def test_recipes_are_shell(recipe: str) -> None:
    subprocess.run(["sh", "-n"], input=recipe, text=True, check=True)
