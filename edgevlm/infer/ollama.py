"""The backend for Ollama by its own `/api/chat`.

Its OpenAI-compatible route cannot set the context's length, and the default is too short for a picture; so
this one is spoken. The stream is JSON lines, an error is a string, pictures are bare base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from edgevlm.errors import BadAnswer, EmptyAnswer, ModelTimeout, ModelUnreachable, TooLarge
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.capabilities import abilities_for, thinks
from edgevlm.infer.config import OllamaConfig
from edgevlm.infer.dialect import Takes, below, merged
from edgevlm.infer.lines import Lines
from edgevlm.infer.openai_api import TASKS
from edgevlm.infer.pictures import settled
from edgevlm.infer.probe import Finding, look
from edgevlm.infer.refusal import RAW_CHARS, classify, read_refusal
from edgevlm.infer.servers import redactor_for, server_for
from edgevlm.infer.wire import ANSWER_BYTES, STREAM_BYTES, Reply
from edgevlm.records import Picture, Usage
from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.redact import Redactor

log = structlog.get_logger(stage="infer")


class OllamaBackend:
    """One model of one Ollama; used on the event loop."""

    type: str = "ollama"

    def __init__(self, name: str, config: OllamaConfig, *, clock: Clock | None = None) -> None:
        self.name = name
        self.model = config.model
        self.max_concurrent_requests = config.max_concurrent_requests
        self.abilities = abilities_for(config)
        self.thinks = thinks(config)
        self._config = config
        self._takes = Takes(stream=config.stream)
        self._clock = SystemClock() if clock is None else clock
        self._redactor = redactor_for(config)
        self._server = server_for(name, config)
        self._probing: asyncio.Task[Finding] | None = None

    async def open(self) -> None:
        """Prepare sessions and begin to look at the server; one that is away is no error."""
        await self._server.open()
        looking = look(self.name, self._server, self._config, self._redactor)
        self._probing = asyncio.create_task(looking, name=f"edgevlm[{self.name}].probe")

    async def close(self) -> None:
        """Close every connection."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self._server.close()

    def tasks(self) -> frozenset[str]:
        """Return all nine: what a model cannot do shows in its answers."""
        return TASKS

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        """Make one attempt of at most `timeout_secs` or the configured timeout, whichever is shorter."""
        limit_secs = min(timeout_secs, self._config.timeout_secs)
        answer = _Answer(self._redactor)
        images = [base64.b64encode(picture.jpeg).decode() for picture in pictures]
        started_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(limit_secs):
                await self._exchange(prompt, images, answer)
        except TimeoutError:
            said = answer.text[:RAW_CHARS] or None
            raise ModelTimeout(f"no whole answer within {limit_secs:.3g} s", raw=said) from None
        completion = answer.completion((self._clock.monotonic_ns() - started_ns) / 1e6)
        usage = settled(completion.usage, self.abilities, prompt, pictures, completion.text)
        return replace(completion, usage=usage)

    async def _exchange(self, prompt: Prompt, images: list[str], answer: _Answer) -> None:
        """Ask, giving up what the server refuses, until it answers or refuses for another reason."""
        while True:
            takes = self._takes
            async with self._server.post("api/chat", self._body(prompt, images, takes)) as reply:
                if reply.status == 200:
                    return await _read(reply, answer)
                body = await reply.head()
            refusal = read_refusal(reply.status, body, reply.headers, redactor=self._redactor)
            left = _without(takes, refusal.words) if refusal.status == 400 else takes
            if left == takes:
                raise refusal.error()
            self._takes = self._takes.less(left)
            log.warning(
                "the server does not take a field; asking without it",
                model=self.name,
                field=left.given_up(takes),
                said=refusal.message,
            )

    def _body(self, prompt: Prompt, images: list[str], takes: Takes) -> bytes:
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt.user, "images": images}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        options: dict[str, Any] = {"num_ctx": self._config.num_ctx, "num_predict": prompt.max_tokens}
        if prompt.temperature is not None:
            options["temperature"] = prompt.temperature
        body = {
            "model": self.model,
            "messages": messages,
            "stream": takes.stream,
            "keep_alive": self._config.keep_alive_secs,
            "options": options,
        }
        if takes.thinking and self.abilities.thinking != "none":
            body["think"] = self.thinks
        if prompt.schema is not None and takes.format != "prompt":
            body["format"] = prompt.schema if takes.format == "json_schema" else "json"
        extra = {name: value for name, value in (prompt.extra_body or {}).items() if name != "messages"}
        return json.dumps(merged(body, extra), separators=(",", ":")).encode()


def _without(takes: Takes, words: str) -> Takes:
    """Return what is left when what an error complains about is given up; itself if it is something else."""
    if "does not support thinking" in words or "think value" in words:
        return replace(takes, thinking=False)
    if "format" in words or "grammar" in words or "schema" in words:
        return replace(takes, format=below(takes.format))
    return takes


async def _read(reply: Reply, answer: _Answer) -> None:
    """Read JSON lines, or the one document of a server that does not stream."""
    lines = Lines(ANSWER_BYTES)
    async for piece in reply.pieces(STREAM_BYTES):
        for line in lines.feed(piece):
            answer.add(line)
    for line in lines.end():
        answer.add(line)
    if not answer.done:
        if answer.seen:
            raise ModelUnreachable(
                "the stream ended before the answer did", raw=answer.text[:RAW_CHARS] or None
            )
        raise EmptyAnswer("the server answered with an empty body")


class _Answer:
    """One answer as it grows."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text: list[str] = []
        self._size = 0
        self._last: dict[str, Any] = {}
        self.seen = False

    @property
    def text(self) -> str:
        """What was said so far; what was thought is no part of it."""
        return "".join(self._text)

    @property
    def done(self) -> bool:
        """Nothing can follow."""
        return self._last.get("done") is True

    def add(self, line: bytes) -> None:
        """Take one line of the stream.

        Raises:
            InferError: it is an error, or not what it should be.

        """
        if not line.strip():
            return
        document = _document(line)
        if document is None:
            shown = self._redactor.text(line[:RAW_CHARS].decode(errors="replace"))
            raise BadAnswer("the server did not answer with JSON lines", raw=shown)
        if document.get("error"):
            error = classify(200, json.dumps(document).encode(), {}, redactor=self._redactor)
            error.raw = "\n".join(part for part in (self.text[:RAW_CHARS], error.raw) if part) or None
            raise error
        self.seen = True
        self._last = document
        message = document.get("message")
        self._say(message.get("content") if isinstance(message, dict) else None)

    def _say(self, text: Any) -> None:
        if isinstance(text, str):
            self._size += len(text)
            if self._size > ANSWER_BYTES:
                raise TooLarge(
                    f"the answer is longer than {ANSWER_BYTES} characters", raw=self.text[:RAW_CHARS]
                )
            self._text.append(text)

    def completion(self, latency_ms: float) -> Completion:
        """Return the whole."""
        reason, model = self._last.get("done_reason"), self._last.get("model")
        return Completion(
            text=self.text,
            finish_reason=reason if isinstance(reason, str) else None,
            usage=Usage(
                prompt_tokens=_count(self._last.get("prompt_eval_count")),
                completion_tokens=_count(self._last.get("eval_count")),
                latency_ms=latency_ms,
            ),
            model=model if isinstance(model, str) else None,
        )


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line, strict=False)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
