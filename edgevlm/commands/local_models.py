"""Finds a model server: on this machine, where the usual programs listen by default, or where it is named."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from edgevlm.commands.question import Misuse
from edgevlm.errors import EdgevlmError
from edgevlm.runtime.redact import Redactor

USUAL_PORTS = {
    11434: "Ollama",
    8080: "llama.cpp",
    8000: "vLLM",
    1234: "LM Studio",
    30000: "SGLang",
}
_TIMEOUT = aiohttp.ClientTimeout(total=2.0, connect=0.5)
_NAMED_TIMEOUT = aiohttp.ClientTimeout(total=10.0, connect=5.0)
_MAX_BYTES = 1_000_000


class NothingAnswers(EdgevlmError):
    """No server is there; the message says where, and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server that answers `/models`."""

    program: str
    base_url: str
    models: tuple[str, ...]


async def find_local() -> list[Found]:
    """Return the servers that answer on 127.0.0.1, in the order of `USUAL_PORTS`."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=False) as session:
        asked = [
            _ask(session, program, f"http://127.0.0.1:{port}/v1") for port, program in USUAL_PORTS.items()
        ]
        return [found for found in await asyncio.gather(*asked) if found is not None]


async def name_at(base_url: str, model: str | None) -> str:
    """Return `model`, or the first that the server at `base_url` offers, when a server is there.

    Raises:
        Misuse: that is no URL.
        NothingAnswers: no server is there, or it does not say which models it has.

    """
    shown = _shown(base_url)
    if (wrong := _wrong_url(base_url)) is not None:
        raise Misuse(f"--base-url {shown}: {wrong}")
    offered = await _models_at(base_url, shown)  # also where one is named: it tells whether anybody is there
    name = model or next(iter(offered), "")
    if not name:
        raise NothingAnswers(f"{shown} does not say which models it has: name one with --model")
    return name


def _shown(base_url: str) -> str:
    """Return the URL without a login."""
    return Redactor().text(base_url)


def _wrong_url(text: str) -> str | None:
    if "://" not in text:
        return "no http:// in front"
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not text.startswith(("http://", "https://")) or not host:
        return "must be an http:// or https:// URL with a host, e.g. http://10.0.0.5:8000/v1"
    return None


async def _models_at(base_url: str, shown: str) -> tuple[str, ...]:
    """Return the models that a server offers; none when it does not say."""
    async with aiohttp.ClientSession(timeout=_NAMED_TIMEOUT, trust_env=False) as session:
        try:
            return await _models(session, base_url.rstrip("/").removesuffix("/chat/completions")) or ()
        except aiohttp.ClientSSLError:
            raise NothingAnswers(f"{shown}: no TLS connection can be made") from None
        except aiohttp.ClientConnectorError as error:
            raise NothingAnswers(f"nothing answers at {shown}: {_why(error)}") from None
        except aiohttp.ConnectionTimeoutError:
            raise NothingAnswers(f"nothing answers at {shown}: no connection in time") from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ()


def _why(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    words = os.strerror(number) if number and number > 0 else error.os_error.strerror
    return (words or "no connection").lower()


async def _ask(session: aiohttp.ClientSession, program: str, base_url: str) -> Found | None:
    try:
        models = await _models(session, base_url)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    return None if models is None else Found(program, base_url, models)


async def _models(session: aiohttp.ClientSession, base_url: str) -> tuple[str, ...] | None:
    async with session.get(f"{base_url}/models", allow_redirects=False) as response:
        if response.status != 200:
            return None
        return _names((await response.content.read(_MAX_BYTES)).decode(errors="replace"))


def _names(text: str) -> tuple[str, ...]:
    """Return the `id`s of an OpenAI model list."""
    try:
        entries = json.loads(text)["data"]
        return tuple(str(entry["id"]) for entry in entries)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
