"""The connections to an endpoint of the configuration, and what must not be shown of it."""

from __future__ import annotations

from edgevlm.infer.config import OpenAICompatibleConfig, ServerConfig, vendor_of
from edgevlm.infer.wire import ModelServer
from edgevlm.runtime.redact import Redactor

_AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


def server_for(name: str, config: ServerConfig) -> ModelServer:
    """Return the server of an endpoint; it is not open yet."""
    return ModelServer(
        name,
        config.base_url,
        api_key=config.api_key,
        ca_file=config.ca_file,
        connections=config.max_concurrent_requests,
        key_header="api-key" if _by_api_key(config) else "Authorization",
    )


def redactor_for(config: ServerConfig) -> Redactor:
    """Return what hides the endpoint's secrets in whatever it says."""
    return Redactor([config.api_key.reveal()] if config.api_key else [])


def _by_api_key(config: ServerConfig) -> bool:
    if not isinstance(config, OpenAICompatibleConfig):
        return False
    if config.key_header is not None:
        return config.key_header == "api-key"
    return vendor_of(config).endswith(_AZURE_HOSTS)
