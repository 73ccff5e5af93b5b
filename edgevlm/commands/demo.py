"""`edgevlm demo`: the whole way of a frame with no camera, model or broker at hand.

Two cameras that draw themselves are watched over RTSP by the very daemon that `run` starts, configured by a
YAML file that is written next to the answers, to be read and to start one's own from.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import structlog
import yaml

from edgevlm.commands.live import LiveTable, line
from edgevlm.commands.local_models import name_at
from edgevlm.commands.printing import Printer
from edgevlm.commands.question import Misuse
from edgevlm.config.load import load
from edgevlm.daemon import Daemon
from edgevlm.demo.broker import DemoBroker
from edgevlm.demo.process import DemoCameras
from edgevlm.errors import EdgevlmError
from edgevlm.runtime import logs
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.exits import EX_FAILED, EX_OK, EX_USAGE
from edgevlm.runtime.redact import Redactor

log = structlog.get_logger()

DIRECTORY = Path("edgevlm-demo")
"""Each run gets a directory of its own in it; none is ever deleted."""
_HEAD = """\
# What the demo ran. Its cameras and its broker ended with it: to run this with `edgevlm run -c FILE`,
# put in your own cameras and your own broker.
"""
_REASONS = {
    "superseded": "overtaken by a newer one of its rule",
    "shutdown": "cut off by the end of the demo",
    "no_frame": "without a picture",
    "no_picture_in_time": "without a picture in time",
    "stale": "about a picture too old",
}
"""What became of questions without an answer, by what they are counted under."""


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
    except Misuse as error:
        sys.stderr.write(f"{error}\n")
        return EX_USAGE
    except EdgevlmError as error:
        sys.stderr.write(f"{error}\n")
        return EX_FAILED


async def _demo(show: Show) -> int:
    section = await _model(show)
    async with AsyncExitStack() as stack:
        _say("starting two cameras and looking for a broker …")
        broker = await stack.enter_async_context(DemoBroker())
        cameras = await stack.enter_async_context(DemoCameras())
        directory = fresh_directory()
        path = directory / "edgevlm.yaml"
        path.write_text(_configuration(cameras.urls, broker, section), encoding="utf-8")
        daemon = Daemon(load(path).config, state_directory=directory)
        kind = "an embedded broker" if broker.embedded else "the broker"
        _say(f"cameras: {', '.join(cameras.urls.values())}")
        _say(f"MQTT: {kind} on {broker.host}:{broker.port}, topics edgevlm/demo/#")
        _say(f"configuration: {path}")
        if section["type"] == "embedded":
            _say("loading the OCR model …")
        return await _watch(daemon, directory, show)


def fresh_directory() -> Path:
    """Return a new directory for this run, named after the time of day.

    Raises:
        EdgevlmError: none can be made here.

    """
    now = datetime.fromtimestamp(SystemClock().utc_ns() / 1e9, UTC).astimezone()
    name = f"{now:%Y%m%d-%H%M%S}"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    try:
        DIRECTORY.mkdir(exist_ok=True)
        directory = next(path for path in map(DIRECTORY.joinpath, names) if not path.exists())
        directory.mkdir()
    except OSError as error:
        why = (error.strerror or "not a path").lower()
        raise EdgevlmError(f"no folder can be made for the demo: {error.filename}: {why}") from None
    return directory.absolute()


async def _watch(daemon: Daemon, directory: Path, show: Show) -> int:
    """Run the daemon, show each answer, and end by time or by Ctrl-C."""
    live = LiveTable() if sys.stdout.isatty() and not show.as_json else None
    outcomes: Counter[str] = Counter()
    async with Printer(daemon.counters) as printer:

        def take(document: Mapping[str, Any]) -> None:
            outcomes[document["outcome"]] += 1
            if show.as_json:
                printer.document(document)
            elif live is not None:
                live.take(document)
            else:
                printer.text(line(document))

        daemon.on_message = take
        with live or nullcontext():
            await _run(daemon, show.seconds)
        answers, asked = daemon.counters.total("answers"), daemon.counters.total("requests")
        if unanswered := _unanswered(daemon.counters):
            _say(unanswered)
        summary = f"{answers} answers, {asked} asked; files in {directory / 'results'}"
        (_say if show.as_json else printer.text)(summary)
    return EX_OK if outcomes["ok"] or outcomes["unknown"] else EX_FAILED


async def _run(daemon: Daemon, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop)

    def ready() -> None:
        if seconds is not None:
            loop.call_later(seconds, daemon.stop)

    await daemon.run(ready)


def _unanswered(counters: Counters) -> str:
    """Say what became of the questions that got no answer; nothing when there are none."""
    ends: Counter[str] = Counter()
    for name, dropped in counters.statistics()["drops"].items():
        stage, _, reason = name.partition("/")
        if stage in ("choose", "infer"):
            ends[reason] += sum(dropped.values())
    told = ", ".join(f"{number} {_REASONS.get(reason, reason)}" for reason, number in ends.items())
    return f"questions without an answer: {told}" if told else ""


async def _model(show: Show) -> dict[str, Any]:
    if show.base_url is None:
        return {"type": "embedded"}
    name = await name_at(show.base_url, show.model)
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
    return _HEAD + yaml.safe_dump(document, sort_keys=False)


def _every_few_secs() -> dict[str, Any]:
    """Return a trigger, a new one each time: YAML would write one that stands twice as an anchor."""
    return {"type": "interval", "every_secs": 3}


def _ocr_rules() -> dict[str, dict[str, Any]]:
    return {
        "press": {"gauge": {"trigger": _every_few_secs(), "task": {"type": "ocr"}}},
        "dock": {"label": {"trigger": _every_few_secs(), "task": {"type": "ocr"}}},
    }


def _model_rules() -> dict[str, dict[str, Any]]:
    fields = {
        "pressure_bar": {"type": "number", "min": 0, "description": "The number on the display, in bar"},
        "over_limit": {"type": "boolean", "description": "Whether the needle stands in the red zone"},
    }
    return {
        "press": {
            "gauge": {
                "trigger": _every_few_secs(),
                "task": {"type": "structured-answering", "output_structure": fields},
            }
        },
        "dock": {
            "passing": {
                "trigger": _every_few_secs(),
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
