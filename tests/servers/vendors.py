"""Vendors' servers, played strictly: each refuses what the real one refuses, in its own words.

What a `Refused` says is what the vendor was seen to say; the fields, statuses and shapes are theirs. A test
that must show that a dialect is spoken right looks at `refused` as well as at `violations`: both stay empty.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers.vlm import KNOWN_FIELDS, Asked, Refused, Reply, Violation, VlmServer

KEY = "sk-vendor-0123456789abcdef"
MFJS_BARRED = frozenset(
    {"const", "pattern", "format", "oneOf", "allOf", "not", "if", "uniqueItems", "multipleOf", "$schema"}
    | {"exclusiveMinimum", "exclusiveMaximum", "patternProperties", "prefixItems", "examples"}
)


def _message(text: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": text, **more}}


def subschemas(schema: dict[str, Any], depth: int = 1) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield every schema in `schema` with its depth."""
    yield schema, depth
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    below += [schema["items"]] if "items" in schema else []
    for inner in below:
        yield from subschemas(inner, depth + 1)


def _schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format") or {}
    schema: dict[str, Any] | None = (wanted.get("json_schema") or {}).get("schema")
    return schema


class MoonshotServer(VlmServer):
    """Kimi: fixed sampling, explicit thinking, MFJS, pictures as data URLs only."""

    known_fields = (KNOWN_FIELDS - {"chat_template_kwargs", "logprobs", "top_logprobs"}) | {"thinking"}

    def judge(self, body: dict[str, Any]) -> None:
        for field in ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty"):
            if field in body and not body["model"].startswith("moonshot-v1"):
                text = f"invalid {field}: only 0.6 is allowed for this model"
                raise Refused(400, _message(text, type="invalid_request_error"))
        thinks = body["model"].startswith("kimi-k2.") or body["model"].startswith("kimi-k3")
        if thinks and body.get("thinking") not in ({"type": "enabled"}, {"type": "disabled"}):
            raise Violation(f"thinking is not said: {body.get('thinking')}")
        if body["model"].startswith("kimi-k2.7") and body["thinking"] == {"type": "disabled"}:
            raise Refused(400, _message("invalid thinking: this model always thinks"))
        if (schema := _schema(body)) is not None:
            _check_mfjs(schema)

    def picture(self, part: Mapping[str, Any]) -> bytes:
        if part["image_url"]["url"].startswith("http"):
            raise Refused(400, _message("unsupported image url", type="invalid_request_error"))
        return super().picture(part)


def _check_mfjs(schema: dict[str, Any]) -> None:
    for inner, depth in subschemas(schema):
        barred = MFJS_BARRED & set(inner)
        typed = ("type" in inner) != ("anyOf" in inner)
        if barred or not typed or depth > 5 or len(inner.get("enum", ())) > 500:
            raise Refused(400, _message(f"invalid response_format: schema {barred} {inner}"))
    if schema.get("type") != "object":
        raise Refused(400, _message("invalid response_format: the root must be an object"))


class DashScopeServer(VlmServer):
    """Model Studio: thinking is said, `kimi/…` takes URLs only and no schema, JSON needs its word."""

    known_fields = (KNOWN_FIELDS - {"chat_template_kwargs"}) | {"enable_thinking", "thinking_budget"}

    def judge(self, body: dict[str, Any]) -> None:
        kimi = body["model"].startswith("kimi/")
        if kimi or body["model"] in ("qwen3.6-plus", "qwen3-vl-plus"):
            self._check_thinking(body)
        if kimi and "temperature" in body:
            raise Refused(400, _message("temperature cannot be changed", code="InvalidParameter"))
        if kimi and _schema(body) is not None:
            raise Refused(
                400, _message("response_format json_schema is not supported", code="InvalidParameter")
            )
        words = json.dumps(body["messages"]).lower()
        if body.get("response_format", {}).get("type") == "json_object" and "json" not in words:
            text = "'messages' must contain the word 'json' in some form, to use 'response_format'"
            raise Refused(400, _message(text, code="invalid_parameter_error"))

    def _check_thinking(self, body: dict[str, Any]) -> None:
        if type(body.get("enable_thinking")) is not bool:
            raise Violation("enable_thinking is not said")
        if "k2.7" in body["model"] and not body["enable_thinking"]:
            text = "parameter.enable_thinking is restricted to True"
            raise Refused(400, _message(text, code="InvalidParameter"))
        if body["enable_thinking"] and not body.get("stream"):
            text = "parameter.enable_thinking must be set to false for non-streaming calls"
            raise Refused(400, _message(text, code="InvalidParameter"))

    def picture(self, part: Mapping[str, Any]) -> bytes:
        url = part["image_url"]["url"]
        if url.startswith("http"):
            return bytes(url, "ascii")  # fetched by `fetching`, as the real one does
        return super().picture(part)


