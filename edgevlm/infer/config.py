"""What the YAML says of models: named endpoints."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from edgevlm.infer.boxes import BoxFormat
from edgevlm.runtime.section import Secret, Section


def _base_url(url: str) -> str:
    if not url.startswith(("http://", "https://")) or not url.split("://", 1)[1].strip("/"):
        raise ValueError("must be an http:// or https:// URL with a host, e.g. http://10.0.0.5:8000/v1")
    return url.rstrip("/").removesuffix("/chat/completions")


def _ollama_url(url: str) -> str:
    return _base_url(url).removesuffix("/v1").removesuffix("/api/chat").removesuffix("/api")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
OllamaUrl = Annotated[str, AfterValidator(_ollama_url)]
Logprobs = Literal["auto", "always", "never"]


class _Endpoint(Section):
    """What all model servers share."""

    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time of one attempt, from connecting to the last token."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    stream: bool = True
    """Ask for the answer token by token, so that a server can be stopped; `false` for proxies that cannot."""
    thinking: Literal["disabled", "enabled"] = "disabled"
    """Whether the model reasons before it answers; `disabled` holds wherever the model allows it."""
    box_format: BoxFormat | None = None
    """How the model writes boxes (`object-detection`); known by its family when absent."""


class OpenAICompatibleConfig(_Endpoint):
    """Any server with `/chat/completions`: vLLM, llama.cpp, LM Studio, SGLang, Ollama's `/v1`, a cloud."""

    type: Literal["openai-compatible"]
    base_url: BaseUrl = Field(examples=["http://10.0.0.5:8000/v1"])
    """Up to and without `/chat/completions`; a query (`?api-version=…`) is kept."""
    model: str = Field(min_length=1)
    """The model's name as the server knows it."""
    api_key: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    key_header: Literal["authorization", "api-key"] | None = None
    """How the key is sent: `Authorization: Bearer`, or `api-key` (Azure's way, known by its hosts)."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=256)
    """Questions under way at once on this endpoint."""
    logprobs: Logprobs = "auto"
    """Ask for token probabilities in closed tasks; `auto`: where the server is known to give them."""


class OllamaConfig(_Endpoint):
    """Ollama by its own `/api/chat`, which can set the context's length (its `/v1` cannot)."""

    type: Literal["ollama"]
    base_url: OllamaUrl = "http://127.0.0.1:11434"
    """Where it listens; `/api` or `/v1` at the end is left out."""
    model: str = Field(min_length=1, examples=["qwen3-vl:8b"])
    """The model's name, as `ollama list` shows it."""
    api_key: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; Ollama has none, but a proxy before it may."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=64)
    """Questions under way at once; more than `OLLAMA_NUM_PARALLEL` wait there."""
    num_ctx: int = Field(default=8192, ge=2048, le=1_048_576)
    """Tokens of the context; Ollama's own 4096 is too short for a large picture and cuts it off silently."""
    keep_alive_secs: int = Field(default=1800, ge=-1, le=31_536_000)
    """How long the model stays loaded after a question; -1: for ever."""


class MoonshotConfig(_Endpoint):
    """Kimi from Moonshot itself."""

    type: Literal["moonshot"]
    base_url: BaseUrl = "https://api.moonshot.ai/v1"
    """`https://api.moonshot.cn/v1` for accounts of mainland China: keys of one do not work at the other."""
    model: str = Field(default="kimi-k2.6", min_length=1)
    """A model that takes pictures."""
    api_key: Secret
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=1000)
    """Questions under way at once; the lowest account tier allows 1."""


class S3FrameUrlConfig(Section):
    """An S3-compatible bucket, for models that take pictures by URL only. Needs the extra `s3`."""

    type: Literal["s3"]
    endpoint: BaseUrl = Field(examples=["https://s3.eu-central-1.amazonaws.com"])
    """The store's address, without the bucket."""
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", examples=["camera-frames"])
    """Each picture lies in it while it is asked about, and is deleted then."""
    region: str = "us-east-1"
    """The bucket's region."""
    access_key: Secret
    """`!credential NAME`, `!file PATH` or `!env NAME`; may write, read and delete objects below `prefix`."""
    secret_key: Secret
    """`!credential NAME`, `!file PATH` or `!env NAME`; it signs and is never sent."""
    prefix: str = Field(default="edgevlm/", max_length=200, pattern=r"^[A-Za-z0-9/_.-]*$")
    """Names of objects begin so; what follows cannot be guessed."""
    addressing: Literal["path", "virtual"] = "path"
    """`path`: ENDPOINT/BUCKET/…; `virtual`: the bucket stands before the host's name."""
    public_endpoint: BaseUrl | None = None
    """Where the model server finds the store, if not at `endpoint`."""
    expires_secs: int = Field(default=300, ge=10, le=3600)
    """How long a picture's signed URL can be read."""


