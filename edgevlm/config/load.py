"""Reading a configuration file: `load` returns all of it, or raises with every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgevlm.config import yaml12
from edgevlm.config.abilities import check_abilities
from edgevlm.config.credentials import Vault
from edgevlm.config.finish import finished, hide_secrets
from edgevlm.config.mistakes import InvalidConfig, Mistake, Place, Report
from edgevlm.config.model import Config
from edgevlm.config.parse import parse
from edgevlm.config.references import check_references


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used."""

    config: Config
    """With absolute paths, and camera URLs without logins."""
    path: Path
    warnings: tuple[Mistake, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every secret value in it, for what must never be shown."""


def load(path: Path, *, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read the file at `path`; raise `InvalidConfig` with every mistake in it.

    Args:
        path: the file; what it names relatively, it names from its own directory.
        environ: where `!env` and `!credential` look.

    """
    report = Report(str(path))
    directory = path.absolute().parent
    raw = yaml12.read(_content(path, report), report, Vault(directory, environ).secret)
    hide_secrets(raw, report)
    config = finished(parse(raw, report), directory, report)
    check_references(config, report)
    check_abilities(config, report)
    if report.mistakes:
        raise InvalidConfig(report.mistakes, report.warnings, config)
    return Loaded(config, path, report.warnings, tuple(sorted(report.secrets)))


def _content(path: Path, report: Report) -> bytes:
    """Return what stands in the file, not more than one byte above what is allowed."""
    try:
        with path.open("rb") as file:
            return file.read(yaml12.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not a path"
        message = f"the file cannot be read: {reason.lower()}"
        report.at(Place(1, 1), (), message, "name a readable file by -c")
        report.mark(())
        return b""
