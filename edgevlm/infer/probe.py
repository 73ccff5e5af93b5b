"""What a model server says of itself and of the model, without being asked a question.

Nothing here is needed for asking: a server that does not tell is asked all the same. `troubles` are what an
operator should know before the first question fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog

from edgevlm.errors import ConfigError, InferError, ModelRefused, ModelUnreachable
from edgevlm.infer.config import OllamaConfig, ServerConfig
from edgevlm.infer.refusal import classify
from edgevlm.infer.servers import redactor_for, server_for
from edgevlm.infer.wire import ModelServer, Reply
from edgevlm.runtime.redact import Redactor

log = structlog.get_logger(stage="infer")

LIST_BYTES = 8_000_000
"""OpenRouter lists some hundred models in half a megabyte."""
_WITH_LOGPROBS = frozenset({"vllm", "llamacpp", "sglang"})
_NAMES = {"vllm": "vLLM", "llamacpp": "llama.cpp", "sglang": "SGLang", "library": "Ollama"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of looking at one endpoint; None and empty: it does not tell."""

    server: str = ""
    listed: bool | None = None
    """The server has the model."""
    images: bool | None = None
    thinking: bool | None = None
    json_schema: bool | None = None
    logprobs: bool = False
    context: int | None = None
    troubles: tuple[str, ...] = ()

    @property
    def facts(self) -> str:
        """Return what the server says, in one line; nothing where it says nothing."""
        said = [
            self.server,
            {True: "has the model", False: "does not list the model", None: ""}[self.listed],
            {True: "takes pictures", False: "takes no pictures", None: ""}[self.images],
            {True: "can think", False: "", None: ""}[self.thinking],
            {True: "json_schema", False: "no json_schema", None: ""}[self.json_schema],
            f"context {self.context}" if self.context else "",
        ]
        return ", ".join(part for part in said if part)


async def probe(server: ModelServer, config: ServerConfig, redactor: Redactor) -> Finding:
    """Look at an open server.

    Raises:
        InferError: it cannot be reached, or refuses the key.

    """
    if isinstance(config, OllamaConfig):
        return await _probe_ollama(server, config.model, redactor)
    return await _probe_chat(server, config.model, redactor)


async def look(name: str, server: ModelServer, config: ServerConfig, redactor: Redactor) -> Finding:
    """Look at a server when edgevlm starts, and log what may not work; nobody waits for it."""
    try:
        finding = await probe(server, config, redactor)
    except InferError as error:
        log.info("the model server does not answer yet", model=name, reason=error.message)
        return Finding()
    except Exception:
        # The end of an asyncio task: a fault here must not be lost, and costs nothing else.
        log.exception("a model server could not be looked at, by a fault of edgevlm itself", model=name)
        return Finding()
    for trouble in finding.troubles:
        log.warning("the model may not work", model=name, reason=trouble)
    return finding


async def _probe_chat(server: ModelServer, model: str, redactor: Redactor) -> Finding:
    async with server.look("models") as reply:
        document = await _document(reply, redactor)
    finding = read_models(document, model)
    if finding.server == _NAMES["llamacpp"]:
        async with server.look("/props") as reply:
            document = await _document(reply, redactor)
        finding = _with_props(finding, document)
    return _with_troubles(finding, model)


async def _probe_ollama(server: ModelServer, model: str, redactor: Redactor) -> Finding:
    async with server.look("api/show", json.dumps({"model": model}).encode()) as reply:
        if reply.status == 404:
            return _with_troubles(Finding("Ollama", listed=False), model)
        document = await _document(reply, redactor)
    return _with_troubles(_read_show(document), model)


async def _document(reply: Reply, redactor: Redactor) -> Any:
    """Return the reply's JSON; None from a server that does not know the question."""
    if reply.status in (401, 403) or reply.status >= 500:
        body = await reply.head()
        raise classify(reply.status, body, reply.headers, redactor=redactor)
    if reply.status != 200:
        return None
    body = await reply.whole(LIST_BYTES)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def read_models(document: Any, model: str) -> Finding:
    """Read a list of models, as far as anything in it is known."""
    entries = list(_entries(document))
    entry = next((entry for entry in entries if entry.get("id") == model), None)
    if entry is None:  # OpenRouter's variants (`:free`) are not listed
        entry = next((entry for entry in entries if entry.get("id") == model.partition(":")[0]), None)
    owner = next((str(entry.get("owned_by")) for entry in entries), "")
    # llama-server answers to any name, and transformers lists nothing for a local folder.
    listed = entry is not None or (None if owner == "llamacpp" or not entries else False)
    finding = Finding(_NAMES.get(owner, ""), listed, logprobs=owner in _WITH_LOGPROBS)
    return finding if entry is None else _with_entry(finding, entry)


def _entries(document: Any) -> Iterator[dict[str, Any]]:
    listed = document.get("data") if isinstance(document, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            yield entry


def _with_entry(finding: Finding, entry: dict[str, Any]) -> Finding:
    architecture = entry.get("architecture")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    images = "image" in modalities if isinstance(modalities, list) else entry.get("supports_image_in")
    parameters = entry.get("supported_parameters")
    ends = entry.get("expiration_date")
    return replace(
        finding,
        images=images if isinstance(images, bool) else None,
        thinking=_flag(entry.get("supports_reasoning")),
        json_schema="structured_outputs" in parameters if isinstance(parameters, list) else None,
        context=_count(entry, "max_model_len", "context_length"),
        troubles=(f"the model ends on {ends}",) if isinstance(ends, str) and ends else (),
    )


def _with_props(finding: Finding, document: Any) -> Finding:
    props = document if isinstance(document, dict) else {}
    modalities = props.get("modalities")
    settings = props.get("default_generation_settings")
    return replace(
        finding,
        images=_flag(modalities.get("vision")) if isinstance(modalities, dict) else finding.images,
        context=_count(settings, "n_ctx") if isinstance(settings, dict) else finding.context,
    )


def _read_show(document: Any) -> Finding:
    show = document if isinstance(document, dict) else {}
    said = show.get("capabilities")
    abilities = said if isinstance(said, list) else None
    info = show.get("model_info")
    lengths = [
        value
        for name, value in (info.items() if isinstance(info, dict) else ())
        if str(name).endswith(".context_length") and isinstance(value, int)
    ]
    return Finding(
        "Ollama",
        listed=True if show else None,
        images=None if abilities is None else "vision" in abilities,
        thinking=None if abilities is None else "thinking" in abilities,
        context=next(iter(lengths), None),
    )


def _with_troubles(finding: Finding, model: str) -> Finding:
    troubles = list(finding.troubles)
    if finding.listed is False:
        troubles.append(f"the server does not list the model {model}")
    if finding.images is False:
        troubles.append(f"the model {model} takes no pictures there")
    return replace(finding, troubles=tuple(troubles))


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(entry: dict[str, Any], *names: str) -> int | None:
    values = (entry.get(name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


async def probe_endpoint(name: str, config: ServerConfig) -> Finding:
    """Connect to an endpoint of the configuration, look, and leave; trouble of any kind is a finding."""
    server = server_for(name, config)
    try:
        await server.open()
        return await probe(server, config, redactor_for(config))
    except ConfigError as error:
        return Finding(troubles=(str(error),))
    except InferError as error:
        return Finding(troubles=(_trouble(error),))
    finally:
        await server.close()


def _trouble(error: InferError) -> str:
    if isinstance(error, ModelRefused):
        return f"refused: {error.message}"
    return f"not reachable: {error.message}" if isinstance(error, ModelUnreachable) else error.message
