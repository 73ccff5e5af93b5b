"""Ollama's own route: what is read, what is learnt, how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgevlm.errors import (
    BadAnswer,
    EmptyAnswer,
    InferError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    TooLarge,
)
from edgevlm.infer.backend import Completion
from edgevlm.infer.config import OllamaConfig
from edgevlm.infer.ollama import OllamaBackend
from tests.infer.drawn import SCHEMA, picture, prompt
from tests.servers.vendors import OllamaServer, lines, ollama_says
from tests.servers.vlm import Reply, cut, drip, endless, silence, status


@asynccontextmanager
async def ollama(server: OllamaServer, **options: Any) -> AsyncIterator[OllamaBackend]:
    values = {"model": "toy", "base_url": server.base_url, **options}
    backend = OllamaBackend("m", OllamaConfig(type="ollama", **values))
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def ask(backend: OllamaBackend, *, timeout_secs: float = 5.0, **what: Any) -> Completion:
    return await backend.ask(prompt(**what), [picture()], timeout_secs=timeout_secs)


async def failure(*replies: Reply, timeout_secs: float = 5.0, **options: Any) -> InferError:
    async with OllamaServer() as server, ollama(server, **options) as backend:
        server.script(*replies)
        with pytest.raises(InferError) as caught:
            await ask(backend, timeout_secs=timeout_secs)
        return caught.value


@pytest.mark.parametrize("stream", [True, False])
async def test_lines_and_one_document_give_the_same_completion(stream: bool) -> None:
    async with OllamaServer() as server, ollama(server, stream=stream) as backend:
        server.otherwise = ollama_says("The gate is open.", thinking="Let me see …")
        got = await ask(backend)
        assert server.asked[0].streamed is stream
    assert (got.text, got.finish_reason, got.model) == ("The gate is open.", "stop", "toy")
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (900, 7)


async def test_an_answer_that_was_cut_off_says_so() -> None:
    async with OllamaServer() as server, ollama(server) as backend:
        server.otherwise = ollama_says("The ga", done_reason="length")
        assert (await ask(backend)).finish_reason == "length"


async def test_a_model_that_thinks_only_when_told() -> None:
    async with OllamaServer(thinks=True) as server, ollama(server, thinking="enabled") as backend:
        server.otherwise = ollama_says("ok")
        await ask(backend)
        assert server.asked[0].body["think"] is True
    async with OllamaServer(thinks=False) as server, ollama(server, thinking="enabled") as backend:
        server.otherwise = ollama_says("ok")
        await ask(backend)
        assert "think" not in server.asked[0].body
        assert len(server.refused) == 1


async def test_a_schema_that_is_refused_is_given_up_step_by_step() -> None:
    def without_schemas(asked: Any) -> Reply:
        return status(400, {"error": "failed to load model vocabulary required for format"})

    async with OllamaServer() as server, ollama(server) as backend:
        server.script(without_schemas(None), without_schemas(None), ollama_says("{}"))
        await ask(backend, schema=dict(SCHEMA))
        assert [asked.body.get("format") for asked in server.asked] == [SCHEMA, "json", None]


async def test_options_of_the_user_are_added_to_ours() -> None:
    async with OllamaServer() as server, ollama(server) as backend:
        server.otherwise = ollama_says("ok")
        await ask(backend, extra_body={"options": {"num_ctx": 4096}, "messages": []})
        assert server.asked[0].body["options"] == {"num_ctx": 4096, "num_predict": 64, "temperature": 0.0}
        assert server.asked[0].text == "What is it?"


BUSY = {"error": "server busy, please try again. maximum pending requests exceeded"}
LONG = {"message": {"content": "x" * 900_000}, "done": False}
HALF = {"model": "toy", "message": {"content": "half an ans"}, "done": False}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(404, {"error": "model 'toy' not found, try pulling it first"}), ModelRefused),
        (status(500, {"error": "model runner has unexpectedly stopped"}), ModelUnreachable),
        (status(503, BUSY), ModelOverloaded),
        (status(400, {"error": "request (4165 tokens) exceeds the available context size (4096)"}), TooLarge),
        (lines(HALF, {"error": "an error was encountered while running the model"}), ModelUnreachable),
        (lines(HALF), ModelUnreachable),
        (lines("<html>"), BadAnswer),
        (lines(), EmptyAnswer),
        (lines("[1]"), BadAnswer),
        (lines(LONG, LONG), TooLarge),
        (endless(), BadAnswer),
        (cut(), BadAnswer),
    ],
)
async def test_each_failure_becomes_its_error(reply: Reply, error: type[InferError]) -> None:
    assert type(await failure(reply)) is error


async def test_what_was_said_before_a_failure_is_kept() -> None:
    found = await failure(lines(HALF, {"error": "the runner stopped"}))
    assert found.raw is not None
    assert "half an ans" in found.raw


async def test_a_server_that_never_answers_is_a_timeout() -> None:
    assert type(await failure(silence(), timeout_secs=0.2)) is ModelTimeout
    assert type(await failure(drip(), timeout_secs=0.3)) in (ModelTimeout, BadAnswer)


async def test_a_server_that_is_away_is_unreachable() -> None:
    server = OllamaServer()
    async with server:
        base_url = server.base_url
    backend = OllamaBackend("m", OllamaConfig(type="ollama", model="toy", base_url=base_url))
    await backend.open()
    with pytest.raises(ModelUnreachable):
        await ask(backend)
    await backend.close()


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/api", "/api/chat"])
def test_its_address_is_taken_as_people_paste_it(end: str) -> None:
    config = OllamaConfig(type="ollama", model="toy", base_url=f"http://10.0.0.5:11434{end}")
    assert config.base_url == "http://10.0.0.5:11434"
