"""`edgevlm schema`: the JSON Schema of the configuration file, for editors."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from edgevlm.config.model import Config
from edgevlm.config.yaml12 import TAGS
from edgevlm.runtime.exits import EX_OK

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DESCRIPTION = (
    "An edgevlm configuration file (YAML 1.2). Where a secret is wanted, the tags !credential NAME (a "
    "systemd credential), !file PATH and !env NAME stand for it; tell your editor of them, "
    f"e.g. yaml.customTags: {json.dumps(list(TAGS))}. A key without a value counts as absent."
)


def schema(*, as_json: bool = False, stream: TextIO | None = None) -> int:
    """Print the schema, which is JSON in any case: readable, or with `as_json` in one line."""
    (stream or sys.stdout).write(json.dumps(document()) + "\n" if as_json else text())
    return EX_OK


def document() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file."""
    made = _closed(Config.model_json_schema())
    return {"$schema": DIALECT, **made, "title": "edgevlm", "description": DESCRIPTION}


def _closed(value: Any) -> Any:
    """Return a schema in which names that fit no pattern are wrong: pydantic lets them pass."""
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(item) for key, item in value.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in closed else closed


def text() -> str:
    """Return the schema as it stands in `docs/config.schema.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
