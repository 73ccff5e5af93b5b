"""Reads chat completions, whole or in chunks, of everything that calls itself OpenAI-compatible.

Pure: documents go in, a `Completion` comes out. Reasoning is never text; an error inside a 200 is an error.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from edgevlm.errors import BadAnswer, ContentFiltered, EmptyAnswer, InferError, ModelUnreachable, TooLarge
from edgevlm.infer.backend import Completion
from edgevlm.infer.meanings import Meaning
from edgevlm.infer.refusal import classify
from edgevlm.infer.wire import ANSWER_BYTES
from edgevlm.records import Usage
from edgevlm.runtime.redact import Redactor

_RAW_CHARS = 2_000


class Transcript:
    """One completion as it grows."""

    def __init__(
        self, redactor: Redactor, meanings: tuple[Meaning, ...] = (), *, cost_usd: bool = False
    ) -> None:
        """Begin; `cost_usd` says that the usage tells the cost in US dollars."""
        self._redactor = redactor
        self._meanings = meanings
        self._cost_usd = cost_usd
        self._logprobs: list[tuple[str, float]] = []
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._size = 0
        self._choices = 0
        self._usage: dict[str, Any] = {}
        self._model: str | None = None
        self._provider: str | None = None
        self.finish_reason: str | None = None
        self.done = False
        """The stream said `[DONE]`."""

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._text)

    @property
    def finished(self) -> bool:
        """Nothing that matters can follow, except the usage."""
        return self.done or self.finish_reason is not None

    def add_event(self, event: str) -> None:
        """Take one event of a stream."""
        if event.strip() == "[DONE]":
            self.done = True
        elif event.strip():
            self.add(event)

    def add(self, text: str | bytes) -> None:
        """Take one JSON document: a chunk, or the whole answer.

        Raises:
            InferError: the document is an error, or not what it should be.

        """
        document = _document(text)
        if not isinstance(document, dict):
            raise BadAnswer("the server did not answer with a JSON object", raw=self._raw(text))
        if _is_error(document):
            raise self._error(document)
        self._model = _name(document.get("model")) or self._model
        self._provider = _name(document.get("provider")) or self._provider
        if isinstance(usage := document.get("usage"), dict):
            self._usage = usage
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._choice(choice)

    def completion(self, latency_ms: float) -> Completion:
        """Return the whole.

        Raises:
            EmptyAnswer: no choice came at all.
            ContentFiltered: the provider's filter or the model itself refused.

        """
        text = self.text
        if not self._choices:
            raise EmptyAnswer("the server sent no choices")
        if self.finish_reason == "content_filter":
            raise ContentFiltered("the provider's filter stopped the answer", raw=text or None)
        if (refusal := "".join(self._refusal)) and not text.strip():
            raise ContentFiltered("the model refused to answer", raw=self._raw(refusal))
        if self.finish_reason == "error":
            raise ModelUnreachable("the server gave up in the middle of the answer", raw=text or None)
        usage = read_usage(self._usage, latency_ms)
        if self._cost_usd:
            usage = replace(usage, cost_usd=_amount(self._usage.get("cost")))
        return Completion(
            text=text,
            finish_reason=self.finish_reason,
            usage=usage,
            model=self._model,
            provider=self._provider,
            logprobs=tuple(self._logprobs),
        )

    def _choice(self, choice: dict[str, Any]) -> None:
        if choice.get("error"):
            raise self._error({"error": choice["error"]})
        message = choice.get("delta") or choice.get("message")
        if isinstance(message, dict):
            self._say(_text(message.get("content")))
            self._refusal.append(_text(message.get("refusal")))
        self._logprobs += read_logprobs(choice.get("logprobs"))
        self.finish_reason = _name(choice.get("finish_reason")) or self.finish_reason
        self._choices += 1

    def _say(self, text: str) -> None:
        self._size += len(text)
        if self._size > ANSWER_BYTES:
            raise TooLarge(f"the answer is longer than {ANSWER_BYTES} characters", raw=self.text[:_RAW_CHARS])
        self._text.append(text)

    def _error(self, document: dict[str, Any]) -> InferError:
        body = json.dumps(document).encode()
        error = classify(200, body, {}, redactor=self._redactor, meanings=self._meanings)
        error.raw = error.raw if not self._text else f"{self.text[:_RAW_CHARS]}\n{error.raw}"
        return error

    def _raw(self, text: str | bytes) -> str | None:
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        return self._redactor.text(shown)[:_RAW_CHARS] or None


def read_usage(usage: dict[str, Any], latency_ms: float) -> Usage:
    """Read the usage of any vendor; a number that is none counts as not told."""
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = _count(prompt, "cached_tokens")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(usage, "cached_tokens") if cached is None else cached,
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        latency_ms=latency_ms,
    )


def read_logprobs(logprobs: Any) -> list[tuple[str, float]]:
    """Return each token with the natural log of its probability; nothing where one of them is unusable."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    pairs = [
        (token.get("token"), _amount(token.get("logprob"), least=None))
        for token in (tokens if isinstance(tokens, list) else ())
        if isinstance(token, dict)
    ]
    usable = [(text, value) for text, value in pairs if isinstance(text, str) and value is not None]
    return usable if len(usable) == len(pairs) else []


def _amount(value: Any, least: float | None = 0.0) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value) if least is None or value >= least else None


def _document(text: str | bytes) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _is_error(document: dict[str, Any]) -> bool:
    if document.get("error") or document.get("object") == "error":
        return True
    return "choices" not in document and ("message" in document or "detail" in document)


def _text(content: Any) -> str:
    """Return the text of `content`: a string, or a list of parts."""
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict) and part.get("type", "text") == "text")
        return "".join(_text(part.get("text")) for part in parts)
    return content if isinstance(content, str) else ""


def _name(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _count(counts: Any, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
