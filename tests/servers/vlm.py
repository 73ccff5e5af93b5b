"""A real HTTP server that plays an OpenAI-compatible model, strictly, by a script.

`async with VlmServer() as vlm` (or the fixture `vlm`) listens on a free port of 127.0.0.1. Each request is
checked as a strict server would and kept in `vlm.asked`; it is answered by the next reply of the script, or,
when that is used up, by `vlm.otherwise`: a fixed reply, or a function of what was asked.

    vlm.script(status(429, retry_after=1), say("dock is free"))
    vlm.otherwise = lambda asked: say(answers[asked.text])

A request that breaks the rules is answered 400 and stands in `vlm.violations`; the fixture then fails the
test at its end, unless the test has cleared the list.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest_asyncio
from aiohttp import web

KNOWN_FIELDS = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"}
    | {"stream", "stream_options", "response_format", "logprobs", "top_logprobs", "chat_template_kwargs"}
)
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


class Violation(Exception):
    """A request that a strict server refuses."""


class Refused(Exception):
    """A request that this vendor's server refuses, with the answer that it gives then."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(f"{code} {body}")
        self.code = code
        self.body = body


@dataclass(frozen=True)
class Asked:
    """One request, checked."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    path: str
    text: str
    """The user's text, all parts of it."""
    system: str | None
    pictures: tuple[bytes, ...]
    parts: tuple[str, ...]
    """The types of the content's parts, in order."""
    connection: int
    """Numbers the TCP connections from 1."""
    videos: tuple[bytes, ...] = ()

    @property
    def streamed(self) -> bool:
        return self.body.get("stream") is True


@dataclass(frozen=True)
class Reply:
    """How one request is answered."""

    play: Callable[[web.Request, Asked], Awaitable[web.StreamResponse]] = field(repr=False)
    name: str


