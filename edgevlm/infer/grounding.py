"""Boxes between tags, as families write them that were not trained on JSON.

Qwen2-VL    <|object_ref_start|>truck<|object_ref_end|><|box_start|>(120,40),(380,300)<|box_end|>
InternVL    <ref>truck</ref><box>[[120, 40, 380, 300]]</box>
DeepSeek    <|ref|>truck<|/ref|><|det|>[[120, 40, 380, 300]]<|/det|>
"""

from __future__ import annotations

import re
from typing import Any

_TAGGED = re.compile(
    r"(?:<\|object_ref_start\|>|<ref>|<\|ref\|>)(?P<label>[^<]{1,200})(?:<\|object_ref_end\|>|</ref>|<\|/ref\|>)\s*"
    r"(?:<\|box_start\|>|<box>|<\|det\|>)(?P<boxes>[^<]{1,4000})(?:<\|box_end\|>|</box>|<\|/det\|>)"
)
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")


def tagged_entries(text: str) -> list[dict[str, Any]]:
    """Return an entry for each whole box between tags; four numbers make a box."""
    return [
        {"label": match["label"].strip(), "bbox_2d": numbers[at : at + 4]}
        for match in _TAGGED.finditer(text)
        for numbers in [[float(number) for number in _NUMBER.findall(match["boxes"])]]
        for at in range(0, len(numbers) - 3, 4)
    ]
