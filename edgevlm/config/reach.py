"""What a component connects to, as its section of the file says: address, host, port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from yarl import URL

from edgevlm.config.logins import without_login
from edgevlm.config.model import Config, RuleConfig
from edgevlm.config.references import broker_port, models_of, sinks_of
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.runtime.section import Section

Kind = Literal["source", "model", "frame_url", "sink", "discovery", "clock"]
Key = tuple[Kind, str]
"""What names a component: its kind and its key in the file."""

_URLS = ("url", "base_url", "endpoint")
_PLACES = (*_URLS, "device", "path", "directory")


@dataclass(frozen=True, slots=True)
class Part:
    """Something of the configuration that may connect to something."""

    key: Key
    section: Section
    used_by: tuple[str, ...]


def parts(config: Config) -> list[Part]:
    """Return every source, model, frame store and sink of a configuration."""
    sections: list[tuple[Key, Section]] = [
        *((("source", name), camera.source) for name, camera in config.cameras.items()),
        *((("model", name), model) for name, model in config.models.items()),
        *(
            (("frame_url", name), store)
            for name, model in config.models.items()
            if (store := frame_store(model)) is not None
        ),
        *((("sink", name), sink) for name, sink in config.sinks.items()),
    ]
    uses = _uses(config)
    return [Part(key, section, tuple(uses.get(key, ()))) for key, section in sections]


def frame_store(model: Section) -> Section | None:
    """Return where a model's pictures are put for it to fetch, if that is how it gets them."""
    store = getattr(model, "frame_url", None)
    return store if isinstance(store, Section) else None


def parts_of(camera: str, rule: RuleConfig, config: Config) -> list[Key]:
    """Return what a rule needs to work: its source, its models with their frame stores, its sinks."""
    models: list[Key] = [key for name in models_of(config, rule) for key in model_keys(name, config)]
    sinks: list[Key] = [("sink", name) for name in sinks_of(config, rule)]
    return [("source", camera), *models, *sinks]


def model_keys(name: str, config: Config) -> list[Key]:
    """Return what must work for a model to answer."""
    keys: list[Key] = [("model", name)]
    if name in config.models and frame_store(config.models[name]) is not None:
        keys.append(("frame_url", name))
    return keys


def _uses(config: Config) -> dict[Key, list[str]]:
    uses: dict[Key, list[str]] = {}
    for camera_name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            for key in parts_of(camera_name, rule, config):
                uses.setdefault(key, []).append(f"{camera_name}/{rule_name}")
    return uses


def carries_pictures(sink: Section) -> bool:
    """Say whether a sink is given pictures, not answers alone."""
    return bool(getattr(sink, "evidence", None) or getattr(sink, "images", False))


def address_of(section: Section) -> str:
    """Return a component's address as it may be shown."""
    if isinstance(section, MqttSinkConfig):
        return f"{section.host}:{broker_port(section)}"
    for name in _PLACES:
        value = getattr(section, name, None)
        if isinstance(value, str):
            return without_login(value)
    return ""


def hosts_of(section: Section) -> tuple[str, ...]:
    """Return the hosts that a component connects to, itself or for it; none when it stays on this box.

    A host that cannot be read out of its URL is given as it stands there, so that nobody takes it for none.
    """
    host = getattr(section, "host", None)
    if isinstance(host, str):
        return (host,)
    urls = (getattr(section, name, None) for name in (*_URLS, "public_endpoint"))
    return tuple(dict.fromkeys(_host_in(url) for url in urls if isinstance(url, str)))


def _host_in(url: str) -> str:
    """Return the host as whoever connects reads it: aiohttp by yarl, cameras by the standard library."""
    try:
        if url.startswith(("http://", "https://")):
            return URL(url).host or url
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def speaks_http(section: Section) -> bool:
    """Say whether a component is reached by HTTP."""
    urls = (getattr(section, name, None) for name in _URLS)
    return any(isinstance(url, str) and url.startswith(("http://", "https://")) for url in urls)
