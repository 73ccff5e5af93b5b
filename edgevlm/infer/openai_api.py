"""The backend for every server with `/chat/completions`.

Asks with `stream: true`, since dropping a stream is what frees a server; the reply's Content-Type decides
how it is read, whatever was asked for. What the server was found not to take is remembered for as long as
the backend lives, which is as long as its endpoint and model stay the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from edgevlm.errors import BadAnswer, EmptyAnswer, ModelTimeout, ModelUnreachable
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.capabilities import abilities_for, thinks
from edgevlm.infer.chat import Transcript
from edgevlm.infer.config import ChatConfig
from edgevlm.infer.dialect import ChatQuestion, Dialect, link_part, picture_part, video_part
from edgevlm.infer.frame_url import FrameUrls
from edgevlm.infer.lines import Events
from edgevlm.infer.pictures import settled
from edgevlm.infer.probe import look
from edgevlm.infer.refusal import RAW_CHARS, read_refusal
from edgevlm.infer.servers import redactor_for, server_for
from edgevlm.infer.wire import ANSWER_BYTES, STREAM_BYTES, Reply
from edgevlm.records import Picture
from edgevlm.runtime.clock import Clock, SystemClock

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

CLOSED_TASKS = frozenset({"classification", "visual-question-answering"})
"""Tasks whose value is one of a set: the probabilities of its tokens are those of the value."""

log = structlog.get_logger(stage="infer")


class OpenAIBackend:
    """One endpoint and model; used on the event loop."""

    def __init__(
        self,
        name: str,
        config: ChatConfig,
        *,
        dialect: Dialect | None = None,
        frame_urls: FrameUrls | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.type: str = config.type
        self.model = config.model
        self.max_concurrent_requests = config.max_concurrent_requests
        self.abilities = abilities_for(config)
        self.thinks = thinks(config)
        self._timeout_secs = config.timeout_secs
        self._dialect = Dialect() if dialect is None else dialect
        self._takes = self._dialect.takes
        self._frame_urls = frame_urls
        self._gives_logprobs = self.abilities.logprobs is True
        self._probing: asyncio.Task[None] | None = None
        self._clock = SystemClock() if clock is None else clock
        self._config = config
        self._redactor = redactor_for(config)
        self._server = server_for(name, config)

    async def open(self) -> None:
        """Prepare sessions and begin to look at the server; one that is away is no error."""
        await self._server.open()
        if self._frame_urls is not None:
            await self._frame_urls.open()
        self._probing = asyncio.create_task(self._look(), name=f"edgevlm[{self.name}].probe")

    async def close(self) -> None:
        """Close every connection."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        if self._frame_urls is not None:
            await self._frame_urls.close()
        await self._server.close()

    async def _look(self) -> None:
        """Learn what can be learnt without a question; nobody waits for it."""
        finding = await look(self.name, self._server, self._config, self._redactor)
        self._gives_logprobs = self._gives_logprobs or finding.logprobs

    def tasks(self) -> frozenset[str]:
        """Return all nine: what a model cannot do shows in its answers."""
        return TASKS

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        """Make one attempt of at most `timeout_secs` or the configured timeout, whichever is shorter."""
        transcript = Transcript(self._redactor, self._dialect.meanings, cost_usd=self._dialect.cost_usd)
        limit_secs = min(timeout_secs, self._timeout_secs)
        started_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(limit_secs) as limit, self._shown(prompt, pictures) as parts:
                question = self._question(prompt, parts)
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
        completion = transcript.completion((self._clock.monotonic_ns() - started_ns) / 1e6)
        usage = settled(completion.usage, self.abilities, prompt, pictures, completion.text)
        return replace(completion, usage=usage)

    def _question(self, prompt: Prompt, parts: Sequence[bytes]) -> ChatQuestion:
        wanted = {"always": True, "never": False, "auto": self._gives_logprobs}[self._dialect.logprobs]
        closed = prompt.task in CLOSED_TASKS and prompt.schema is not None
        return ChatQuestion(self.model, prompt, parts, self._dialect, logprobs=wanted and closed)

    @asynccontextmanager
    async def _shown(self, prompt: Prompt, pictures: Sequence[Picture]) -> AsyncIterator[list[bytes]]:
        """Yield what is asked about as parts of the question; what lies elsewhere for it is gone after."""
        if prompt.clip is not None:
            yield [video_part(prompt.clip)]
            return
        if self._frame_urls is None:
            yield [picture_part(picture) for picture in pictures]
            return
        async with self._frame_urls.offered(pictures) as urls:
            yield [link_part(url) for url in urls]

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
