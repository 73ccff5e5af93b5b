"""Alibaba Cloud Model Studio (DashScope): how its Kimi and Qwen models want to be asked.

`enable_thinking` is always said, since its default differs from model to model, and thinking needs a stream.
What reads like an exhausted account elsewhere (`Allocated quota exceeded`) is a rate limit here.
"""

from __future__ import annotations

import re

from edgevlm.errors import ModelOverloaded, PictureRejected
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import DashScopeConfig
from edgevlm.infer.dialect import Dialect, Takes
from edgevlm.infer.meanings import Meaning
from edgevlm.infer.moonshot import FIXED

MEANINGS = (
    Meaning(
        ModelOverloaded,
        re.compile(
            r"exceeded your current (?:quota|requests? list)|requests rate limit|limit_requests|"
            r"request rate increased too quickly|allocated quota exceeded"
        ),
        frozenset({429}),
    ),
    Meaning(PictureRejected, re.compile(r"\bdownload\b|invalidurl")),
)


def dashscope_dialect(config: DashScopeConfig) -> Dialect:
    """Return how this endpoint is written to."""
    abilities = abilities_for(config)
    thinking = abilities.thinking == "always" or config.thinking == "enabled"
    switched = abilities.thinking in ("optional", "always")
    return Dialect(
        takes=Takes(
            format="prompt" if abilities.json_schema is False else "json_schema",
            temperature=not abilities.fixed_sampling,
            stream=config.stream,
        ),
        thinking={"enable_thinking": thinking} if switched else {},
        never=FIXED | {"repetition_penalty"} if abilities.fixed_sampling else frozenset(),
        text_first=abilities.text_first,
        meanings=MEANINGS,
    )
