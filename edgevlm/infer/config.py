"""What the YAML says of models: named endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from edgevlm.runtime.section import Secret, Section


class OpenAICompatibleConfig(Section):
    """Any server with `/chat/completions`: vLLM, llama.cpp, LM Studio, SGLang, Ollama's `/v1`, a cloud."""

    type: Literal["openai-compatible"]
    base_url: str = Field(examples=["http://10.0.0.5:8000/v1"])
    """Up to and without `/chat/completions`."""
    model: str = Field(min_length=1)
    """The model's name as the server knows it."""
    api_key: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=256)
    """Questions under way at once on this endpoint."""
    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time of one attempt, from connecting to the last token."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or not url.split("://", 1)[1].strip("/"):
            raise ValueError("must be an http:// or https:// URL with a host, e.g. http://10.0.0.5:8000/v1")
        return url.rstrip("/").removesuffix("/chat/completions")


class EmbeddedConfig(Section):
    """RapidOCR on the box: task `ocr` only, no server, no download. Needs the extra `ocr`."""

    type: Literal["embedded"]
    model: Literal["rapidocr"] = "rapidocr"
    """The engine; there is one."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=16)
    """Pictures read at once; each takes a core."""
    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time for one picture."""


ModelConfig = Annotated[OpenAICompatibleConfig | EmbeddedConfig, Field(discriminator="type")]
