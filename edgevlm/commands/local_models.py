"""Finds a model server on this machine, where the usual programs listen by default."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp

USUAL_PORTS = {
    11434: "Ollama",
    8080: "llama.cpp",
    8000: "vLLM",
    1234: "LM Studio",
    30000: "SGLang",
}
_TIMEOUT = aiohttp.ClientTimeout(total=2.0, connect=0.5)
_MAX_BYTES = 1_000_000


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


async def models_at(base_url: str) -> tuple[str, ...]:
    """Return the models that the server at `base_url` offers; none when it does not say."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=False) as session:
        found = await _ask(session, "", base_url.rstrip("/"))
        return found.models if found else ()


async def _ask(session: aiohttp.ClientSession, program: str, base_url: str) -> Found | None:
    try:
        async with session.get(f"{base_url}/models", allow_redirects=False) as response:
            if response.status != 200:
                return None
            text = (await response.content.read(_MAX_BYTES)).decode(errors="replace")
        return Found(program, base_url, _names(text))
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _names(text: str) -> tuple[str, ...]:
    """Return the `id`s of an OpenAI model list."""
    try:
        entries = json.loads(text)["data"]
        return tuple(str(entry["id"]) for entry in entries)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
