"""OpenRouter: which of its providers may see the pictures, and how a question is written to it.

`require_parameters` goes with every schema, since a provider that does not know schemas would drop them
silently. An account's own settings can only make the data policy stricter.
"""

from __future__ import annotations

import re
from typing import Any

from edgevlm.errors import ModelRefused
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import OpenRouterConfig
from edgevlm.infer.dialect import Dialect, Takes
from edgevlm.infer.meanings import Meaning

MEANINGS = (
    Meaning(
        ModelRefused, re.compile(r"privacy_restricted|data policy|region_restricted|constraint_filtered")
    ),
)


def openrouter_dialect(config: OpenRouterConfig) -> Dialect:
    """Return how this endpoint is written to."""
    abilities = abilities_for(config)
    provider = _provider(config)
    return Dialect(
        takes=Takes(stream=config.stream, stream_options=False, temperature=not abilities.fixed_sampling),
        thinking=_reasoning(config, abilities.thinking),
        fields={"provider": provider} if provider else {},
        with_schema={"provider": {"require_parameters": True}},
        logprobs=config.logprobs,
        cost_usd=True,
        text_first=abilities.text_first,
        meanings=MEANINGS,
    )


def _reasoning(config: OpenRouterConfig, thinking: str) -> dict[str, Any]:
    """Say nothing to models that never think: a provider might not know the field."""
    if thinking == "none":
        return {}
    if thinking == "always":  # what it thinks is no part of the answer
        return {"reasoning": {"exclude": True}}
    return {"reasoning": {"enabled": config.thinking == "enabled"}}


def _provider(config: OpenRouterConfig) -> dict[str, Any]:
    chosen: dict[str, Any] = config.provider.model_dump(exclude_none=True)
    if config.data_policy != "allow":
        chosen["data_collection"] = "deny"
    if config.data_policy == "zdr":
        chosen["zdr"] = True
    return chosen