class DashScopeKimiServer(DashScopeServer):
    """The same, asked for Moonshot's own models: base64 is refused."""

    def picture(self, part: Mapping[str, Any]) -> bytes:
        if not part["image_url"]["url"].startswith("http"):
            raise Refused(400, _message("The provided URL does not appear to be valid.", code="InvalidURL"))
        return super().picture(part)


def fetching(then: Reply, seen: list[bytes]) -> Reply:
    """Fetch the question's pictures from their URLs, as the real server does, before answering."""

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        async with aiohttp.ClientSession() as session:
            for url in asked.pictures:
                async with session.get(url.decode()) as response:
                    assert response.content_type == "image/jpeg"
                    seen.append(await response.read())
        return await then.play(request, asked)

    return Reply(play, f"fetching {then.name}")


class OpenRouterServer(VlmServer):
    """OpenRouter: routing by `provider`; what a provider does not know is dropped, unless it is required."""

    known_fields = (KNOWN_FIELDS - {"chat_template_kwargs"}) | {"provider", "reasoning", "usage"}
    mandatory_reasoning = False

    def judge(self, body: dict[str, Any]) -> None:
        provider = body.get("provider") or {}
        if "response_format" in body and provider.get("require_parameters") is not True:
            raise Violation("a schema without require_parameters may be dropped silently")
        known = {"order", "only", "ignore", "max_price", "require_parameters", "data_collection", "zdr"}
        if unknown := set(provider) - known:
            raise Violation(f"provider: {unknown}")
        if self.mandatory_reasoning and body.get("reasoning", {}).get("enabled") is False:
            text = "Reasoning is mandatory for this endpoint and cannot be disabled."
            raise Refused(400, _message(text, code=400))


class OpenAIServer(VlmServer):
    """OpenAI's reasoning models: `max_completion_tokens`, no temperature, strict schemas."""

    known_fields = (KNOWN_FIELDS - {"chat_template_kwargs"}) | {"reasoning_effort"}

    def judge(self, body: dict[str, Any]) -> None:
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            text += "Use 'max_completion_tokens' instead."
            more = {"type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}
            raise Refused(400, _message(text, **more))
        if body.get("temperature", 1) != 1:
            text = "Unsupported value: 'temperature' does not support 0.0 with this model. "
            text += "Only the default (1) value is supported."
            raise Refused(400, _message(text, param="temperature", code="unsupported_value"))
        if (schema := _schema(body)) is not None:
            _check_strict(schema)


def _check_strict(schema: dict[str, Any]) -> None:
    for inner, _ in subschemas(schema):
        if inner.get("type") != "object":
            continue
        closed = inner.get("additionalProperties") is False
        if not closed or set(inner.get("required", ())) != set(inner["properties"]):
            text = "Invalid schema for response_format: 'required' is required to include every key"
            raise Refused(400, _message(text, param="response_format"))


class AzureServer(OpenAIServer):
    """Azure: the key in a header of its own, the API's version in the query."""

    def judge_request(self, request: web.Request) -> None:
        if "api-version" not in request.query:
            raise Refused(404, _message("Resource not found", code="404"))

    def knows_key(self, request: web.Request) -> bool:
        return request.headers.get("api-key") == self.api_key and "Authorization" not in request.headers


class TransformersServer(VlmServer):
    """transformers serve: a short list of fields, all others 422."""

    def judge(self, body: dict[str, Any]) -> None:
        known = {"model", "messages", "stream", "max_tokens", "temperature", "top_p", "seed", "stop"}
        if unknown := set(body) - known:
            raise Refused(422, {"detail": f"Unsupported fields in the request: {unknown}"})


class TgiServer(VlmServer):
    """Text Generation Inference: bodies of at most 2 MB."""

    def judge_request(self, request: web.Request) -> None:
        if (request.content_length or 0) > 2_000_000:
            raise Refused(413, {"error": "Failed to buffer the request body: length limit exceeded"})


class LmStudioServer(VlmServer):
    """LM Studio: errors are bare strings, `json_object` is refused; here it knows no schema either."""

    def judge(self, body: dict[str, Any]) -> None:
        kind = body.get("response_format", {}).get("type")
        if kind == "json_object":
            raise Refused(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})
        if kind == "json_schema":
            raise Refused(400, {"error": "the engine does not support json_schema for this model"})


