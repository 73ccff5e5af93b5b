"""How far each component reaches, as far as its configured address alone can tell: nothing is looked up."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from edgevlm.config.logins import without_login
from edgevlm.config.model import CameraConfig, Config, RuleConfig
from edgevlm.config.references import broker_port, models_of, sinks_of
from edgevlm.publish.config import MqttSinkConfig
from edgevlm.runtime.section import Section

Needs = Literal["none", "lan", "internet", "unknown"]
Kind = Literal["source", "model", "sink"]
Key = tuple[Kind, str]
"""What names a component: its kind and its key in the file."""

_LAN = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "224.0.0.0/4",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    )
)


@dataclass(frozen=True, slots=True)
class Component:
    """A source, a model or a sink: its address, and what it needs to work."""

    kind: Kind
    name: str
    used_by: tuple[str, ...]
    address: str
    resolved: tuple[str, ...]
    needs: Needs

    @property
    def verdict(self) -> str:
        """With `connectivity: online` whatever is known is allowed; what is not known is not judged."""
        return "unknown" if self.needs == "unknown" else "ok"

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        known = self.needs != "unknown"
        return {
            "component": f"{self.kind}:{self.name}",
            **asdict(self),
            "verdict": self.verdict,
            "code": None if known else "unresolved_host",
            "severity": "soft",
            "message": f"needs {self.needs}" if known else "the name was not looked up",
        }


def components(config: Config) -> list[Component]:
    """Return every source, model and sink of a configuration."""
    sections: list[tuple[Key, Section]] = [
        *((("source", name), camera.source) for name, camera in config.cameras.items()),
        *((("model", name), model) for name, model in config.models.items()),
        *((("sink", name), sink) for name, sink in config.sinks.items()),
    ]
    uses = _uses(config)
    return [_component(key, section, tuple(uses.get(key, ()))) for key, section in sections]


def parts_of(camera: str, rule: RuleConfig, config: Config) -> list[Key]:
    """Return what a rule needs to work: its source, its models, its sinks."""
    models: list[Key] = [("model", name) for name in models_of(config, rule)]
    sinks: list[Key] = [("sink", name) for name in sinks_of(config, rule)]
    return [("source", camera), *models, *sinks]


def _uses(config: Config) -> dict[Key, list[str]]:
    uses: dict[Key, list[str]] = {}
    for camera_name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            for part in parts_of(camera_name, rule, config):
                uses.setdefault(part, []).append(f"{camera_name}/{rule_name}")
    return uses


def frames_reach(camera: CameraConfig, config: Config) -> Needs | None:
    """Return how far a camera's pictures go, or None where that cannot be told from the addresses."""
    names = {name for rule in camera.rules.values() for name in models_of(config, rule)}
    order: tuple[Needs, ...] = ("none", "lan", "internet")
    reached = {_needs(host_of(config.models[name])) for name in names if name in config.models}
    if "unknown" in reached or len(names) > len(names & config.models.keys()):
        return None
    return max(reached, key=order.index, default="none")


def _component(key: Key, section: Section, used_by: tuple[str, ...]) -> Component:
    host = host_of(section)
    address = _literal(host) if host else None
    resolved = (str(address),) if address else ()
    return Component(*key, used_by, address_of(section), resolved, _needs(host))


def address_of(section: Section) -> str:
    """Return a component's address as it may be shown."""
    if isinstance(section, MqttSinkConfig):
        return f"{section.host}:{broker_port(section)}"
    for name in ("url", "base_url", "device", "path", "directory"):
        value = getattr(section, name, None)
        if isinstance(value, str):
            return without_login(value)
    return ""


def host_of(section: Section) -> str | None:
    """Return the host that a component connects to; None when it stays on this box."""
    host = getattr(section, "host", None)
    if isinstance(host, str):
        return host
    url = getattr(section, "url", None) or getattr(section, "base_url", None)
    if not isinstance(url, str):
        return None
    try:
        return urlsplit(without_login(url)).hostname or ""
    except ValueError:
        return ""


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _needs(host: str | None) -> Needs:
    if host is None or host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return "none"
    address = _literal(host)
    if address is None:
        return "unknown"
    if address.is_loopback:
        return "none"
    if any(address in network for network in _LAN):
        return "lan"
    return "internet" if address.is_global else "unknown"
