"""`edgevlm check`: is the configuration right, and what would run? Starts nothing, connects to nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgevlm.config.load import load
from edgevlm.config.mistakes import InvalidConfig, Mistake
from edgevlm.config.model import Config, RuleConfig
from edgevlm.config.reach import Component, Key, address_of, components, frames_reach, parts_of
from edgevlm.config.references import models_of, sinks_of
from edgevlm.config.sample import flow
from edgevlm.runtime.exits import EX_CONFIG, EX_OK
from edgevlm.runtime.section import Section


def check(
    path: Path,
    *,
    as_json: bool = False,
    stream: TextIO | None = None,
    errors: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Check the file at `path`; print the findings and return the exit code.

    Args:
        path: the configuration file.
        as_json: print one JSON document on `stream`, and nothing else anywhere.
        stream: where the summary goes; standard output when absent.
        errors: where mistakes and warnings go; standard error when absent.
        environ: where `!env` and `!credential` look.

    """
    stream, errors = stream or sys.stdout, errors or sys.stderr
    mistakes: tuple[Mistake, ...] = ()
    try:
        loaded = load(path, environ=environ)
        config, warnings = loaded.config, loaded.warnings
    except InvalidConfig as error:
        config, warnings, mistakes = error.rest, error.warnings, error.mistakes
    if as_json:
        print(json.dumps(report(config, mistakes, warnings)), file=stream)
    else:
        print_findings(mistakes, warnings, errors)
        if not mistakes:
            print_summary(config, stream)
    return EX_CONFIG if mistakes else EX_OK


def print_findings(mistakes: tuple[Mistake, ...], warnings: tuple[Mistake, ...], stream: TextIO) -> None:
    """Print a line for each mistake and each warning."""
    for warning in warnings:
        print(warning.text("warning"), file=stream)
    for mistake in mistakes:
        print(mistake, file=stream)


def report(config: Config, mistakes: tuple[Mistake, ...], warnings: tuple[Mistake, ...]) -> dict[str, Any]:
    """Return the document of `check --json`; what holds a mistake is not judged."""
    wrong = [mistake.path for mistake in mistakes]
    parts = [part for part in components(config) if not _touches(_path(part), wrong)]
    return {
        "ok": not mistakes,
        "errors": [mistake.as_json() for mistake in mistakes],
        "warnings": [warning.as_json() for warning in warnings],
        "compatibility": [part.as_json() for part in parts],
        "rules": _rules(config, parts, wrong),
        "cameras": [
            {"camera": name, "frames_reach": frames_reach(camera, config)}
            for name, camera in config.cameras.items()
            if not _touches(f"cameras.{name}", wrong)
        ],
    }


def _rules(config: Config, parts: list[Component], wrong: list[str]) -> list[dict[str, Any]]:
    known = {(part.kind, part.name): part.verdict for part in parts}
    return [
        _rule(camera, name, config, known)
        for camera, section in config.cameras.items()
        for name in section.rules
        if not _touches(f"cameras.{camera}.rules.{name}", wrong)
    ]


def _rule(camera: str, name: str, config: Config, known: Mapping[Key, str]) -> dict[str, Any]:
    """Judge a rule by what it needs: surely right, or not known."""
    rule = config.cameras[camera].rules[name]
    verdicts = {known.get(part, "wrong") for part in parts_of(camera, rule, config)}
    code = "invalid_configuration" if "wrong" in verdicts else "unresolved_host"
    sure = verdicts == {"ok"}
    return {
        "rule": f"{camera}/{name}",
        "verdict": "ok" if sure else "unknown",
        "code": None if sure else code,
        "model": next(iter(models_of(config, rule)), None),
    }


def _path(part: Component) -> str:
    return f"cameras.{part.name}.source" if part.kind == "source" else f"{part.kind}s.{part.name}"


def _touches(path: str, wrong: list[str]) -> bool:
    """Say whether one of the wrong paths is at `path`, above it or below it."""
    return any(f"{other}.".startswith(f"{path}.") or f"{path}.".startswith(f"{other}.") for other in wrong)


@dataclass(frozen=True, slots=True)
class Overview:
    """One kind of thing that would run: a table on a terminal, lines elsewhere."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_summary(config: Config, stream: TextIO) -> None:
    """Say what would run."""
    overviews = [overview for overview in _overviews(config) if overview.rows]
    if stream.isatty():
        console = Console(file=stream)
        for overview in overviews:
            console.print(_table(overview))
    else:
        for overview in overviews:
            for name, *columns in overview.rows:
                print(f"{overview.columns[0]} {name}: {', '.join(filter(None, columns))}", file=stream)
    counts = ", ".join(f"{len(overview.rows)} {overview.title}" for overview in _overviews(config))
    print(f"the configuration of {config.node} is right: {counts}", file=stream)


def _table(overview: Overview) -> Table:
    table = Table(*overview.columns)
    for row in overview.rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    return table


def _overviews(config: Config) -> list[Overview]:
    cameras = [
        (name, camera.source.type, address_of(camera.source), _disabled(enabled=camera.enabled))
        for name, camera in config.cameras.items()
    ]
    rules = [
        (f"{camera}/{name}", *_columns(rule, config))
        for camera, section in config.cameras.items()
        for name, rule in section.rules.items()
    ]
    models = [(name, model.type, address_of(model)) for name, model in config.models.items()]
    sinks = [(name, sink.type, address_of(sink)) for name, sink in config.sinks.items()]
    return [
        Overview("cameras", ("camera", "source", "address", "note"), tuple(cameras)),
        Overview("rules", ("rule", "when", "task", "asks", "answers go to", "note"), tuple(rules)),
        Overview("models", ("model", "type", "address"), tuple(models)),
        Overview("sinks", ("sink", "type", "address"), tuple(sinks)),
    ]


def _columns(rule: RuleConfig, config: Config) -> tuple[str, ...]:
    return (
        _when(rule.trigger),
        rule.task.type,
        " then ".join(models_of(config, rule)),
        " and ".join(sinks_of(config, rule)) or "nowhere",
        _disabled(enabled=rule.enabled),
    )


def _when(trigger: Section) -> str:
    """Return a trigger in short: its type and what was set."""
    chosen = [f"{key}={flow(getattr(trigger, key))}" for key in sorted(trigger.model_fields_set - {"type"})]
    return " ".join([str(getattr(trigger, "type", "")), *chosen])


def _disabled(*, enabled: bool) -> str:
    return "" if enabled else "disabled"