class GeminiServer(VlmServer):
    """Gemini's compatible route: errors are lists, unknown names are refused one by one."""

    known_fields = (KNOWN_FIELDS - {"chat_template_kwargs"}) | {"reasoning_effort"}

    def judge(self, body: dict[str, Any]) -> None:
        for field in ("stream_options", "logprobs"):
            if field in body:
                text = f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.'
                raise Refused(400, [_message(text, code=400, status="INVALID_ARGUMENT")])


class OllamaServer(VlmServer):
    """Ollama's own route: bare base64, `format`, `options`, answers as JSON lines."""

    known_fields = frozenset({"model", "messages", "stream", "format", "options", "think", "keep_alive"})

    def __init__(self, *, thinks: bool = False, vision: bool = True) -> None:
        super().__init__(path="/api/chat")
        self.thinks = thinks
        self.vision = vision

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/show":
            return self._show(await request.json())
        return await super()._answer(request)

    def _show(self, body: dict[str, Any]) -> web.Response:
        if body != {"model": "toy"}:
            return web.json_response({"error": f"model '{body['model']}' not found"}, status=404)
        able = ["completion", *(["vision"] if self.vision else []), *(["thinking"] if self.thinks else [])]
        info = {"general.architecture": "toy", "toy.context_length": 32768}
        return web.json_response({"capabilities": able, "model_info": info, "details": {}})

    def _check(self, request: web.Request, raw: bytes) -> Asked:
        if request.path != "/api/chat" or request.content_type != "application/json":
            raise Violation(f"{request.path} {request.content_type}")
        body = json.loads(raw)
        if unknown := set(body) - self.known_fields:
            raise Violation(f"Ollama ignores {unknown}")
        self._check_fields(body)
        *before, user = body["messages"]
        return Asked(
            body=body,
            headers=dict(request.headers),
            path=request.path_qs,
            text=user["content"],
            system=before[0]["content"] if before else None,
            pictures=tuple(_bare(image) for image in user["images"]),
            parts=("text", *("image" for _ in user["images"])),
            connection=self._number(request),
        )

    def _check_fields(self, body: dict[str, Any]) -> None:
        if body["model"] != "toy":
            text = f"model '{body['model']}' not found, try pulling it first"
            raise Refused(404, {"error": text})
        form = body.get("format", "json")
        if form != "json" and not (isinstance(form, dict) and form.get("type") == "object"):
            text = f'invalid format: {form!r}; expected "json" or a valid JSON Schema object'
            raise Refused(400, {"error": text})
        if body.get("think") and not self.thinks:
            raise Refused(400, {"error": f'"{body["model"]}" does not support thinking'})
        options = body["options"]
        numbers = {"num_ctx": int, "num_predict": int, "temperature": float}
        if wrong := [name for name, value in options.items() if not isinstance(value, numbers[name])]:
            raise Refused(400, {"error": f"option {wrong} must be of another type"})
        if type(body["keep_alive"]) is not int:
            raise Violation(f"keep_alive {body['keep_alive']!r}")


def _bare(image: str) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except binascii.Error as error:
        raise Refused(400, {"error": f"illegal base64 data at input byte 4: {error}"}) from error


def lines(*documents: Mapping[str, Any] | str) -> Reply:
    """Answer with these JSON lines."""

    async def play(request: web.Request, _asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for document in documents:
            text = document if isinstance(document, str) else json.dumps(document)
            await response.write(text.encode() + b"\n")
        return response

    return Reply(play, "lines")


def ollama_says(text: str, *, done_reason: str = "stop", thinking: str = "") -> Reply:
    """Answer as Ollama does, in lines or as one document."""
    end = {"done": True, "done_reason": done_reason, "prompt_eval_count": 900, "eval_count": 7}

    async def play(request: web.Request, asked: Asked) -> web.StreamResponse:
        head = {"model": "toy", "created_at": "2026-10-01T00:00:00Z"}
        if not asked.body["stream"]:
            message = {"role": "assistant", "content": text, "thinking": thinking}
            return web.json_response({**head, "message": message, **end})
        said: list[dict[str, Any]] = [{"content": "", "thinking": thinking}] if thinking else []
        said += [{"content": text[at : at + 5]} for at in range(0, len(text), 5)]
        documents = [{**head, "message": {"role": "assistant", **part}, "done": False} for part in said]
        last = {**head, "message": {"role": "assistant", "content": ""}, **end}
        return await lines(*documents, last).play(request, asked)

    return Reply(play, f"ollama says {text!r}")
