"""The backend for every server with `/chat/completions`.

Asks with `stream: true`, since dropping a stream is what frees a server; the reply's Content-Type decides
how it is read, whatever was asked for. What the server was found not to take is remembered for as long as
the backend lives, which is as long as its endpoint and model stay the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from edgevlm.errors import BadAnswer, EmptyAnswer, ModelTimeout, ModelUnreachable
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.chat import Transcript
from edgevlm.infer.config import OpenAICompatibleConfig
from edgevlm.infer.dialect import ChatQuestion, Dialect
from edgevlm.infer.lines import Events
from edgevlm.infer.refusal import RAW_CHARS, read_refusal
from edgevlm.infer.wire import ANSWER_BYTES, STREAM_BYTES, ModelServer, Reply
from edgevlm.records import Picture
from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.redact import Redactor

GRACE_SECS = 2.0
"""How long a finished answer may keep the connection open: for its usage, or because the server forgot."""

TASKS = frozenset(
    {
        "unconstrained",
        "ocr",
        "visual-question-answering",
        "caption",
        "detailed-caption",
        "classification",
        "multi-label-classification",
        "object-detection",
        "structured-answering",
    }
)

log = structlog.get_logger(stage="infer")


class OpenAIBackend:
    """One endpoint and model; used on the event loop."""

    type: str = "openai-compatible"

    def __init__(
        self,
        name: str,
        config: OpenAICompatibleConfig,
        *,
        dialect: Dialect | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.model = config.model
        self.max_concurrent_requests = config.max_concurrent_requests
        self._timeout_secs = config.timeout_secs
        self._dialect = Dialect() if dialect is None else dialect
        self._takes = self._dialect.takes
        self._clock = SystemClock() if clock is None else clock
        self._redactor = Redactor([config.api_key.reveal()] if config.api_key else [])
        self._server = ModelServer(
            name,
            config.base_url,
            api_key=config.api_key,
            ca_file=config.ca_file,
            connections=config.max_concurrent_requests,
        )

    async def open(self) -> None:
        """Prepare sessions; a server that is away is no error."""
        await self._server.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()

    def tasks(self) -> frozenset[str]:
        """Return all nine: what a model cannot do shows in its answers."""
        return TASKS

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        """Make one attempt of at most `timeout_secs` or the configured timeout, whichever is shorter."""
        question = ChatQuestion(self.model, prompt, pictures, self._dialect)
        transcript = Transcript(self._redactor, self._dialect.meanings)
        limit_secs = min(timeout_secs, self._timeout_secs)
        started_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(limit_secs) as limit:
                await self._exchange(question, transcript, limit)
        except TimeoutError:
            if not transcript.finished:
                raise ModelTimeout(
                    f"no whole answer within {limit_secs:.3g} s", raw=transcript.text[:RAW_CHARS] or None
                ) from None
        except ModelUnreachable as error:
            if not transcript.finished:
                error.raw = error.raw or transcript.text[:RAW_CHARS] or None
                raise
        return transcript.completion((self._clock.monotonic_ns() - started_ns) / 1e6)

    async def _exchange(self, question: ChatQuestion, transcript: Transcript, limit: asyncio.Timeout) -> None:
        """Ask, giving up what the server refuses, until it answers or refuses for another reason."""
        while True:
            takes = self._takes
            async with self._server.post("chat/completions", question.body(takes)) as reply:
                if reply.status // 100 == 2:
                    return await self._read(reply, transcript, limit)
                body = await reply.head()
            refusal = read_refusal(reply.status, body, reply.headers, redactor=self._redactor)
            left = takes.without(refusal)
            if left == takes:
                raise refusal.error(self._dialect.meanings)
            self._takes = self._takes.less(left)
            log.warning(
                "the server does not take a field; asking without it",
                model=self.name,
                field=left.given_up(takes),
                said=refusal.message,
            )

    async def _read(self, reply: Reply, transcript: Transcript, limit: asyncio.Timeout) -> None:
        if reply.content_type == "text/event-stream":
            return await self._read_stream(reply, transcript, limit)
        body = await reply.whole()
        if not body.strip():
            raise EmptyAnswer("the server answered with an empty body")
        if reply.content_type == "text/html":
            shown = self._redactor.text(body.decode(errors="replace"))
            raise BadAnswer("the server answered with a web page", raw=shown[:RAW_CHARS])
        return transcript.add(body)

    async def _read_stream(self, reply: Reply, transcript: Transcript, limit: asyncio.Timeout) -> None:
        events = Events(ANSWER_BYTES)
        async for piece in reply.pieces(STREAM_BYTES):
            for event in events.feed(piece):
                transcript.add_event(event)
            if transcript.finished:
                _shorten(limit, GRACE_SECS)
        for event in events.end():
            transcript.add_event(event)
        if not transcript.finished:
            raise ModelUnreachable("the stream ended before the answer did")


def _shorten(limit: asyncio.Timeout, secs: float) -> None:
    when = limit.when()
    latest = asyncio.get_running_loop().time() + secs
    if when is None or latest < when:
        limit.reschedule(latest)