class VlmServer:
    known_fields = KNOWN_FIELDS

    def __init__(
        self,
        *,
        path: str = "/v1/chat/completions",
        api_key: str | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.path = path
        self.api_key = api_key
        self.certificate = certificate
        """Certificate and key file; makes it https."""
        self.asked: list[Asked] = []
        self.violations: list[str] = []
        self.refused: list[Refused] = []
        self.dropped = 0
        """Requests whose client went away before it had its answer."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.models: dict[str, Any] | None = None
        """What GET …/models says; 404 when None. It is no question: neither counted nor judged."""
        self.models_wait: asyncio.Event | None = None
        """Holds that back until it is set."""
        self.otherwise: Reply | Callable[[Asked], Reply] = say("ok")
        self._script: deque[Reply] = deque()
        self._changed = asyncio.Condition()
        self._connections: dict[Any, int] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}{self.path.removesuffix('/chat/completions')}"

    def script(self, *replies: Reply) -> None:
        self._script.extend(replies)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64_000_000)
        app.router.add_route("*", "/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        tls = None
        if self.certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*self.certificate)
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse connections from now on; `__aenter__` again listens on the same port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def wait_until(self, true: Callable[[], bool]) -> None:
        """Return when `true()` holds; looked at on every request, answer and dropped client."""
        async with self._changed:
            await self._changed.wait_for(true)

    async def wait_asked(self, count: int) -> None:
        """Return when `count` requests have come in."""
        await self.wait_until(lambda: len(self.asked) >= count)

    # --- one request ------------------------------------------------------------------------------------

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            if self.models_wait is not None:
                await self.models_wait.wait()
            listed = request.path == self.path.replace("chat/completions", "models") and self.models
            return web.json_response(listed or _error("Not Found"), status=200 if listed else 404)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.dropped += 1
            raise
        finally:
            self.in_flight -= 1
            await self._tell()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = self._check(request, await request.read())
        except Violation as error:
            self.violations.append(str(error))
            return web.json_response({"error": {"message": str(error), "code": 400}}, status=400)
        except Refused as error:
            self.refused.append(error)
            return web.json_response(error.body, status=error.code)
        self.asked.append(asked)
        await self._tell()
        if self.api_key is not None and not self.knows_key(request):
            return await status(401, _error("Invalid API Key", type="authentication_error")).play(
                request, asked
            )
        return await self._next(asked).play(request, asked)

    def _next(self, asked: Asked) -> Reply:
        if self._script:
            return self._script.popleft()
        return self.otherwise if isinstance(self.otherwise, Reply) else self.otherwise(asked)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _check(self, request: web.Request, raw: bytes) -> Asked:
        _require(request.method == "POST", f"method {request.method}")
        _require(request.path == self.path, f"path {request.path}, not {self.path}")
        _require(request.content_type == "application/json", f"content type {request.content_type}")
        body = json.loads(raw)
        self.judge_request(request)
        self.judge(body)
        _check_fields(body, self.known_fields)
        system, user = _check_messages(body["messages"])
        content = user["content"]
        texts = [part["text"] for part in content if part["type"] == "text"]
        return Asked(
            body=body,
            headers=dict(request.headers),
            path=request.path_qs,
            text="\n".join(texts),
            system=system,
            pictures=tuple(self.picture(part) for part in content if part["type"] == "image_url"),
            videos=tuple(self.video(part) for part in content if part["type"] == "video_url"),
            parts=tuple(part["type"] for part in content),
            connection=self._number(request),
        )

    # --- what a vendor's server does in its own way ---------------------------------------------------------

    def judge(self, body: dict[str, Any]) -> None:
        """Raise `Refused` for what this vendor refuses."""

    def judge_request(self, request: web.Request) -> None:
        """The same, for what stands around the body."""

    def knows_key(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.api_key}"

    def picture(self, part: Mapping[str, Any]) -> bytes:
        return _check_picture(part)

    def video(self, part: Mapping[str, Any]) -> bytes:
        return _check_video(part)

    def _number(self, request: web.Request) -> int:
        peer = request.get_extra_info("peername")
        return self._connections.setdefault(peer, len(self._connections) + 1)


def _require(true: bool, message: str) -> None:
    if not true:
        raise Violation(message)


def _check_fields(body: Any, known: frozenset[str]) -> None:
    _require(isinstance(body, dict), "the body is no object")
    unknown = set(body) - known
    _require(not unknown, f"Unexpected fields in the request: {unknown}")
    _require(isinstance(body.get("model"), str) and bool(body["model"]), "model is no name")
    caps = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
    _require(len(caps) == 1 and type(caps[0]) is int and caps[0] > 0, f"max_tokens: {caps}")
    temperature = body.get("temperature", 0)
    _require(type(temperature) in (int, float) and 0 <= temperature <= 2, f"temperature {temperature}")
    _require(body.get("stream", True) is True, "stream is sent, but is not true")
    _require("stream" in body or "stream_options" not in body, "stream_options without stream")
    if "response_format" in body:
        _check_format(body["response_format"])


def _check_format(wanted: Any) -> None:
    kind = wanted.get("type")
    _require(kind in ("json_schema", "json_object"), f"response_format.type {kind}")
    if kind == "json_schema":
        inner = wanted.get("json_schema")
        _require(isinstance(inner, dict) and {"name", "schema"} <= set(inner), "response_format.json_schema")
        _require(inner["schema"].get("type") == "object", "the schema's root is no object")


def _check_messages(messages: Any) -> tuple[str | None, dict[str, Any]]:
    _require(isinstance(messages, list) and bool(messages), "messages is empty")
    roles = [message.get("role") for message in messages]
    _require(roles in (["user"], ["system", "user"]), f"roles {roles}")
    user = messages[-1]
    _require(isinstance(user["content"], list), "content is no array")
    known = all(part.get("type") in ("text", "image_url", "video_url") for part in user["content"])
    _require(known, "content has a part of an unknown type")
    return (messages[0]["content"] if len(messages) == 2 else None), user


def _check_picture(part: Mapping[str, Any]) -> bytes:
    url = part["image_url"]["url"]
    head, _, data = url.partition(",")
    _require(head == "data:image/jpeg;base64", f"picture is {head[:60]}")
    try:
        jpeg = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Violation(f"picture: {error}") from error
    _require(jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9"), "picture is no whole JPEG")
    return jpeg


def _check_video(part: Mapping[str, Any]) -> bytes:
    _require(set(part) == {"type", "video_url"} and set(part["video_url"]) == {"url"}, "video_url's fields")
    head, _, data = part["video_url"]["url"].partition(",")
    _require(head == "data:video/mp4;base64", f"video is {head[:60]}")
    try:
        mp4 = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Violation(f"video: {error}") from error
    _require(mp4[4:8] == b"ftyp" and b"moov" in mp4 and b"mdat" in mp4, "video is no whole MP4")
    return mp4


# --- replies ----------------------------------------------------------------------------------------------


def say(
    text: str | None,
    *,
    stream: bool | None = None,
    finish_reason: str | None = "stop",
    usage: Mapping[str, Any] | None = USAGE,
    done: bool = True,
    reasoning: str | None = None,
    message: Mapping[str, Any] | None = None,
    linger: bool = False,
    logprobs: list[tuple[str, float]] | None = None,
    comments: bool = False,
) -> Reply:
    """Answer with `text`: as events or as one document, whatever `stream` says, or as it was asked for.

    `logprobs` go out where they were asked for; `comments` puts OpenRouter's keep-alive between the events.

    With `linger` a stream stays open after its last event, as some servers leave it.
    """

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        said = {"content": text, **({"reasoning": reasoning} if reasoning else {}), **(message or {})}
        if not (asked.streamed if stream is None else stream):
            choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish_reason}
            if logprobs and asked.body.get("logprobs"):
                choice["logprobs"] = _logprobs(logprobs)
            return web.json_response(_completion([choice], asked, usage))
        response = await _start_stream(request)
        for event in _events(said, asked, finish_reason, usage):
            await response.write(b": OPENROUTER PROCESSING\n\n" if comments else b"")
            await response.write(_event(event))
            if logprobs and asked.body.get("logprobs") and event["choices"]:
                chunk = {"index": 0, "delta": {}, "logprobs": _logprobs(logprobs), "finish_reason": None}
                await response.write(_event(_chunk([chunk], asked)))
                logprobs.clear()
        if done:
            await response.write(b"data: [DONE]\n\n")
        if linger:
            await _for_ever()
        return response

    return Reply(play, f"say {text!r}")


def _events(
    said: dict[str, Any], asked: Asked, finish_reason: str | None, usage: Mapping[str, Any] | None
) -> Iterator[dict[str, Any]]:
    yield _chunk(
        [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}], asked
    )
    for name, text in said.items():
        step = max(7, len(text or "") // 1000)
        for at in range(0, len(text or ""), step):
            delta = {name: text[at : at + step]}
            yield _chunk([{"index": 0, "delta": delta, "finish_reason": None}], asked)
    if finish_reason is not None:
        yield _chunk([{"index": 0, "delta": {}, "finish_reason": finish_reason}], asked)
    if usage is not None and asked.body.get("stream_options"):
        yield {**_chunk([], asked), "usage": usage}


def _logprobs(tokens: list[tuple[str, float]]) -> dict[str, Any]:
    return {"content": [{"token": text, "logprob": value, "top_logprobs": []} for text, value in tokens]}


def _completion(
    choices: list[dict[str, Any]], asked: Asked, usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    document = {"id": "c-1", "object": "chat.completion", "model": asked.body["model"], "choices": choices}
    return document if usage is None else {**document, "usage": usage}


def _chunk(choices: list[dict[str, Any]], asked: Asked) -> dict[str, Any]:
    return {"id": "c-1", "object": "chat.completion.chunk", "model": asked.body["model"], "choices": choices}


def status(
    code: int,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    retry_after: float | str | None = None,
    content_type: str | None = None,
    then_close: bool = False,
) -> Reply:
    """Answer with a status; a dict or list goes out as JSON, a text as it is.

    With `then_close` the connection is closed after it without a word, as uvicorn does after a 500.
    """

    async def play(request: web.Request, _asked: Asked) -> web.StreamResponse:
        sent = dict(headers or {})
        if retry_after is not None:
            sent["Retry-After"] = str(retry_after)
        as_json = isinstance(body, dict | list)
        text = json.dumps(body) if as_json else (body or "")
        kind = content_type or ("application/json" if as_json else "text/plain")
        response = web.Response(status=code, text=text, headers=sent, content_type=kind)
        if then_close:
            await response.prepare(request)
            await response.write_eof()
            _cut(request)
        return response

    return Reply(play, f"status {code}")


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def raw(body: bytes, *, content_type: str = "application/json", code: int = 200) -> Reply:
    """Answer with these bytes, whatever they are."""

    async def play(_request: web.Request, _asked: Asked) -> web.StreamResponse:
        return web.Response(status=code, body=body, content_type=content_type)

    return Reply(play, f"raw {content_type}")


def events(*chunks: Mapping[str, Any] | str, done: bool = True) -> Reply:
    """Answer with these events: a mapping goes out as JSON, a text as the lines that it is."""

    async def play(request: web.Request, _asked: Asked) -> web.StreamResponse:
        response = await _start_stream(request)
        for chunk in chunks:
            await response.write(chunk.encode() if isinstance(chunk, str) else _event(chunk))
        if done:
            await response.write(b"data: [DONE]\n\n")
        return response

    return Reply(play, "events")


def html(title: str = "502 Bad Gateway", *, code: int = 200) -> Reply:
    """Answer with a proxy's web page."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return raw(page.encode(), content_type="text/html", code=code)


def silence() -> Reply:
    """Never answer."""

    async def play(_request: web.Request, _asked: Asked) -> web.StreamResponse:
        return await _for_ever()

    return Reply(play, "silence")


def held(until: asyncio.Event, then: Reply) -> Reply:
    """Answer when the test says so."""

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        await until.wait()
        return await then.play(request, asked)

    return Reply(play, f"held {then.name}")


def drip(text: str = "drip ", *, every_secs: float = 0.02) -> Reply:
    """Send a little of a stream now and then, without an end."""
    return _endless(text, every_secs)


def endless(code: int = 200) -> Reply:
    """Send a stream as fast as it goes, without an end."""
    return _endless("x" * 4000, 0.0, code)


def _endless(text: str, every_secs: float, code: int = 200) -> Reply:
    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        response = await _start_stream(request, code)
        while True:
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            await response.write(_event(_chunk([choice], asked)))
            await asyncio.sleep(every_secs)

    return Reply(play, "endless")


def cut(text: str = "half an ans", *, stream: bool = True) -> Reply:
    """Close the connection in the middle of the answer."""

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        if stream:
            response = await _start_stream(request)
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            await response.write(_event(_chunk([choice], asked)))
        else:
            response = web.StreamResponse(
                headers={"Content-Length": "5000", "Content-Type": "application/json"}
            )
            await response.prepare(request)
            await response.write(b'{"choices": [{"message": {"content": "' + text.encode())
        _cut(request)
        return response

    return Reply(play, "cut")


def cut_after(reply: Reply) -> Reply:
    """Answer, but close the connection where the body's end would be told."""

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        response = await reply.play(request, asked)
        _cut(request)
        return response

    return Reply(play, f"cut after {reply.name}")


def vanish() -> Reply:
    """Close the connection without a byte of an answer, as on a stale keep-alive."""

    async def play(request: web.Request, _asked: Asked) -> web.StreamResponse:
        _cut(request)
        return await _for_ever()

    return Reply(play, "vanish")


def bomb(size: int = 300_000_000) -> Reply:
    """Answer with a small gzip body that becomes `size` bytes."""

    async def play(_request: web.Request, _asked: Asked) -> web.StreamResponse:
        packer = zlib.compressobj(wbits=31)
        packed = b"".join(packer.compress(bytes(100_000)) for _ in range(size // 100_000)) + packer.flush()
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=packed, headers=headers, content_type="application/json")

    return Reply(play, "bomb")


def _event(document: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


async def _start_stream(request: web.Request, code: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=code, headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _for_ever() -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest_asyncio.fixture
async def vlm() -> AsyncIterator[VlmServer]:
    """A strict OpenAI-compatible server; fails the test if it was asked what it must not be asked."""
    async with VlmServer() as server:
        yield server
    assert server.violations == []