class DashScopeConfig(_Endpoint):
    """Kimi and Qwen on Alibaba Cloud Model Studio."""

    type: Literal["dashscope"]
    base_url: BaseUrl = "https://dashscope.aliyuncs.com/compatible-mode/v1"
    """Beijing's; others: `dashscope-intl` (Singapore), `dashscope-us` (Virginia). Keys belong to a region."""
    model: str = Field(min_length=1, examples=["qwen3-vl-plus"])
    """Models called `kimi/…` are Moonshot's own, run in Beijing, and need `frame_url`."""
    api_key: Secret
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    max_concurrent_requests: int = Field(default=2, ge=1, le=1000)
    """Questions under way at once on this endpoint."""
    frame_url: S3FrameUrlConfig | None = None
    """How pictures get a URL; required for `kimi/…`, which takes no others."""

    @model_validator(mode="after")
    def _thinking_streams(self) -> Self:
        if self.thinking == "enabled" and not self.stream:
            raise ValueError("thinking: enabled needs stream: true here")
        return self


class MaxPriceConfig(Section):
    """The highest prices that a provider may take, in USD per million tokens."""

    prompt: float | None = Field(default=None, ge=0)
    """Of the question."""
    completion: float | None = Field(default=None, ge=0)
    """Of the answer."""


class ProviderConfig(Section):
    """Which of OpenRouter's providers may answer."""

    order: list[str] | None = Field(default=None, min_length=1)
    """Providers to try first, in this order."""
    only: list[str] | None = Field(default=None, min_length=1)
    """No others than these."""
    ignore: list[str] | None = Field(default=None, min_length=1)
    """Never these."""
    max_price: MaxPriceConfig | None = None
    """Never a dearer one."""


class OpenRouterConfig(_Endpoint):
    """Any model of OpenRouter."""

    type: Literal["openrouter"]
    base_url: BaseUrl = "https://openrouter.ai/api/v1"
    """`https://eu.openrouter.ai/api/v1` keeps a contract's traffic in Europe."""
    model: str = Field(default="moonshotai/kimi-k2.6", min_length=1)
    """Author and name, as OpenRouter lists it."""
    api_key: Secret
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    max_concurrent_requests: int = Field(default=4, ge=1, le=1000)
    """Questions under way at once on this endpoint."""
    privacy: Literal["allow", "deny", "zdr"] = "deny"
    """`deny`: no provider that stores prompts or trains on them; `zdr`: none that keeps anything at all."""
    privacy_level: Literal["allow", "deny", "zdr"] | None = None
    """Another name for `privacy`."""
    provider: ProviderConfig = ProviderConfig()
    """Which providers may answer."""
    logprobs: Logprobs = "auto"
    """Ask for token probabilities in closed tasks; `auto`: where the model is known to give them."""

    @model_validator(mode="after")
    def _one_privacy(self) -> Self:
        both = {"privacy", "privacy_level"} <= self.model_fields_set
        if both and self.privacy_level not in (None, self.privacy):
            raise ValueError("privacy and privacy_level say different things; keep privacy")
        return self

    @property
    def data_policy(self) -> Literal["allow", "deny", "zdr"]:
        """Return what holds, by whichever name it was given."""
        return self.privacy_level or self.privacy


class EmbeddedConfig(Section):
    """RapidOCR on the box: task `ocr` only, no server, no download. Needs the extra `ocr`."""

    type: Literal["embedded"]
    model: Literal["rapidocr"] = "rapidocr"
    """The engine; there is one."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=16)
    """Pictures read at once; each takes a core."""
    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time for one picture."""


ChatConfig = OpenAICompatibleConfig | MoonshotConfig | DashScopeConfig | OpenRouterConfig
"""Endpoints that speak `/chat/completions`."""
ServerConfig = ChatConfig | OllamaConfig
"""Endpoints behind HTTP."""
ModelConfig = Annotated[
    OpenAICompatibleConfig
    | OllamaConfig
    | MoonshotConfig
    | DashScopeConfig
    | OpenRouterConfig
    | EmbeddedConfig,
    Field(discriminator="type"),
]


def vendor_of(config: ServerConfig) -> str:
    """Return who serves: the type, or the host of an OpenAI-compatible one."""
    if isinstance(config, OpenAICompatibleConfig):
        return _host(config.base_url)
    return config.type


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
