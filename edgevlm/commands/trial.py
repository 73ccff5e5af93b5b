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
from edgevlm.commands.local_models import USUAL_PORTS, find_local, models_at
from edgevlm.commands.single import ask_once
from edgevlm.config.load import load
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
    if save is not None and save.exists():
        sys.stderr.write(f"{save} is there already: name another file to --save\n")
        return EX_USAGE
    try:
        endpoint = asyncio.run(_endpoint(wish, base_url, model))
        composed = compose(wish, endpoint.section)
        _say(endpoint.told)
        document = _answer(composed)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    except EdgevlmError as error:
        sys.stderr.write(f"{error}\n")
        return EX_FAILED
    _print(document, as_json=as_json)
    if document["outcome"] == "error":
        return EX_FAILED
    if save is not None:
        composed.save(save)
        _say(f"saved as {save}: run it with  edgevlm run -c {save}")
    return EX_OK


async def _endpoint(wish: Wish, base_url: str | None, model: str | None) -> Endpoint:
    """Return the model that was named, or one that listens on this machine, or the embedded one for OCR."""
    if base_url is not None:
        name = model or next(iter(await models_at(base_url)), None)
        if name is None:
            raise TrialFailed(f"{base_url} does not say which models it has: name one with --model")
        return Endpoint(model_section(base_url, name), f"asking {name} at {base_url}")
    for found in await find_local():
        name = model or next(iter(found.models), None)
        if name is not None:
            told = f"found {found.program} at {found.base_url}: asking {name}"
            return Endpoint(model_section(found.base_url, name), told)
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
        loaded = load(path)
    logs.configure(redactor=Redactor(loaded.secrets), level="error")
    (plan,) = plans_of(loaded.config, CAMERA).values()
    return asyncio.run(ask_once(loaded.config, plan, camera_specs(loaded.config)))


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
    took = f"{usage['latency_ms'] / 1000:.1f} s" if usage["latency_ms"] is not None else "?"
    tokens = (
        f", {usage['prompt_tokens']} + {usage['completion_tokens']} tokens" if usage["prompt_tokens"] else ""
    )
    _say(f"{document['task']}: {document['outcome']} in {took}{tokens}")


def _text(document: dict[str, Any]) -> str:
    """Return the answer as a person would write it."""
    if document["outcome"] == "error":
        raw = f"\nthe model said: {document['raw']}" if document["raw"] else ""
        return f"error: {document['error']['message']}{raw}"
    if document["outcome"] == "unknown":
        return "unknown"
    value = document["value"]
    if document["task"] == "ocr":
        return str(value["text"]) or "(no text)"
    confidence = document["confidence"]
    sure = f"  (confidence {confidence['value']:.2f}, {confidence['source']})" if confidence else ""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + sure
