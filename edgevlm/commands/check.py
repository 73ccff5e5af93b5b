"""`edgevlm check`: is the configuration right, and what would run? Starts nothing.

Names are looked up, where the connectivity allows that, to say what each component needs; with `--connect`
the models that may be used are connected to, else nothing.
"""

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

from edgevlm.commands.connect import Connection, connect_models, print_connections
from edgevlm.config.compatibility import Compatibility, judge, policy_of
from edgevlm.config.load import load
from edgevlm.config.mistakes import InvalidConfig, Mistake
from edgevlm.config.model import Config, RuleConfig
from edgevlm.config.reach import Key, address_of
from edgevlm.config.references import models_of, sinks_of
from edgevlm.config.sample import flow
from edgevlm.runtime.egress import Connectivity
from edgevlm.runtime.exits import EX_CONFIG, EX_FAILED, EX_OK
from edgevlm.runtime.section import Section


def check(
    path: Path,
    *,
    connectivity: Connectivity | None = None,
    connect: bool = False,
    as_json: bool = False,
    stream: TextIO | None = None,
    errors: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Check the file at `path`; print the findings and return the exit code.

    Args:
        path: the configuration file.
        connectivity: judge by this one instead of the file's own.
        connect: connect to the models as well, and fail (1) where one will not do.
        as_json: print one JSON document on `stream`, and nothing else anywhere.
        stream: where the summary goes; standard output when absent.
        errors: where mistakes and warnings go; standard error when absent.
        environ: where `!env` and `!credential` look, and where a proxy may be named.

    """
    stream, errors = stream or sys.stdout, errors or sys.stderr
    mistakes: tuple[Mistake, ...] = ()
    try:
        loaded = load(path, environ=environ)
        config, warnings = loaded.config, (*loaded.warnings, *_nothing_to_do(path, loaded.config))
    except InvalidConfig as error:
        config, warnings, mistakes = error.rest, error.warnings, error.mistakes
    wrong = [mistake.path for mistake in mistakes]
    found = judge(
        config, connectivity=connectivity, environ=environ, ignored=lambda key: _touches(_path(key), wrong)
    )
    connections: list[Connection] = []
    if connect and not mistakes:
        connections = connect_models(config, _usable_models(found), policy_of(config, connectivity))
    if as_json:
        told = {"connections": [connection.as_json() for connection in connections]} if connect else {}
        print(json.dumps(report(config, mistakes, warnings, found) | told), file=stream)
    else:
        print_findings(mistakes, warnings, errors)
        if not mistakes:
            print_summary(config, found, stream)
            print_incompatible(found, errors)
            print_connections(connections, stream, errors)
    if mistakes or found.incompatible_rules():
        return EX_CONFIG
    return EX_OK if all(connection.ok for connection in connections) else EX_FAILED


def _nothing_to_do(path: Path, config: Config) -> tuple[Mistake, ...]:
    """Warn of a file that is good for `ask` and `spool`, but not for `run`."""
    if config.cameras:
        return ()
    return (Mistake(str(path), 1, 1, "", "no cameras: `run` has nothing to do", "see docs/configuration.md"),)


def _usable_models(found: Compatibility) -> list[str]:
    """Return the models that the connectivity does not bar."""
    parts = found.components
    return [part.name for part in parts if part.kind == "model" and part.verdict != "incompatible"]


def print_findings(mistakes: tuple[Mistake, ...], warnings: tuple[Mistake, ...], stream: TextIO) -> None:
    """Print a line for each mistake and each warning."""
    for warning in warnings:
        print(warning.text("warning"), file=stream)
    for mistake in mistakes:
        print(mistake, file=stream)


def print_incompatible(found: Compatibility, stream: TextIO) -> None:
    """Print a line for each rule that could not run."""
    for rule in found.incompatible_rules():
        print(f"rule {rule.title} cannot run {found.connectivity}: {rule.code}: {rule.message}", file=stream)


def report(
    config: Config, mistakes: tuple[Mistake, ...], warnings: tuple[Mistake, ...], found: Compatibility
) -> dict[str, Any]:
    """Return the document of `check --json`; what holds a mistake is not judged."""
    wrong = [mistake.path for mistake in mistakes]
    return {
        "ok": not mistakes and not found.incompatible_rules(),
        "errors": [mistake.as_json() for mistake in mistakes],
        "warnings": [warning.as_json() for warning in warnings],
        "compatibility": [part.as_json() for part in found.components],
        "rules": [
            rule.as_json()
            for rule in found.rules
            if not _touches(f"cameras.{rule.camera}.rules.{rule.rule}", wrong)
        ],
        "cameras": [
            {"camera": name, "frames_reach": found.frames_reach[name]}
            for name in config.cameras
            if not _touches(f"cameras.{name}", wrong)
        ],
    }


def _path(key: Key) -> str:
    """Return where a component stands in the file."""
    kind, name = key
    if kind == "source":
        return f"cameras.{name}.source"
    return f"models.{name}.frame_url" if kind == "frame_url" else f"{kind}s.{name}"


def _touches(path: str, wrong: list[str]) -> bool:
    """Say whether one of the wrong paths is at `path`, above it or below it."""
    return any(f"{other}.".startswith(f"{path}.") or f"{path}.".startswith(f"{other}.") for other in wrong)


@dataclass(frozen=True, slots=True)
class Overview:
    """One kind of thing that would run: a table on a terminal, lines elsewhere."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_summary(config: Config, found: Compatibility, stream: TextIO) -> None:
    """Say what would run, what it needs, and where pixels can go."""
    overviews = [overview for overview in (*_overviews(config), *_needs(found)) if overview.rows]
    if stream.isatty():
        console = Console(file=stream)
        for overview in overviews:
            console.print(_table(overview))
    else:
        for overview in overviews:
            for name, *columns in overview.rows:
                print(f"{overview.columns[0]} {name}: {', '.join(filter(None, columns))}", file=stream)
    counts = ", ".join(_counted(overview) for overview in _overviews(config))
    print(f"the configuration of {config.node} is right: {counts}", file=stream)


def _counted(overview: Overview) -> str:
    number = len(overview.rows)
    return f"{number} {overview.columns[0] if number == 1 else overview.title}"


def _needs(found: Compatibility) -> list[Overview]:
    """Return the compatibility report as tables; without what needs nothing and has no problem."""
    components = [
        (part.title, _needed(part.needs), part.verdict, part.code or "", part.message)
        for part in found.components
        if part.needs != "none" or part.verdict != "ok" or part.code is not None
    ]
    cameras = [(name, _REACHES[reach]) for name, reach in found.frames_reach.items()]
    return [
        Overview("components", ("component", "needs", found.connectivity, "code", "why"), tuple(components)),
        Overview("pixels", ("pixels of", "can go"), tuple(cameras)),
    ]


def _needed(needs: str) -> str:
    return "needs nothing else" if needs == "none" else f"needs {needs}"


_REACHES = {"none": "not off this box", "lan": "within the site", "internet": "to the internet"}


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
