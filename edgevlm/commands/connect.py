"""`edgevlm check --connect`: which models answer, and what they say of themselves. Asks no question."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from edgevlm.config.model import Config
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import EmbeddedConfig, ModelConfig
from edgevlm.infer.probe import Finding, probe_endpoint
from edgevlm.runtime import egress
from edgevlm.runtime.egress import Policy

LIMIT_SECS = 15.0
"""Longest time for all of them together: they are looked at at once."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What came of connecting to one model."""

    component: str
    ok: bool
    facts: str
    """What the server says, and what is known of the model by its name."""
    troubles: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        return asdict(self)


def connect_models(config: Config, names: Iterable[str], policy: Policy) -> list[Connection]:
    """Connect to these models, all at once, and nowhere that `policy` does not allow."""
    egress.enforce(policy)
    try:
        return asyncio.run(_connect({name: config.models[name] for name in names}))
    finally:
        egress.enforce(Policy())


async def _connect(models: dict[str, ModelConfig]) -> list[Connection]:
    findings = await asyncio.gather(*(_look(name, model) for name, model in models.items()))
    return [
        Connection(f"model:{name}", not finding.troubles, _facts(finding, model), finding.troubles)
        for (name, model), finding in zip(models.items(), findings, strict=True)
    ]


async def _look(name: str, model: ModelConfig) -> Finding:
    if isinstance(model, EmbeddedConfig):
        missing = importlib.util.find_spec("rapidocr") is None
        troubles = ("the extra ocr is not installed: pip install edgevlm[ocr]",) if missing else ()
        return Finding("RapidOCR", images=True, troubles=troubles)
    try:
        async with asyncio.timeout(LIMIT_SECS):
            return await probe_endpoint(name, model)
    except TimeoutError:
        return Finding(troubles=(f"not reachable: no answer within {LIMIT_SECS:g} s",))


def _facts(finding: Finding, model: ModelConfig) -> str:
    return "; ".join(part for part in (finding.facts, _known(model)) if part)


def _known(model: ModelConfig) -> str:
    """Return what the table says of a model."""
    known = abilities_for(model)
    video = {True: "video", False: "no video", None: ""}[known.video]
    thinking = {"none": "does not think", "optional": "thinks if told", "always": "always thinks"}
    said = [
        video,
        thinking.get(known.thinking, ""),
        "pictures by URL only" if known.pictures_by_url else "",
        "fixed sampling" if known.fixed_sampling else "",
        f"boxes as {known.box_format}",
    ]
    return "known by name: " + ", ".join(part for part in said if part)


def print_connections(connections: Iterable[Connection], stream: TextIO, errors: TextIO) -> None:
    """Print a line for each model, and one for each trouble."""
    for connection in connections:
        print(f"{connection.component}: {connection.facts}", file=stream)
        for trouble in connection.troubles:
            print(f"{connection.component}: {trouble}", file=errors)
