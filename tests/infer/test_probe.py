"""What servers tell of themselves before a question is asked, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from edgevlm.cli import app
from edgevlm.commands.connect import connect_models
from edgevlm.config.load import load
from edgevlm.infer.answer import read_answer
from edgevlm.infer.config import OllamaConfig, OpenAICompatibleConfig
from edgevlm.infer.openai_api import OpenAIBackend
from edgevlm.infer.probe import Finding, probe_endpoint, read_models
from edgevlm.infer.prompt import build_prompt
from edgevlm.runtime.egress import Policy
from tests.infer import asking
from tests.infer.test_contract import ask, opened
from tests.servers.vendors import OllamaServer
from tests.servers.vlm import VlmServer, say

VLLM = {"object": "list", "data": [{"id": "toy", "owned_by": "vllm", "max_model_len": 2048}]}
LLAMA = {"data": [{"id": "other", "owned_by": "llamacpp"}]}
KIMI = {
    "data": [
        {"id": "kimi-k2.6", "context_length": 262144, "supports_image_in": True, "supports_reasoning": True},
        {"id": "moonshot-v1-8k", "context_length": 8192, "supports_image_in": False},
    ]
}
OPENROUTER = {
    "data": [
        {
            "id": "a/b",
            "context_length": 32768,
            "architecture": {"input_modalities": ["text", "image"]},
            "supported_parameters": ["max_tokens", "structured_outputs"],
            "expiration_date": "2027-01-01",
        },
        {"id": "a/text", "architecture": {"input_modalities": ["text"]}, "supported_parameters": []},
    ]
}


@pytest.mark.parametrize(
    ("document", "model", "expected"),
    [
        (VLLM, "toy", Finding("vLLM", listed=True, logprobs=True, context=2048)),
        (VLLM, "other", Finding("vLLM", listed=False, logprobs=True)),
        (LLAMA, "toy", Finding("llama.cpp", logprobs=True)),
        (KIMI, "kimi-k2.6", Finding(listed=True, images=True, thinking=True, context=262144)),
        (KIMI, "moonshot-v1-8k", Finding(listed=True, images=False, context=8192)),
        (
            OPENROUTER,
            "a/b:free",
            Finding(
                listed=True,
                images=True,
                json_schema=True,
                context=32768,
                troubles=("the model ends on 2027-01-01",),
            ),
        ),
        (OPENROUTER, "a/text", Finding(listed=True, images=False, json_schema=False)),
        ({"data": []}, "toy", Finding()),
        (None, "toy", Finding()),
        ({"data": "x"}, "toy", Finding()),
        ([1, {"data": 2}], "toy", Finding()),
    ],
)
def test_a_list_of_models_is_read_as_far_as_it_says_something(
    document: Any, model: str, expected: Finding
) -> None:
    assert read_models(document, model) == expected


def chat(server: VlmServer, **more: Any) -> OpenAICompatibleConfig:
    values = {"type": "openai-compatible", "model": "toy", "base_url": server.base_url, **more}
    return OpenAICompatibleConfig(**values)


async def test_an_endpoint_is_looked_at_without_a_question(vlm: VlmServer) -> None:
    vlm.models = VLLM
    assert (await probe_endpoint("m", chat(vlm))).facts == "vLLM, has the model, context 2048"
    found = await probe_endpoint("m", chat(vlm, model="other"))
    assert found.troubles == ("the server does not list the model other",)
    assert vlm.asked == []


async def test_a_server_that_tells_nothing_is_no_trouble(vlm: VlmServer) -> None:
    assert await probe_endpoint("m", chat(vlm)) == Finding()


async def test_a_server_that_is_away_is_trouble(vlm: VlmServer) -> None:
    await vlm.stop()
    [trouble] = (await probe_endpoint("m", chat(vlm))).troubles
    assert trouble.startswith("not reachable: no connection to http://127.0.0.1:")


@pytest.mark.parametrize(("model", "vision", "trouble"), [
    ("toy", True, ()),
    ("toy", False, ("the model toy takes no pictures there",)),
    ("other", True, ("the server does not list the model other",)),
])  # fmt: skip
async def test_ollama_is_asked_what_its_model_can_do(
    model: str, vision: bool, trouble: tuple[str, ...]
) -> None:
    async with OllamaServer(vision=vision, thinks=True) as server:
        config = OllamaConfig(type="ollama", model=model, base_url=server.base_url)
        found = await probe_endpoint("m", config)
    assert found.troubles == trouble
    if not trouble:
        assert (found.thinking, found.context) == (True, 32768)


GENERIC = {"type": "openai-compatible", "model": "toy"}
TOKENS = [('{"class', 0.0), ('_name": "', 0.0), ("tru", -0.1), ("ck", -0.2), ('"}', 0.0)]


async def test_probabilities_are_asked_for_once_the_server_is_known_to_give_them(vlm: VlmServer) -> None:
    vlm.models = VLLM
    vlm.otherwise = lambda _asked: say('{"class_name": "truck"}', logprobs=list(TOKENS))
    async with opened(vlm, GENERIC) as backend:
        async with asyncio.timeout(10):
            while not (completion := await ask(backend, asking.CLASSIFICATION)).logprobs:
                pass
        assert completion.logprobs == tuple(TOKENS)
        await ask(backend, asking.CAPTION)
        assert "logprobs" not in vlm.asked[-1].body


@pytest.mark.parametrize("stream", [True, False])
async def test_probabilities_become_the_confidence_of_a_choice(vlm: VlmServer, stream: bool) -> None:
    vlm.script(say('{"class_name": "truck"}', logprobs=list(TOKENS), stream=stream))
    async with opened(vlm, GENERIC, logprobs="always") as backend:
        completion = await ask(backend, asking.CLASSIFICATION)
    reading = read_answer(asking.CLASSIFICATION, build_prompt(asking.CLASSIFICATION), completion)
    assert reading.confidence is not None
    assert (reading.confidence.source, round(reading.confidence.value, 3)) == ("logprobs", 0.741)


async def test_a_probe_that_hangs_holds_up_nothing() -> None:
    async with VlmServer() as server:
        server.models_wait = asyncio.Event()
        async with asyncio.timeout(5), opened(server, GENERIC) as backend:
            assert (await ask(backend, asking.CAPTION)).text == "ok"


def configured(tmp_path: Path, base_url: str, model: str = "toy") -> Path:
    path = tmp_path / "edgevlm.yaml"
    text = f"models: {{m: {{type: openai-compatible, base_url: '{base_url}', model: {model}}}}}"
    path.write_text(text)
    return path


async def test_check_connect_tells_what_it_found(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.models = VLLM
    path = configured(tmp_path, vlm.base_url)
    command = ["check", "-c", str(path), "--connect", "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == 0, done.output
    [connection] = json.loads(done.stdout)["connections"]
    assert connection["component"] == "model:m"
    assert connection["facts"].startswith("vLLM, has the model, context 2048; known by name:")
    await vlm.stop()
    away = await asyncio.to_thread(CliRunner().invoke, app, command[:-1])
    assert away.exit_code == 1
    assert "model:m: not reachable" in away.stderr


def test_the_embedded_engine_needs_no_connection(tmp_path: Path) -> None:
    path = tmp_path / "edgevlm.yaml"
    path.write_text("models: {ocr: {type: embedded}}")
    [connection] = connect_models(load(path).config, ["ocr"], Policy())
    assert connection.ok


@pytest.mark.parametrize(
    ("listed", "event"),
    [(VLLM, "the model may not work"), (None, None)],
)
async def test_what_may_not_work_is_logged_at_the_start(
    vlm: VlmServer, listed: dict[str, Any] | None, event: str | None
) -> None:
    vlm.models = listed
    with capture_logs() as logs:
        async with opened(vlm, {**GENERIC, "model": "another"}) as backend:
            assert isinstance(backend, OpenAIBackend)
            assert backend._probing is not None
            await backend._probing
    assert [entry["event"] for entry in logs] == ([event] if event else [])


async def test_a_server_that_is_away_at_the_start_is_mentioned_and_no_more(vlm: VlmServer) -> None:
    await vlm.stop()
    with capture_logs() as logs:
        async with opened(vlm, GENERIC) as backend:
            assert isinstance(backend, OpenAIBackend)
            assert backend._probing is not None
            await backend._probing
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("the model server does not answer yet", "info")
    ]
