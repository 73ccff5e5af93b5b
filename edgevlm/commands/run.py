"""`edgevlm run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from edgevlm.commands.printing import Printer
from edgevlm.config.compatibility import Compatibility, judge
from edgevlm.config.load import Loaded, load
from edgevlm.daemon import Daemon, serve
from edgevlm.errors import ConfigError, EdgevlmError
from edgevlm.runtime import logs
from edgevlm.runtime.exits import EX_CONFIG, EX_FAILED, EX_OK
from edgevlm.runtime.redact import Redactor
from edgevlm.runtime.state import locked, state_directory
from edgevlm.runtime.systemd import Notifier

log = structlog.get_logger()


def run(path: Path, *, log_level: logs.Level, log_json: bool, as_json: bool) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    try:
        loaded = load(path)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    redactor = Redactor(loaded.secrets)
    logs.configure(redactor=redactor, level=log_level, json=log_json)
    for warning in loaded.warnings:
        log.warning("configuration", warning=str(warning))
    try:
        with locked(state_directory()) as directory:
            asyncio.run(_serve(loaded, directory, as_json=as_json))
    except ConfigError as error:
        log.critical("the configuration cannot be used", why=str(error))
        return EX_CONFIG
    except EdgevlmError as error:
        log.critical("cannot start", why=str(error))
        return EX_FAILED
    return EX_OK


async def _serve(loaded: Loaded, directory: Path, *, as_json: bool) -> None:
    if not loaded.config.cameras:
        raise ConfigError(f"{loaded.path}: no cameras: nothing to run; see config/examples")
    found = await asyncio.to_thread(judge, loaded.config)
    _tell(found)
    _refuse(found, loaded)
    daemon = Daemon(loaded.config, state_directory=directory, compatibility=found)
    async with AsyncExitStack() as stack:
        if as_json:
            printer = await stack.enter_async_context(Printer(daemon.counters))
            daemon.on_message = printer.document
        await serve(daemon, Notifier.from_environ())


def _tell(found: Compatibility) -> None:
    """Log the compatibility report, component by component."""
    for part in found.components:
        write = log.warning if part.severity == "hard" else log.info
        write(
            f"{part.title} is {part.verdict} {found.connectivity}",
            needs=part.needs,
            address=part.address,
            resolved=list(part.resolved),
            code=part.code,
            why=part.message,
        )
    for rule in found.incompatible_rules():
        log.error("a rule cannot run", rule=rule.title, code=rule.code, why=rule.message)


def _refuse(found: Compatibility, loaded: Loaded) -> None:
    """Refuse to start where a rule cannot run and the site does not want the rest to run without it.

    Raises:
        ConfigError: it names each such rule, and why.

    """
    rules = found.incompatible_rules()
    lenient = found.connectivity == "offline" or loaded.config.site.on_incompatible == "disable"
    one_works = any(rule.runs and rule.enabled for rule in found.rules)
    if not rules or (lenient and one_works):
        return
    told = "; ".join(f"{rule.title}: {rule.code}: {rule.message}" for rule in rules)
    hint = "" if lenient else "; site.on_incompatible: disable would run the other rules"
    raise ConfigError(f"{loaded.path}: cannot run {found.connectivity}: {told}{hint}")
