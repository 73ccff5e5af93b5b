"""The backend against a real HTTP server that plays a model: what is sent, what is made of the answer."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgevlm.errors import (
    BadAnswer,
    ConfigError,
    ContentFiltered,
    EmptyAnswer,
    InferError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    QuotaExceeded,
    TooLarge,
)
from edgevlm.infer import openai_api
from edgevlm.infer.backend import Backend, Completion, Prompt
from edgevlm.infer.config import OpenAICompatibleConfig
from edgevlm.infer.dialect import Dialect, Takes
from edgevlm.infer.openai_api import OpenAIBackend
from edgevlm.records import Picture
from edgevlm.runtime.section import Secret
from tests.infer.drawn import SCHEMA, picture, prompt
from tests.servers import vlm as play
from tests.servers.vlm import Asked, Reply, VlmServer, say, status

KEY = "sk-test-0123456789abcdef"


@asynccontextmanager
async def backend(
    base_url: str,
    *,
    dialect: Dialect | None = None,
    timeout_secs: float = 5.0,
    api_key: str | None = None,
    **fields: Any,
) -> AsyncIterator[OpenAIBackend]:
    config = OpenAICompatibleConfig(
        type="openai-compatible",
        base_url=base_url,
        model="toy",
        timeout_secs=timeout_secs,
        api_key=None if api_key is None else Secret(api_key),
        **fields,
    )
    opened = OpenAIBackend("local", config, dialect=dialect)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def ask(
    asked: Backend,
    what: Prompt | None = None,
    pictures: tuple[Picture, ...] | None = None,
    *,
    timeout_secs: float = 5.0,
) -> Completion:
    pictures = (picture(),) if pictures is None else pictures
    return await asked.ask(prompt() if what is None else what, pictures, timeout_secs=timeout_secs)


async def failure(vlm: VlmServer, *replies: Reply, **options: Any) -> InferError:
    """Return how a question ends that is answered so."""
    vlm.script(*replies)
    async with backend(vlm.base_url, **options) as local:
        with pytest.raises(InferError) as caught:
            await ask(local)
    return caught.value


# --- what is sent -----------------------------------------------------------------------------------------


async def test_a_request_holds_what_the_contract_says_and_nothing_else(vlm: VlmServer) -> None:
    shown = picture()
    async with backend(vlm.base_url) as local:
        await ask(local, pictures=(shown,))
    [asked] = vlm.asked
    messages = asked.body.pop("messages")
    assert asked.body == {
        "model": "toy",
        "max_tokens": 64,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = "data:image/jpeg;base64," + base64.b64encode(shown.jpeg).decode()
    assert messages == [
        {"role": "system", "content": "You look at pictures."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
    ]
    assert "Authorization" not in asked.headers
    assert asked.headers["Accept-Encoding"] == "identity"


async def test_a_schema_is_asked_for_as_response_format(vlm: VlmServer) -> None:
    async with backend(vlm.base_url) as local:
        await ask(local, prompt("classification", schema=dict(SCHEMA)))
    assert vlm.asked[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "classification", "strict": True, "schema": SCHEMA},
    }


async def test_a_temperature_that_is_not_wanted_is_not_sent(vlm: VlmServer) -> None:
    async with backend(vlm.base_url) as local:
        await ask(local, prompt(temperature=None))
    assert "temperature" not in vlm.asked[0].body


async def test_extra_fields_of_the_user_win_but_the_messages_stay_ours(vlm: VlmServer) -> None:
    extra = {"top_p": 0.5, "temperature": 0.7, "messages": []}
    async with backend(vlm.base_url) as local:
        await ask(local, prompt(extra_body=extra))
    body = vlm.asked[0].body
    assert (body["top_p"], body["temperature"]) == (0.5, 0.7)
    assert vlm.asked[0].text == "What is it?"


async def test_a_vendor_s_dialect_changes_order_and_fields(vlm: VlmServer) -> None:
    dialect = Dialect(takes=Takes(temperature=False), text_first=False, fields={"seed": 7})
    async with backend(vlm.base_url, dialect=dialect) as local:
        await ask(local, pictures=(picture(), picture()))
    [asked] = vlm.asked
    assert asked.parts == ("image_url", "image_url", "text")
    assert asked.body["seed"] == 7
    assert "temperature" not in asked.body


async def test_the_key_goes_to_the_server_as_bearer() -> None:
    async with VlmServer(api_key=KEY) as vlm, backend(vlm.base_url, api_key=KEY) as local:
        assert (await ask(local)).text == "ok"


async def test_a_query_in_the_base_url_is_kept(vlm: VlmServer) -> None:
    async with backend(vlm.base_url + "?api-version=1") as local:
        await ask(local)
    assert vlm.asked[0].path == "/v1/chat/completions?api-version=1"


async def test_a_proxy_in_the_environment_is_not_used(
    vlm: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "ok"


async def test_a_large_request_is_sent_whole(vlm: VlmServer) -> None:
    large = Picture("dock", picture().instant, 10, 10, b"\xff\xd8" + bytes(3_000_000) + b"\xff\xd9")
    async with backend(vlm.base_url) as local:
        await ask(local, pictures=(large,))
    assert vlm.asked[0].pictures == (large.jpeg,)


# --- what is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_events_and_one_document_give_the_same_completion(vlm: VlmServer, stream: bool) -> None:
    vlm.script(say("The gate is open — ganz offen.", stream=stream))
    async with backend(vlm.base_url) as local:
        got = await ask(local)
    assert (got.text, got.finish_reason, got.model) == ("The gate is open — ganz offen.", "stop", "toy")
    usage = got.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (1200, 9)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (64, 3)
    assert usage.latency_ms is not None
    assert 0 < usage.latency_ms < 5000


async def test_connections_are_kept_for_the_next_question(vlm: VlmServer) -> None:
    vlm.script(say("1"), say("2", stream=False), say("3"))
    async with backend(vlm.base_url) as local:
        for _ in range(3):
            await ask(local)
    assert {asked.connection for asked in vlm.asked} == {1}


async def test_done_is_optional(vlm: VlmServer) -> None:
    vlm.script(say("yes", done=False, usage=None))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "yes"


async def test_a_stream_that_stays_open_after_its_end_does_not_hold_the_answer_back(
    vlm: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_api, "GRACE_SECS", 0.05)
    vlm.script(say("yes", done=False, linger=True))
    async with backend(vlm.base_url) as local:
        async with asyncio.timeout(2):
            assert (await ask(local)).text == "yes"
        await vlm.wait_until(lambda: vlm.dropped == 1)


async def test_a_cut_after_the_last_word_costs_nothing(vlm: VlmServer) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}
    vlm.script(play.cut_after(play.events(chunk, done=False)))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "yes"


async def test_reasoning_is_not_text(vlm: VlmServer) -> None:
    vlm.script(say("", reasoning="It must be a truck."), say(None, reasoning="Hm.", stream=False))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == ""
        assert (await ask(local)).text == ""


async def test_content_in_parts_is_one_text(vlm: VlmServer) -> None:
    parts = [
        {"type": "text", "text": "a tr"},
        {"type": "reasoning", "text": "?"},
        {"type": "text", "text": "uck"},
    ]
    vlm.script(say(None, stream=False, message={"content": parts}))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "a truck"


async def test_only_the_first_of_several_choices_counts(vlm: VlmServer) -> None:
    choices = [{"index": n, "message": {"content": f"choice {n}"}, "finish_reason": "stop"} for n in (1, 0)]
    vlm.script(status(200, {"choices": choices}))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "choice 0"


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": "many"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
async def test_usage_that_is_none_is_estimated_and_marked_so(vlm: VlmServer, usage: dict[str, Any]) -> None:
    vlm.script(say("yes", usage=usage))
    async with backend(vlm.base_url) as local:
        got = (await ask(local)).usage
    assert got.estimated
    assert got.prompt_tokens == 66 + 4 + 7  # 11 by 6 patches, the question, the system prompt
    assert got.completion_tokens == 1


async def test_an_empty_answer_is_not_taken_for_nothing_generated(vlm: VlmServer) -> None:
    vlm.script(say("", usage=None))
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).usage.completion_tokens is None


async def test_usage_that_is_told_is_not_touched(vlm: VlmServer) -> None:
    async with backend(vlm.base_url) as local:
        assert not (await ask(local)).usage.estimated


# --- answers that are none --------------------------------------------------------------------------------

RUBBISH: list[tuple[str, Reply, type[InferError]]] = [
    ("web page", play.html(), BadAnswer),
    ("empty body", play.raw(b""), EmptyAnswer),
    ("white space", play.raw(b" \n "), EmptyAnswer),
    ("no content", status(204), EmptyAnswer),
    ("half a document", play.raw(b'{"choices": [{"message": {"content": "tr'), BadAnswer),
    ("a list", play.raw(b"[1, 2]"), BadAnswer),
    ("a number", play.raw(b"NaN"), BadAnswer),
    ("depth", play.raw(b"[" * 20_000), BadAnswer),
    ("not UTF-8", play.raw(b'{"choices": "\xff\xfe"'), BadAnswer),
    ("no choices", play.raw(b"{}"), EmptyAnswer),
    ("choices null", play.raw(b'{"choices": null}'), EmptyAnswer),
    ("choices empty", play.raw(b'{"choices": []}'), EmptyAnswer),
    ("choices strange", play.raw(b'{"choices": [1, "a", null]}'), EmptyAnswer),
    ("stream of rubbish", play.events("data: {oops\n\n"), BadAnswer),
    ("stream without choices", play.events(), EmptyAnswer),
    (
        "stream without an end",
        play.events({"choices": [{"delta": {"content": "tr"}}]}, done=False),
        ModelUnreachable,
    ),
    ("empty stream", play.events(done=False), ModelUnreachable),
    ("model refuses", say(None, stream=False, message={"refusal": "I cannot help."}), ContentFiltered),
    ("model refuses in a stream", say("", message={"refusal": "I cannot help."}), ContentFiltered),
    ("filter", say("a tr", finish_reason="content_filter"), ContentFiltered),
    ("gave up", say("a tr", finish_reason="error"), ModelUnreachable),
    ("error inside 200", status(200, {"error": {"code": 429, "message": "slow down"}}), ModelOverloaded),
    (
        "error in a choice",
        status(200, {"choices": [{"error": {"code": 502, "message": "x"}}]}),
        ModelUnreachable,
    ),
    (
        "error as text inside 200",
        status(200, {"error": "out of credits: insufficient credits"}),
        QuotaExceeded,
    ),
    ("native error inside 200", status(200, {"code": "Arrearage", "message": "unpaid"}), QuotaExceeded),
    (
        "vllm's old error inside 200",
        status(200, {"object": "error", "message": "x", "code": 400}),
        ModelRefused,
    ),
    (
        "error in mid-stream",
        play.events({"choices": [{"delta": {"content": "a"}}]}, {"error": "overloaded"}),
        ModelOverloaded,
    ),
    ("cut stream", play.cut(), ModelUnreachable),
    ("cut document", play.cut(stream=False), ModelUnreachable),
]


@pytest.mark.parametrize(("reply", "expected"), [pytest.param(*row[1:], id=row[0]) for row in RUBBISH])
async def test_what_is_no_answer_is_an_error_of_its_kind(
    vlm: VlmServer, reply: Reply, expected: type[InferError]
) -> None:
    assert type(await failure(vlm, reply)) is expected


async def test_the_raw_text_of_what_came_is_kept(vlm: VlmServer) -> None:
    assert "502 Bad Gateway" in ((await failure(vlm, play.html())).raw or "")
    assert (await failure(vlm, play.cut("half an ans"))).raw == "half an ans"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_of_3_mb_is_too_large(vlm: VlmServer, stream: bool) -> None:
    assert type(await failure(vlm, say("x" * 3_000_000, stream=stream, usage=None))) is TooLarge


async def test_an_endless_answer_is_ended(vlm: VlmServer) -> None:
    assert type(await failure(vlm, play.endless())) is TooLarge
    await vlm.wait_until(lambda: vlm.dropped == 1)


async def test_an_endless_error_is_ended(vlm: VlmServer) -> None:
    async with asyncio.timeout(3):
        assert type(await failure(vlm, play.endless(code=500))) is ModelUnreachable


async def test_a_gzip_bomb_does_not_go_off(vlm: VlmServer) -> None:
    vlm.script(play.bomb(100_000_000))
    async with backend(vlm.base_url) as local:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                await ask(local)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 10_000_000


# --- time and connections ---------------------------------------------------------------------------------


async def test_silence_ends_after_the_timeout_and_frees_the_server(vlm: VlmServer) -> None:
    vlm.script(play.silence())
    async with backend(vlm.base_url) as local:
        async with asyncio.timeout(2):
            with pytest.raises(ModelTimeout):
                await ask(local, timeout_secs=0.1)
        await vlm.wait_until(lambda: vlm.dropped == 1)
        assert (await ask(local)).text == "ok"


async def test_the_configured_timeout_holds_too(vlm: VlmServer) -> None:
    async with asyncio.timeout(2):
        assert type(await failure(vlm, play.silence(), timeout_secs=0.1)) is ModelTimeout


async def test_a_dripping_answer_ends_after_the_timeout(vlm: VlmServer) -> None:
    found = await failure(vlm, play.drip(), timeout_secs=0.3)
    assert type(found) is ModelTimeout
    assert (found.raw or "").startswith("drip ")


async def test_cancelling_frees_the_server(vlm: VlmServer) -> None:
    vlm.script(play.drip())
    async with backend(vlm.base_url) as local:
        asking = asyncio.create_task(ask(local))
        await vlm.wait_asked(1)
        asking.cancel()
        await vlm.wait_until(lambda: vlm.dropped == 1)
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_dead_connection_is_replaced_once_for_free(vlm: VlmServer) -> None:
    vlm.script(say("warm"), play.vanish(), say("yes"))
    async with backend(vlm.base_url) as local:
        await ask(local)
        assert (await ask(local)).text == "yes"
    assert [asked.connection for asked in vlm.asked] == [1, 1, 2]


async def test_the_second_try_does_not_trust_another_kept_connection(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.script(play.held(go, say("warm")), play.held(go, say("warm")), play.vanish(), say("yes"))
    async with backend(vlm.base_url, max_concurrent_requests=2) as local:
        warming = [asyncio.create_task(ask(local)) for _ in range(2)]
        await vlm.wait_asked(2)
        go.set()
        await asyncio.gather(*warming)
        assert (await ask(local)).text == "yes"
    assert vlm.asked[-1].connection == 3


async def test_a_second_dead_connection_is_an_error(vlm: VlmServer) -> None:
    assert type(await failure(vlm, play.vanish(), play.vanish())) is ModelUnreachable
    assert len(vlm.asked) == 2


async def test_a_connection_closed_silently_after_an_error_does_not_hurt_the_next_question(
    vlm: VlmServer,
) -> None:
    async with backend(vlm.base_url) as local:
        for _ in range(5):
            vlm.script(status(500, "Internal Server Error", then_close=True))
            with pytest.raises(ModelUnreachable):
                await ask(local)
            assert (await ask(local)).text == "ok"


async def test_nobody_listening_is_no_error_at_open_but_when_asked() -> None:
    vlm = VlmServer()
    async with vlm:
        pass
    async with backend(vlm.base_url, api_key=KEY) as local:
        with pytest.raises(ModelUnreachable) as caught:
            await ask(local)
        assert f"no connection to http://127.0.0.1:{vlm.port}:" in caught.value.message
        async with vlm:
            assert (await ask(local)).text == "ok"


async def test_what_does_not_speak_http_is_unreachable() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, backend(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1") as local:
        with pytest.raises(ModelUnreachable):
            await ask(local)


async def test_a_redirect_is_not_followed(vlm: VlmServer) -> None:
    found = await failure(vlm, status(307, headers={"Location": vlm.base_url + "/elsewhere"}))
    assert type(found) is ModelRefused
    assert len(vlm.asked) == 1


async def test_no_more_connections_than_allowed(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.script(*[play.held(go, say("yes"))] * 3)
    async with backend(vlm.base_url, max_concurrent_requests=3) as local:
        asking = [asyncio.create_task(ask(local)) for _ in range(3)]
        await vlm.wait_asked(3)
        go.set()
        assert [(await task).text for task in asking] == ["yes"] * 3
    assert len({asked.connection for asked in vlm.asked}) == 3


# --- refusals and what is learnt from them ----------------------------------------------------------------


async def test_a_server_s_pause_comes_with_the_error(vlm: VlmServer) -> None:
    found = await failure(vlm, status(429, {"error": {"message": "slow down"}}, retry_after=7))
    assert type(found) is ModelOverloaded
    assert found.retry_after_secs == 7


async def test_a_wrong_key_is_refused_and_never_shown() -> None:
    async with VlmServer(api_key=KEY) as vlm:
        found = await failure(vlm, api_key="wrong-key-0123456789")
        assert type(found) is ModelRefused
        vlm.api_key = None
        echo = {"error": {"message": "Incorrect API key provided: wrong-key-0123456789."}}
        found = await failure(vlm, status(401, echo), api_key="wrong-key-0123456789")
    assert "wrong-key" not in found.message + (found.raw or "")
    assert found.message.startswith("the server answered 401: Incorrect API key provided")


def unknown_fields(*names: str) -> Callable[[Asked], Reply]:
    """Play `transformers serve`: every unknown field is named in one refusal."""

    def answer(asked: Asked) -> Reply:
        found = {name for name in names if name in asked.body}
        return status(422, {"detail": f"Unsupported fields in the request: {found}"}) if found else say("yes")

    return answer


async def test_all_fields_that_a_refusal_names_are_given_up_at_once_and_for_good(vlm: VlmServer) -> None:
    vlm.otherwise = unknown_fields("stream_options", "temperature")
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "yes"
        assert len(vlm.asked) == 2
        assert (await ask(local)).text == "yes"
    assert len(vlm.asked) == 3
    assert not {"stream_options", "temperature"} & set(vlm.asked[-1].body)


async def test_a_schema_is_given_up_rung_by_rung(vlm: VlmServer) -> None:
    vlm.otherwise = unknown_fields("response_format")
    async with backend(vlm.base_url) as local:
        for _ in range(2):
            assert (await ask(local, prompt(schema=dict(SCHEMA)))).text == "yes"
    formats = [asked.body.get("response_format", {}).get("type") for asked in vlm.asked]
    assert formats == ["json_schema", "json_object", None, None]


async def test_a_server_without_json_schema_keeps_json_object(vlm: VlmServer) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.body["response_format"]["type"] == "json_schema":
            return status(400, {"error": {"message": "This model does not support json_schema"}})
        return say("{}")

    vlm.otherwise = answer
    async with backend(vlm.base_url) as local:
        await ask(local, prompt(schema=dict(SCHEMA)))
    assert len(vlm.asked) == 2


async def test_reasoning_models_of_openai_are_learnt(vlm: VlmServer) -> None:
    def answer(asked: Asked) -> Reply:
        if "max_tokens" in asked.body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return status(
                400, {"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}}
            )
        if "temperature" in asked.body:
            message = "Unsupported value: 'temperature' does not support 0 with this model."
            return status(
                400, {"error": {"message": message, "param": "temperature", "code": "unsupported_value"}}
            )
        if asked.streamed:
            message = "Your organization must be verified to stream this model."
            return status(
                400, {"error": {"message": message, "param": "stream", "code": "unsupported_value"}}
            )
        return say("yes")

    vlm.otherwise = answer
    async with backend(vlm.base_url) as local:
        assert (await ask(local)).text == "yes"
    body = vlm.asked[-1].body
    assert body["max_completion_tokens"] == 64
    assert not {"max_tokens", "temperature", "stream", "stream_options"} & set(body)


async def test_a_model_without_a_system_role_gets_it_in_the_question(vlm: VlmServer) -> None:
    def answer(asked: Asked) -> Reply:
        return (
            status(400, {"error": {"message": "System role not supported"}}) if asked.system else say("yes")
        )

    vlm.otherwise = answer
    async with backend(vlm.base_url) as local:
        await ask(local)
    assert vlm.asked[-1].text == "You look at pictures.\n\nWhat is it?"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (400, "'max_tokens' is too large: 64. This model's maximum context length is 32 tokens"),
        (400, "Failed to load image or audio file"),
        (422, "Unsupported fields in the request: {'top_p'}"),
        (429, "Rate limit on temperature reached"),
        (500, "response_format made the server fall over"),
    ],
)
async def test_other_refusals_teach_nothing(vlm: VlmServer, code: int, message: str) -> None:
    await failure(vlm, status(code, {"error": {"message": message}}))
    assert len(vlm.asked) == 1


async def test_a_server_that_refuses_everything_is_given_up_on(vlm: VlmServer) -> None:
    words = (
        "unsupported: 'max_tokens', 'temperature', 'stream', 'stream_options', response_format, system role"
    )
    vlm.otherwise = status(400, {"error": {"message": words}})
    async with backend(vlm.base_url) as local:
        with pytest.raises(ModelRefused):
            await ask(local, prompt(schema=dict(SCHEMA)))
    assert len(vlm.asked) == 3


async def test_questions_that_learn_at_the_same_time_do_not_learn_twice(vlm: VlmServer) -> None:
    both = asyncio.Event()
    refusal = status(400, {"error": {"message": "json_schema is not supported"}})
    vlm.script(play.held(both, refusal), play.held(both, refusal))
    async with backend(vlm.base_url, max_concurrent_requests=2) as local:
        asking = [asyncio.create_task(ask(local, prompt(schema=dict(SCHEMA)))) for _ in range(2)]
        await vlm.wait_asked(2)
        both.set()
        await asyncio.gather(*asking)
    formats = [asked.body["response_format"]["type"] for asked in vlm.asked]
    assert formats == ["json_schema", "json_schema", "json_object", "json_object"]


async def test_what_several_questions_learn_at_the_same_time_adds_up(vlm: VlmServer) -> None:
    both = asyncio.Event()
    refusals = [
        status(422, {"detail": f"Unsupported: '{name}'"}) for name in ("temperature", "stream_options")
    ]
    vlm.script(*(play.held(both, refusal) for refusal in refusals))
    async with backend(vlm.base_url, max_concurrent_requests=2) as local:
        asking = [asyncio.create_task(ask(local)) for _ in range(2)]
        await vlm.wait_asked(2)
        both.set()
        await asyncio.gather(*asking)
        await ask(local)
    assert not {"temperature", "stream_options"} & set(vlm.asked[-1].body)


async def test_a_picture_is_encoded_once_for_all_tries_of_an_attempt(
    vlm: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = base64.b64encode

    def counting(data: bytes) -> bytes:
        encoded.append(len(data))
        return encode(data)

    monkeypatch.setattr("edgevlm.infer.dialect.base64.b64encode", counting)
    vlm.script(status(422, {"detail": "Unsupported fields: {'temperature'}"}), play.vanish(), say("yes"))
    async with backend(vlm.base_url) as local:
        await ask(local)
    assert len(vlm.asked) == 3
    assert len(encoded) == 1


# --- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"api_key": "sk-1\n"}, "api_key"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem"),
        ({"base_url": "http://box:99999/v1"}, "base_url"),
        ({"base_url": "http://me:pass@box/v1", "api_key": KEY}, "either an api_key or a user name"),
    ],
)
async def test_what_can_never_work_is_told_at_open(fields: dict[str, Any], said: str) -> None:
    fields = {"base_url": "http://127.0.0.1:9/v1", **fields}
    with pytest.raises(ConfigError, match=said) as caught:
        async with backend(**fields):
            pass
    assert KEY not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-out",
        cert,
        "-keyout",
        key,
    ]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    return cert, key


async def test_a_certificate_is_checked_against_the_ca_file(certificate: tuple[Path, Path]) -> None:
    async with VlmServer(certificate=certificate) as vlm:
        async with backend(vlm.base_url) as local:
            with pytest.raises(ModelRefused, match="certificate that is not trusted"):
                await ask(local)
        async with backend(vlm.base_url, ca_file=str(certificate[0])) as local:
            assert (await ask(local)).text == "ok"


async def test_all_tasks_can_be_asked() -> None:
    async with backend("http://127.0.0.1:9/v1") as local:
        assert len(local.tasks()) == 9
