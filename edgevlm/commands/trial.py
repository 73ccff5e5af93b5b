"""`edgevlm try`: from nothing to an answer in one command, through the very stages that the daemon runs.

A configuration is composed, written to a private directory, loaded like any other and run until its one
question is answered; so what `--save` writes is what has worked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgevlm.commands.compose import CAMERA, Composed, Wish, compose, model_section
from edgevlm.commands.local_models import USUAL_PORTS, find_local, name_at
from edgevlm.commands.question import Misuse
from edgevlm.commands.single import ask_once
from edgevlm.commands.unreadable import explained
from edgevlm.config.load import Loaded, load
from edgevlm.config.mistakes import InvalidConfig
from edgevlm.errors import ConfigError, EdgevlmError
from edgevlm.plan import camera_specs, plans_of
from edgevlm.publish.result import encode
from edgevlm.runtime import logs
from edgevlm.runtime.exits import EX_CONFIG, EX_FAILED, EX_OK, EX_USAGE
from edgevlm.runtime.redact import Redactor


class TrialFailed(EdgevlmError):
    """No answer; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom to ask, and how it was chosen."""

    section: dict[str, Any]
    told: str
    """A line for the user."""


def trial(wish: Wish, *, base_url: str | None, model: str | None, save: Path | None, as_json: bool) -> int:
    """Ask the one question and print its answer; return the exit code."""
    try:
        composed = compose(wish)
        if save is not None:
            _refuse_save(composed.files(save))
        endpoint = asyncio.run(_endpoint(wish, base_url, model))
        composed = composed.asking(endpoint.section)
        _say(endpoint.told)
        document = _answer(composed)
    except EdgevlmError as error:
        _say(str(error))
        return _exit_code(error)
    _print(document, as_json=as_json)
    if document["outcome"] == "error":
        return EX_FAILED
    return EX_OK if save is None else _save(composed, save)


def _exit_code(error: EdgevlmError) -> int:
    if isinstance(error, Misuse):
        return EX_USAGE
    return EX_CONFIG if isinstance(error, ConfigError) else EX_FAILED


def _refuse_save(paths: list[Path]) -> None:
    """Refuse a place where nothing can be saved, before anything is asked.

    Raises:
        Misuse: it says what is in the way.

    """
    for path in paths:
        if os.path.lexists(path):
            raise Misuse(f"{path} is there already: name another file to --save")
        if not path.parent.is_dir():
            raise Misuse(f"--save {path}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise Misuse(f"--save {path}: the folder {path.parent} cannot be written to")


def _save(composed: Composed, path: Path) -> int:
    try:
        composed.save(path)
    except OSError as error:
        _say(f"{error.filename or path} cannot be saved: {(error.strerror or 'not a path').lower()}")
        return EX_FAILED
    _say(f"saved as {path}: run it with  edgevlm run -c {path}")
    return EX_OK


async def _endpoint(wish: Wish, base_url: str | None, model: str | None) -> Endpoint:
    """Return the model that was named, or one that listens on this machine, or the embedded one for OCR."""
    if base_url is not None:
        name = await name_at(base_url, model)
        return Endpoint(model_section(base_url, name), f"asking {name} at {Redactor().text(base_url)}")
    for found in await find_local():
        chosen = model or next(iter(found.models), None)
        if chosen is not None:
            told = f"found {found.program} at {found.base_url}: asking {chosen}"
            return Endpoint(model_section(found.base_url, chosen), told)
    if wish.task == "ocr" and find_spec("rapidocr") is not None:
        return Endpoint({"type": "embedded"}, "no model server found: reading with the embedded OCR")
    raise TrialFailed(_no_server(wish.task))


def _no_server(task: str) -> str:
    looked = ", ".join(f"{port} ({program})" for port, program in USUAL_PORTS.items())
    ocr = "" if task == "ocr" else " --task ocr works without a server."
    extra = "" if find_spec("rapidocr") is not None else " (needs: pip install 'edgevlm[ocr]')"
    return (
        f"no model server found on this machine: looked at ports {looked}.\n"
        f"Start one, or name one with --base-url http://HOST:PORT/v1 --model NAME.{ocr}{extra}"
    )


def _answer(composed: Composed) -> dict[str, Any]:
    """Load the composed configuration and ask its one question; return the result document."""
    with tempfile.TemporaryDirectory(prefix="edgevlm-try-") as directory:
        path = Path(directory) / "edgevlm.yaml"
        composed.write(path)
        loaded = _load(path)
    logs.configure(redactor=Redactor(loaded.secrets), level="error")
    (plan,) = plans_of(loaded.config, CAMERA).values()
    cameras = camera_specs(loaded.config)
    return explained(asyncio.run(ask_once(loaded.config, plan, cameras)), cameras)


def _load(path: Path) -> Loaded:
    """Read it; mistakes are told without their places in a file that is soon gone."""
    try:
        return load(path)
    except InvalidConfig as error:
        told = (f"{mistake.path}: {mistake.message}; {mistake.hint}" for mistake in error.mistakes)
        raise ConfigError("\n".join(line.removesuffix("; ") for line in told)) from None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(encode(document) + b"\n")
        sys.stdout.buffer.flush()
        return
    sys.stdout.write(_text(document) + os.linesep)
    usage = document["usage"]
    took = f" in {usage['latency_ms'] / 1000:.1f} s" if usage["latency_ms"] is not None else ""
    tokens = (
        f", {usage['prompt_tokens']} + {usage['completion_tokens']} tokens" if usage["prompt_tokens"] else ""
    )
    _say(f"{document['task']}: {document['outcome']}{took}{tokens}")


def _text(document: dict[str, Any]) -> str:
    """Return the answer as a person would write it."""
    if document["outcome"] == "error":
        error = document["error"]
        who = "model" if error["code"] in ("invalid_answer", "empty_answer") else "server"
        raw = f"\nthe {who} said: {document['raw']}" if document["raw"] else ""
        return f"error: {error['message']}{raw}"
    if document["outcome"] == "unknown":
        return "unknown"
    value = document["value"]
    if document["task"] == "ocr":
        return str(value["text"]) or "(no text)"
    confidence = document["confidence"]
    sure = f"  (confidence {confidence['value']:.2f}, {confidence['source']})" if confidence else ""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + sure
