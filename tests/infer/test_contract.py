"""The contract of every backend: each task it can do, asked in its vendor's dialect, answered and read.

The servers are scripted but strict: what the real one refuses they refuse (`tests/servers/vendors.py`). Where
a vendor is known, nothing at all may be refused; where a server is a stranger, the refusals must be learnt
from, once, and the answer must come all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from edgevlm.errors import TooLarge
from edgevlm.infer.answer import Reading, read_answer
from edgevlm.infer.backend import Backend, Completion, Prompt
from edgevlm.infer.config import ModelConfig
from edgevlm.infer.models import build_backend
from edgevlm.infer.prompt import build_prompt
from edgevlm.infer.task import TASK_TYPES
from edgevlm.records import Question
from tests.infer import asking
from tests.infer.drawn import canvas, picture
from tests.servers import vendors
from tests.servers.vendors import KEY, ollama_says
from tests.servers.vlm import Reply, VlmServer, say

MODEL: TypeAdapter[Any] = TypeAdapter(ModelConfig)


@dataclass(frozen=True)
class Case:
    """One task: what is asked, what the model says, what must come out."""

    question: Question
    said: str
    value: Any


CASES = {
    "unconstrained": Case(asking.UNCONSTRAINED, "A dock with a truck.", "A dock with a truck."),
    "ocr": Case(asking.OCR, "GATE 7\nOPEN", {"text": "GATE 7\nOPEN", "lines": ["GATE 7", "OPEN"]}),
    "visual-question-answering": Case(asking.CLOSED_QUESTION, '{"answer": "yes"}', "yes"),
    "caption": Case(asking.CAPTION, "A truck at a dock.", "A truck at a dock."),
    "detailed-caption": Case(asking.DETAILED_CAPTION, "A truck, red, at a dock.", "A truck, red, at a dock."),
    "classification": Case(
        asking.CLASSIFICATION, '```json\n{"class_name": "truck", "confidence": 0.9}\n```', "truck"
    ),
    "multi-label-classification": Case(
        asking.MULTI_LABEL,
        '{"predicted_classes": [{"class": "truck", "confidence": 0.5}]}',
        [{"class": "truck", "confidence": 0.5}],
    ),
    "object-detection": Case(asking.DETECTION, "", ["truck"]),
    "structured-answering": Case(asking.STRUCTURED, '{"label": "van", "x1": 3, "name": "a van"}', None),
}
BOXES = {
    "named_normalized": '{"detections": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.5, "y_max": 0.6, '
    '"class_name": "truck", "confidence": 0.9}]}',
    "xyxy_0_1000": '{"detections": [{"bbox_2d": [100, 200, 500, 600], "label": "truck"}]}',
    "yxyx_0_1000": '[{"box_2d": [200, 100, 600, 500], "label": "truck"}]',
}


def test_every_task_has_a_case() -> None:
    assert set(CASES) == set(TASK_TYPES)


@dataclass(frozen=True)
class Vendor:
    """A server and the configuration that speaks to it."""

    server: type[VlmServer]
    config: dict[str, Any]
    known: bool = True
    """Nothing may be refused."""


GENERIC = {"type": "openai-compatible"}
VENDORS = {
    "openai-compatible": Vendor(VlmServer, {**GENERIC, "model": "Qwen/Qwen3-VL-8B-Instruct"}),
    "qwen-that-thinks": Vendor(VlmServer, {**GENERIC, "model": "Qwen/Qwen3.5-9B"}),
    "not-streaming": Vendor(VlmServer, {**GENERIC, "model": "toy", "stream": False}),
    "openai": Vendor(vendors.OpenAIServer, {**GENERIC, "model": "gpt-5-mini", "api_key": KEY}),
    "openai-by-a-name-of-its-own": Vendor(
        vendors.OpenAIServer, {**GENERIC, "model": "our-deployment", "api_key": KEY}, known=False
    ),
    "azure": Vendor(
        vendors.AzureServer,
        {**GENERIC, "model": "our-deployment", "api_key": KEY, "key_header": "api-key"},
        known=False,
    ),
    "transformers": Vendor(vendors.TransformersServer, {**GENERIC, "model": "toy"}, known=False),
    "lm-studio": Vendor(vendors.LmStudioServer, {**GENERIC, "model": "toy"}, known=False),
    "tgi": Vendor(vendors.TgiServer, {**GENERIC, "model": "tgi"}),
    "gemini": Vendor(
        vendors.GeminiServer, {**GENERIC, "model": "gemini-2.5-flash", "api_key": KEY}, known=False
    ),
    "kimi-k2.6": Vendor(vendors.MoonshotServer, {"type": "moonshot", "api_key": KEY}),
    "kimi-k2.7": Vendor(
        vendors.MoonshotServer, {"type": "moonshot", "model": "kimi-k2.7-code", "api_key": KEY}
    ),
    "moonshot-v1": Vendor(
        vendors.MoonshotServer,
        {"type": "moonshot", "model": "moonshot-v1-32k-vision-preview", "api_key": KEY},
    ),
    "qwen-on-dashscope": Vendor(
        vendors.DashScopeServer, {"type": "dashscope", "model": "qwen3-vl-plus", "api_key": KEY}
    ),
    "kimi-deployed-by-alibaba": Vendor(
        vendors.DashScopeServer, {"type": "dashscope", "model": "kimi-k2.6", "api_key": KEY}
    ),
    "openrouter": Vendor(vendors.OpenRouterServer, {"type": "openrouter", "api_key": KEY}),
    "openrouter-gemini": Vendor(
        vendors.OpenRouterServer, {"type": "openrouter", "model": "google/gemini-2.5-flash", "api_key": KEY}
    ),
    "ollama": Vendor(vendors.OllamaServer, {"type": "ollama", "model": "toy"}),
}


@asynccontextmanager
async def opened(server: VlmServer, config: dict[str, Any], **more: Any) -> AsyncIterator[Backend]:
    """Yield the backend of a configuration, pointed at `server`."""
    if "api_key" in config:
        server.api_key = config["api_key"]
    base_url = server.base_url
    if isinstance(server, vendors.AzureServer):
        base_url += "?api-version=2025-04-01-preview"
    backend = build_backend("m", MODEL.validate_python({"base_url": base_url, **config, **more}))
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def asked_as(backend: Backend, question: Question) -> Prompt:
    """Return the prompt as the pool builds it for a picture of 320 by 180."""
    box_format = backend.abilities.box_format
    return build_prompt(question, box_format=box_format, picture_size=(320, 180), thinks=backend.thinks)


async def ask(backend: Backend, question: Question, **more: Any) -> Completion:
    prompt = asked_as(backend, question)
    return await backend.ask(prompt, [picture()], timeout_secs=10, **more)


def reply_of(vendor: Vendor, text: str) -> Reply:
    if vendor.server is vendors.OllamaServer:
        return ollama_says(text)
    comments = vendor.server is vendors.OpenRouterServer
    done = vendor.server is not vendors.TransformersServer
    return say(text, comments=comments, done=done)


def read(question: Question, prompt: Prompt, completion: Completion) -> Reading:
    return read_answer(question, prompt, completion, sent_size=(320, 180))


@pytest.mark.parametrize("task", TASK_TYPES)
@pytest.mark.parametrize("name", VENDORS)
async def test_every_backend_can_do_every_task(name: str, task: str) -> None:
    vendor, case = VENDORS[name], CASES[task]
    async with vendor.server() as server, opened(server, vendor.config) as backend:
        said = BOXES[backend.abilities.box_format] if task == "object-detection" else case.said
        server.otherwise = reply_of(vendor, said)
        completion = await ask(backend, case.question)
        reading = read(case.question, asked_as(backend, case.question), completion)
        assert reading.outcome == "ok"
        check_value(task, case, reading.value)
        assert server.violations == []
        assert server.asked[-1].pictures == (picture().jpeg,)
        refused = len(server.refused)
        assert refused == 0 if vendor.known else refused <= 4
        await ask(backend, case.question)
        assert len(server.refused) == refused, "what was learnt is not forgotten"


def check_value(task: str, case: Case, value: Any) -> None:
    match task:
        case "object-detection":
            [found] = value
            assert found["class"] == "truck"
            assert found["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=0.01)
        case "structured-answering":
            assert value["label"] == "van"
        case _:
            assert value == case.value


# --- what each dialect says ---------------------------------------------------------------------------------


async def body_of(name: str, question: Question = asking.CLASSIFICATION, **more: Any) -> dict[str, Any]:
    """Return what goes out to a vendor, apart from the messages."""
    vendor = VENDORS[name]
    async with vendor.server() as server, opened(server, vendor.config, **more) as backend:
        server.otherwise = reply_of(vendor, "{}")
        await ask(backend, question)
        assert server.violations == []
        body = dict(server.asked[-1].body)
    body.pop("messages")
    return body


async def test_kimi_is_told_not_to_think_and_nothing_of_sampling() -> None:
    body = await body_of("kimi-k2.6")
    assert body["thinking"] == {"type": "disabled"}
    assert body["max_tokens"] == 64
    assert not {"temperature", "top_p", "n"} & set(body)


async def test_a_user_s_own_sampling_does_not_reach_kimi() -> None:
    question = asking.question_of(
        type="caption", temperature=0.3, extra_body={"top_p": 0.5, "temperature": 0.3, "seed": 7}
    )
    body = await body_of("kimi-k2.6", question)
    assert body["seed"] == 7
    assert not {"temperature", "top_p"} & set(body)


async def test_a_model_that_thinks_gets_four_times_the_tokens() -> None:
    assert (await body_of("kimi-k2.7"))["max_tokens"] == 256
    assert (await body_of("kimi-k2.6", thinking="enabled"))["max_tokens"] == 256
    own = asking.question_of(type="caption", max_tokens=90)
    assert (await body_of("kimi-k2.7", own))["max_tokens"] == 90


async def test_the_older_kimi_takes_a_temperature_and_knows_no_thinking() -> None:
    body = await body_of("moonshot-v1")
    assert body["temperature"] == 0
    assert "thinking" not in body


async def test_dashscope_is_always_told_whether_to_think() -> None:
    assert (await body_of("kimi-deployed-by-alibaba"))["enable_thinking"] is False
    assert (await body_of("kimi-deployed-by-alibaba", thinking="enabled"))["enable_thinking"] is True
    thinking_only = await body_of("kimi-deployed-by-alibaba", model="kimi-k2.7-code")
    assert thinking_only["enable_thinking"] is True


@pytest.mark.parametrize(
    ("privacy", "provider"),
    [
        ({}, {"data_collection": "deny"}),
        ({"privacy": "allow"}, {}),
        ({"privacy": "zdr"}, {"data_collection": "deny", "zdr": True}),
        ({"privacy_level": "zdr"}, {"data_collection": "deny", "zdr": True}),
    ],
)
async def test_openrouter_is_told_who_may_see_the_pictures(
    privacy: dict[str, str], provider: dict[str, Any]
) -> None:
    body = await body_of("openrouter", asking.CAPTION, **privacy)
    assert body.get("provider", {}) == provider


async def test_openrouter_is_told_which_providers_and_to_honour_the_schema() -> None:
    chosen = {"order": ["moonshotai"], "ignore": ["x"], "max_price": {"prompt": 1.0}}
    body = await body_of("openrouter", provider=chosen)
    assert body["provider"] == {**chosen, "data_collection": "deny", "require_parameters": True}
    assert body["reasoning"] == {"enabled": False}


async def test_a_user_adds_to_the_provider_object_and_does_not_replace_it() -> None:
    question = asking.question_of(type="caption", extra_body={"provider": {"only": ["deepinfra"]}})
    body = await body_of("openrouter", question)
    assert body["provider"] == {"data_collection": "deny", "only": ["deepinfra"]}


async def test_openrouter_s_mandatory_reasoning_is_learnt() -> None:
    async with vendors.OpenRouterServer() as server:
        server.mandatory_reasoning = True
        async with opened(server, VENDORS["openrouter"].config, model="some/new-thinker") as backend:
            await ask(backend, asking.CAPTION)
            await ask(backend, asking.CAPTION)
        assert len(server.refused) == 1
        assert "reasoning" not in server.asked[-1].body


async def test_openrouter_tells_what_it_cost() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.00042}
    async with vendors.OpenRouterServer() as server:
        server.otherwise = say("A dock.", usage=usage, stream=False)
        async with opened(server, VENDORS["openrouter"].config) as backend:
            assert (await ask(backend, asking.CAPTION)).usage.cost_usd == 0.00042


async def test_a_qwen_that_can_think_is_told_not_to() -> None:
    assert (await body_of("qwen-that-thinks"))["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in await body_of("openai-compatible")


async def test_the_azure_key_goes_in_its_own_header() -> None:
    vendor = VENDORS["azure"]
    async with vendor.server() as server, opened(server, vendor.config) as backend:
        assert (await ask(backend, asking.CAPTION)).text == "ok"
        assert server.asked[-1].path.endswith("?api-version=2025-04-01-preview")


async def test_ollama_is_told_the_context_and_how_long_to_stay_loaded() -> None:
    body = await body_of("ollama", num_ctx=16384, keep_alive_secs=-1)
    assert body["options"] == {"num_ctx": 16384, "num_predict": 64, "temperature": 0.0}
    assert (body["keep_alive"], body["think"]) == (-1, False)
    assert body["format"]["properties"]["class_name"]["enum"] == ["truck", "van", "5", "unknown"]


async def test_a_request_too_large_for_tgi_is_said_to_be_so() -> None:
    noisy = canvas(2400, 2400)
    noisy[:] = (noisy.cumsum(axis=0) * 2654435761 >> 3) & 255
    vendor = VENDORS["tgi"]
    async with vendor.server() as server, opened(server, vendor.config) as backend:
        prompt = asked_as(backend, asking.CAPTION)
        with pytest.raises(TooLarge):
            await backend.ask(prompt, [picture(noisy)] * 3, timeout_secs=10)


async def test_a_box_format_of_the_configuration_wins() -> None:
    vendor = VENDORS["openai-compatible"]
    async with vendor.server() as server, opened(server, vendor.config, box_format="yxyx_0_1000") as backend:
        server.otherwise = say(BOXES["yxyx_0_1000"])
        prompt = asked_as(backend, asking.DETECTION)
        completion = await backend.ask(prompt, [picture()], timeout_secs=10)
        [found] = read(asking.DETECTION, prompt, completion).value
    assert "y_min, x_min, y_max, x_max" in server.asked[0].text
    assert found["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=0.01)
