"""Builds the backend that a section of `models` describes."""

from __future__ import annotations

from typing import assert_never

from edgevlm.infer.backend import Backend
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import (
    DashScopeConfig,
    EmbeddedConfig,
    ModelConfig,
    MoonshotConfig,
    OllamaConfig,
    OpenAICompatibleConfig,
    OpenRouterConfig,
)
from edgevlm.infer.dashscope import dashscope_dialect
from edgevlm.infer.dialect import Dialect, Takes
from edgevlm.infer.embedded import EmbeddedBackend
from edgevlm.infer.frame_url import S3FrameUrls
from edgevlm.infer.moonshot import moonshot_dialect
from edgevlm.infer.ollama import OllamaBackend
from edgevlm.infer.openai_api import OpenAIBackend
from edgevlm.infer.openrouter import openrouter_dialect


def build_backend(name: str, config: ModelConfig) -> Backend:
    """Return the backend for the endpoint `name`; it is not open yet."""
    match config:
        case OpenAICompatibleConfig():
            return OpenAIBackend(name, config, dialect=compatible_dialect(config))
        case OllamaConfig():
            return OllamaBackend(name, config)
        case MoonshotConfig():
            return OpenAIBackend(name, config, dialect=moonshot_dialect(config))
        case DashScopeConfig():
            urls = _frame_urls(name, config)
            return OpenAIBackend(name, config, dialect=dashscope_dialect(config), frame_urls=urls)
        case OpenRouterConfig():
            return OpenAIBackend(name, config, dialect=openrouter_dialect(config))
        case EmbeddedConfig():
            return EmbeddedBackend(name, config)
        case _:
            assert_never(config)


def compatible_dialect(config: OpenAICompatibleConfig) -> Dialect:
    """Return how a server is written to of which no more is known than its model's name."""
    abilities = abilities_for(config)
    switch = abilities.thinking_off if config.thinking == "disabled" else abilities.thinking_on
    newer = abilities.fixed_sampling and abilities.picture_tokens == "patch-32"  # OpenAI's reasoning models
    return Dialect(
        takes=Takes(
            format="prompt" if abilities.json_schema is False else "json_schema",
            token_field="max_completion_tokens" if newer else "max_tokens",
            temperature=not abilities.fixed_sampling,
            stream=config.stream,
        ),
        thinking=dict(switch),
        logprobs=config.logprobs,
        text_first=abilities.text_first,
    )


def _frame_urls(name: str, config: DashScopeConfig) -> S3FrameUrls | None:
    if config.frame_url is None:
        return None
    return S3FrameUrls(name, config.frame_url, ca_file=None, connections=config.max_concurrent_requests)
