"""Builds the backend that a section of `models` describes."""

from __future__ import annotations

from typing import assert_never

from edgevlm.infer.backend import Backend
from edgevlm.infer.config import EmbeddedConfig, ModelConfig, OpenAICompatibleConfig
from edgevlm.infer.embedded import EmbeddedBackend
from edgevlm.infer.openai_api import OpenAIBackend


def build_backend(name: str, config: ModelConfig) -> Backend:
    """Return the backend for the endpoint `name`; it is not open yet."""
    match config:
        case OpenAICompatibleConfig():
            return OpenAIBackend(name, config)
        case EmbeddedConfig():
            return EmbeddedBackend(name, config)
        case _:
            assert_never(config)
