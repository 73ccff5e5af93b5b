"""What each component needs to work: nothing beyond this box, the site's network, or the internet."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevlm.capture.config import RtspSourceConfig
from edgevlm.config.reach import Key, Part, hosts_of, speaks_http
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.runtime import clouds
from edgevlm.runtime.addresses import (
    Address,
    Place,
    Reach,
    farthest,
    numeric_address,
    place_of,
    plain_host,
)
from edgevlm.runtime.egress import Policy
from edgevlm.runtime.lookup import Found, LookUpAll

Needs = Literal["none", "lan", "internet", "unknown"]

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CLOUD_MODEL = re.compile(r":(?:.*-)?cloud$", re.IGNORECASE)
"""Ollama's mark of a model that its server runs elsewhere: `kimi-k2.6:cloud`, `qwen3-vl:235b-cloud`."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out about one component."""

    needs: Needs
    why: str
    addresses: tuple[Address, ...] = ()
    code: str | None = None
    """Why it needs the internet, where that is not plain."""
    fault: str | None = None
    """Why it cannot work anywhere."""
    note: str | None = None
    """Worth telling though it works."""


def survey(
    judged: Iterable[Part], policy: Policy, *, look_up: LookUpAll, environ: Mapping[str, str]
) -> dict[Key, Survey]:
    """Find out about all components; names are looked up together."""
    all_parts = list(judged)
    asked = {host for part in all_parts for host in hosts_of(part.section) if _rule_for(host) is None}
    found = look_up(sorted(asked), policy) if asked else {}
    proxy = next((name for name in _PROXIES if environ.get(name) or environ.get(name.lower())), None)
    return {part.key: _of_part(part, policy, found, proxy) for part in all_parts}


def _of_part(part: Part, policy: Policy, found: Mapping[str, Found], proxy: str | None) -> Survey:
    section = part.section
    if isinstance(section, EmbeddedConfig):
        return _of_embedded()
    hosts = [_of_host(host, policy, found.get(host, Found())) for host in hosts_of(section)]
    if not hosts:
        return Survey("none", "on this box")
    if _CLOUD_MODEL.search(str(getattr(section, "model", ""))):
        addresses = tuple(address for host in hosts for address in host.addresses)
        why = "the model runs in Ollama's cloud, whichever server is asked; the pictures go there"
        return Survey("internet", why, addresses, code="cloud_model_name")
    return _with_notes(_together(hosts), part, policy, proxy)


def _together(hosts: list[Survey]) -> Survey:
    """Return what holds for all hosts of one component: the worst."""
    order: tuple[Needs, ...] = ("none", "lan", "unknown", "internet")
    return max(hosts, key=lambda host: (host.fault is not None, order.index(host.needs)))


def _with_notes(found: Survey, part: Part, policy: Policy, proxy: str | None) -> Survey:
    section = part.section
    note = why = ""
    if proxy and speaks_http(section):
        note, why = "proxy_configured", f"{proxy} is set and is not used: connections are direct"
    elif isinstance(section, RtspSourceConfig) and section.transport == "udp" and policy.limit == "lan":
        note, why = "tcp_only", "air-gapped it is asked by TCP, though transport: udp is set"
    if not note:
        return found
    return Survey(found.needs, f"{found.why}; {why}", found.addresses, found.code, found.fault, note)


# --- hosts ----------------------------------------------------------------------------------------------


def _rule_for(host: str) -> Survey | None:
    """Return what a name tells without a look-up, or None."""
    try:
        name = plain_host(host)
    except ValueError as error:
        return Survey("unknown", f"the address holds no host that could be reached: {error}")
    if clouds.is_metadata(name):
        return Survey("lan", _METADATA, fault="metadata_address")
    if (operator := clouds.operator_of(name)) is not None:
        return Survey("internet", f"it goes to {operator}")
    return Survey("none", "this box") if clouds.is_this_box(name) else None


_METADATA = "a cloud hands out this machine's credentials there: nothing is ever sent to it"


def _of_host(host: str, policy: Policy, found: Found) -> Survey:
    if (told := _rule_for(host)) is not None:
        return told
    if found.addresses:
        return _of_addresses(host, found.addresses, policy)
    if clouds.is_of_site(plain_host(host)):
        return Survey("lan", f"{host} is a name of the site, though it does not resolve now: {found.why}")
    return Survey("unknown", f"{host} does not resolve here: {found.why}")


def _of_addresses(host: str, addresses: tuple[Address, ...], policy: Policy) -> Survey:
    places = [place_of(address, policy.lan_networks) for address in addresses]
    if any(place.is_metadata for place in places):
        return Survey("lan", _METADATA, addresses, fault="metadata_address")
    reach: Reach = farthest(place.reach for place in places)
    told = ", ".join(_words(host, addresses, places))
    if reach == "internet" and any(place.reach != "internet" for place in places):
        why = f"{host} has near and far addresses, and which of them answers is not known: {told}"
        return Survey("internet", why, addresses, code="mixed_addresses")
    operator = "; who receives what is sent there is unknown" if reach == "internet" else ""
    return Survey(reach, f"{told}{operator}", addresses)


def _words(host: str, addresses: tuple[Address, ...], places: list[Place]) -> Iterator[str]:
    for address, place in zip(addresses, places, strict=True):
        spelt_oddly = numeric_address(host) is not None and str(address) != host
        shown = f"{host}, which is {address}," if spelt_oddly else str(address)
        yield f"{shown} is {place.kind}"


# --- the embedded engine --------------------------------------------------------------------------------


def _of_embedded() -> Survey:
    """Look for the engine and its model files, which come with it: nothing is ever downloaded."""
    found = importlib.util.find_spec("rapidocr")
    if found is None or importlib.util.find_spec("onnxruntime") is None:
        why = "the embedded engine is not installed: pip install 'edgevlm[ocr]'"
        return Survey("none", why, fault="missing_model_file")
    models = [Path(place) / "models" for place in found.submodule_search_locations or ()]
    missing = [part for part in ("det", "cls", "rec") if not any(_has_model(place, part) for place in models)]
    if missing:
        why = f"model files are missing ({', '.join(missing)}) and are not downloaded: install rapidocr again"
        return Survey("none", why, fault="missing_model_file")
    return Survey("none", "on this box, with the model files of its package")


def _has_model(directory: Path, part: str) -> bool:
    return next(directory.glob(f"*_{part}_*.onnx"), None) is not None
