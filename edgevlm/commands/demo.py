"""`edgevlm demo`: the whole way of a frame with no camera, model or broker at hand.

Two cameras that draw themselves are watched over RTSP by the very daemon that `run` starts, configured by a
YAML file that is written next to the answers, so that it can be read, changed and run again.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml

from edgevlm.commands.live import LiveTable, line
from edgevlm.commands.local_models import models_at
from edgevlm.config.load import load
from edgevlm.daemon import Daemon
from edgevlm.demo.broker import DemoBroker
from edgevlm.demo.process import DemoCameras
from edgevlm.errors import EdgevlmError
from edgevlm.publish.result import encode
from edgevlm.runtime import logs
from edgevlm.runtime.exits import EX_FAILED, EX_OK
from edgevlm.runtime.redact import Redactor

log = structlog.get_logger()

DIRECTORY = Path("edgevlm-demo")


@dataclass(frozen=True, slots=True)
class Show:
    """What the user asked for."""

    seconds: float | None
    base_url: str | None
    model: str | None
    as_json: bool


def demo(*, seconds: float | None, base_url: str | None, model: str | None, as_json: bool) -> int:
    """Run the demo; return the exit code."""
    logs.configure(redactor=Redactor(), level="warning")
    try:
        return asyncio.run(_demo(Show(seconds, base_url, model, as_json)))
    except EdgevlmError as error:
        sys.stderr.write(f"{error}\n")
        return EX_FAILED


async def _demo(show: Show) -> int:
    async with AsyncExitStack() as stack:
        _say("starting two cameras and looking for a broker …")
        broker = await stack.enter_async_context(DemoBroker())
        cameras = await stack.enter_async_context(DemoCameras())
        directory = _fresh_directory()
        path = directory / "edgevlm.yaml"
        path.write_text(_configuration(cameras.urls, broker, await _model(show)), encoding="utf-8")
        daemon = Daemon(load(path).config, state_directory=directory)
        kind = "an embedded broker" if broker.embedded else "the broker"
        _say(f"cameras: {', '.join(cameras.urls.values())}")
        _say(f"MQTT: {kind} on {broker.host}:{broker.port}, topics edgevlm/demo/#")
        _say(f"configuration: {path}")
        return await _watch(daemon, directory, show)


def _fresh_directory() -> Path:
    """Return an empty directory for this run's answers; the last run's are replaced."""
    if (DIRECTORY / "edgevlm.yaml").exists():
        shutil.rmtree(DIRECTORY)
    DIRECTORY.mkdir(exist_ok=True)
    return DIRECTORY.absolute()


async def _watch(daemon: Daemon, directory: Path, show: Show) -> int:
    """Run the daemon, show each answer, and end by time or by Ctrl-C."""
    live = LiveTable() if sys.stdout.isatty() and not show.as_json else None

    def take(document: Mapping[str, Any]) -> None:
        if show.as_json:
            sys.stdout.buffer.write(encode(document) + b"\n")
            sys.stdout.buffer.flush()
        elif live is not None:
            live.take(document)
        else:
            sys.stdout.write(line(document) + "\n")
            sys.stdout.flush()

    daemon.on_message = take
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop)

    def ready() -> None:
        if show.seconds is not None:
            loop.call_later(show.seconds, daemon.stop)

    with live or nullcontext():
        await daemon.run(ready)
    answers, asked = daemon.counters.total("answers"), daemon.counters.total("requests")
    summary = f"{answers} answers, {asked} asked; files in {directory / 'results'}"
    (sys.stderr if show.as_json else sys.stdout).write(summary + "\n")
    return EX_OK if answers else EX_FAILED


async def _model(show: Show) -> dict[str, Any]:
    if show.base_url is None:
        return {"type": "embedded"}
    name = show.model or next(iter(await models_at(show.base_url)), None)
    if name is None:
        raise EdgevlmError(f"{show.base_url} does not say which models it has: name one with --model")
    return {"type": "openai-compatible", "base_url": show.base_url, "model": name}


def _configuration(urls: dict[str, str], broker: DemoBroker, model: dict[str, Any]) -> str:
    """Return the demo's YAML: read by OCR on the box, or asked of the user's server."""
    rules = _ocr_rules() if model["type"] == "embedded" else _model_rules()
    document = {
        "node": "demo",
        "models": {"reader": model},
        "sinks": {
            "broker": {
                "type": "mqtt",
                "host": broker.host,
                "port": broker.port,
                "protocol": "3.1.1" if broker.embedded else "auto",
            },
            "results": {"type": "file", "directory": "results", "evidence": ["picture"]},
        },
        "cameras": {
            name: {"source": {"type": "rtsp", "url": urls[name]}, "rules": rules[name]} for name in rules
        },
    }
    head = "# The demo's own configuration: change it and run it with  edgevlm run -c FILE\n"
    return head + yaml.safe_dump(document, sort_keys=False)


def _ocr_rules() -> dict[str, dict[str, Any]]:
    trigger = {"type": "interval", "every_secs": 3}
    return {
        "press": {"gauge": {"trigger": trigger, "task": {"type": "ocr"}}},
        "dock": {"label": {"trigger": trigger, "task": {"type": "ocr"}}},
    }


def _model_rules() -> dict[str, dict[str, Any]]:
    trigger = {"type": "interval", "every_secs": 3}
    fields = {
        "pressure_bar": {"type": "number", "min": 0, "description": "The number on the display, in bar"},
        "over_limit": {"type": "boolean", "description": "Whether the needle stands in the red zone"},
    }
    return {
        "press": {
            "gauge": {
                "trigger": trigger,
                "task": {"type": "structured-answering", "output_structure": fields},
            }
        },
        "dock": {
            "passing": {
                "trigger": trigger,
                "task": {
                    "type": "classification",
                    "classes": ["person", "nobody"],
                    "prompt": "Is somebody there?",
                },
            }
        },
    }


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
