"""How a chat request is written for one endpoint, and what the endpoint was found not to take.

Every server has fields that it refuses, and says so when asked: `Takes` starts with all that we would like
to send and only ever shrinks, so that learning ends. A vendor's backend brings its own `Dialect`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from edgevlm.infer.backend import Prompt
from edgevlm.infer.meanings import Meaning
from edgevlm.infer.refusal import Refusal
from edgevlm.records import Clip, Picture

Format = Literal["json_schema", "json_object", "prompt"]
_LADDER: tuple[Format, ...] = ("json_schema", "json_object", "prompt")
_LEARN_FROM = frozenset({400, 404, 422})

_FORMAT_WORDS = re.compile(
    r"response[_ ]format|json[_ ]schema|json[_ ]object|structured|guided|grammar|\bschema\b|word 'json'"
)
_UNKNOWN = re.compile(
    r"un(?:supported|expected|recogni[sz]ed|known)"
    r"|(?:not|n't) (?:supported|support|permitted|allowed|accepted)"
    r"|extra (?:inputs|fields)|deprecated|instead"
)
_THINKING = re.compile(
    r"enable_thinking|chat_template_kwargs|\breasoning(?:[._]effort)?\b|\bthinking\b|\bthink\b"
)
_MUST_THINK = re.compile(r"mandatory|cannot be (?:disabled|turned off)|invalid (?:option|value)|must be")


@dataclass(frozen=True, slots=True)
class Takes:
    """What an endpoint takes beyond the bare request, as far as we know."""

    format: Format = "json_schema"
    """How it is held to a schema; `prompt`: only by what the prompt says."""
    token_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105  not a secret
    temperature: bool = True
    stream: bool = True
    stream_options: bool = True
    system: bool = True
    """A message with the role `system`; else its text goes in front of the question."""
    thinking: bool = True
    """The fields that turn thinking on or off."""
    logprobs: bool = True
    """Token probabilities, where they are wanted."""

    def without(self, refusal: Refusal) -> Takes:
        """Return what is left when all that `refusal` names is given up; itself if it names nothing."""
        if refusal.status not in _LEARN_FROM:
            return self
        unknown = _UNKNOWN.search(refusal.words) is not None
        return Takes(
            format=below(self.format) if _FORMAT_WORDS.search(refusal.words) else self.format,
            # "max_tokens is too large" is about the value, not about the field
            token_field="max_completion_tokens"
            if unknown and refusal.mentions("max_tokens")
            else self.token_field,
            temperature=self.temperature and not refusal.mentions("temperature"),
            stream=self.stream and not (unknown and "stream" in refusal.fields),
            stream_options=self.stream_options and not refusal.mentions("stream_options"),
            system=self.system
            and re.search(r"system (?:role|message)|role.{1,3}system", refusal.words) is None,
            thinking=self.thinking
            and not (
                _THINKING.search(refusal.words) and (unknown or _MUST_THINK.search(refusal.words) is not None)
            ),
            logprobs=self.logprobs and not (refusal.mentions("logprobs") or refusal.mentions("top_logprobs")),
        )

    def less(self, other: Takes) -> Takes:
        """Return only what both take: two questions may have learnt at the same time."""
        return Takes(
            format=max(self.format, other.format, key=_LADDER.index),
            token_field=min(self.token_field, other.token_field),
            temperature=self.temperature and other.temperature,
            stream=self.stream and other.stream,
            stream_options=self.stream_options and other.stream_options,
            system=self.system and other.system,
            thinking=self.thinking and other.thinking,
            logprobs=self.logprobs and other.logprobs,
        )

    def given_up(self, before: Takes) -> str:
        """Say in a few words what is no longer sent since `before`."""
        flags = (item.name for item in fields(self) if item.type == "bool")
        names = [name for name in flags if getattr(before, name) and not getattr(self, name)]
        names += ["max_tokens"] if self.token_field != before.token_field else []
        names += [f"response_format {before.format}"] if self.format != before.format else []
        return ", ".join(names)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where one family of servers differs from the common ground."""

    takes: Takes = Takes()
    """What is known of it before the first request."""
    text_first: bool = True
    fields: dict[str, Any] = field(default_factory=dict)
    """Sent with every request."""
    thinking: dict[str, Any] = field(default_factory=dict)
    """The fields that turn thinking on or off; given up when refused."""
    with_schema: dict[str, Any] = field(default_factory=dict)
    """Sent beside a `response_format`."""
    never: frozenset[str] = frozenset()
    """Fields that are refused with any value: not even a user's `extra_body` brings them in."""
    logprobs: Literal["auto", "always", "never"] = "never"
    """Whether closed tasks ask for probabilities; `auto`: once the server is known to give them."""
    cost_usd: bool = False
    """The usage tells the `cost` in US dollars."""
    meanings: tuple[Meaning, ...] = ()
    """Its own rows of the error table, read before the common ones."""


class ChatQuestion:
    """One question on its way: base64 is made once, however often the fields around it change."""

    def __init__(
        self,
        model: str,
        prompt: Prompt,
        pictures: Sequence[bytes],
        dialect: Dialect,
        *,
        logprobs: bool = False,
    ) -> None:
        """Hold what is asked; `pictures` are content parts, as `picture_part` and `link_part` make them."""
        self._model = model
        self._prompt = prompt
        self._dialect = dialect
        self._pictures = pictures
        self._logprobs = logprobs

    def body(self, takes: Takes) -> bytes:
        """Return the request's JSON."""
        fields = json.dumps(self._fields(takes), separators=(",", ":")).encode()
        return b"".join((b'{"messages":', *self._messages(takes), b",", fields[1:]))

    def _fields(self, takes: Takes) -> dict[str, Any]:
        prompt, dialect = self._prompt, self._dialect
        fields: dict[str, Any] = {"model": self._model, takes.token_field: prompt.max_tokens}
        if takes.temperature and prompt.temperature is not None:
            fields["temperature"] = prompt.temperature
        if takes.stream:
            fields["stream"] = True
        if takes.stream and takes.stream_options:
            fields["stream_options"] = {"include_usage": True}
        if self._logprobs and takes.logprobs:
            fields["logprobs"] = True
        if takes.thinking:
            fields |= dialect.thinking
        fields |= dialect.fields
        if prompt.schema is not None and takes.format != "prompt":
            fields["response_format"] = _response_format(takes.format, prompt)
            fields = merged(fields, dialect.with_schema)
        return merged(fields, self._allowed(takes))

    def _allowed(self, takes: Takes) -> dict[str, Any]:
        """Return the user's own fields; the messages are ours, and what is refused stays out."""
        barred = self._dialect.never | {"messages"}
        barred |= set() if takes.temperature else {"temperature"}
        return {name: value for name, value in (self._prompt.extra_body or {}).items() if name not in barred}

    def _messages(self, takes: Takes) -> list[bytes]:
        system, user = self._prompt.system, self._prompt.user
        if system and not takes.system:
            system, user = None, f"{system}\n\n{user}"
        text = _json({"type": "text", "text": user})
        parts = [text, *self._pictures] if self._dialect.text_first else [*self._pictures, text]
        head = _json({"role": "system", "content": system}) + b"," if system else b""
        return [b"[", head, b'{"role":"user","content":[', b",".join(parts), b"]}]"]


def picture_part(picture: Picture) -> bytes:
    """Return the content part that holds a picture itself."""
    url = b'{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,'
    return b"".join((url, base64.b64encode(picture.jpeg), b'"}}'))


def video_part(clip: Clip) -> bytes:
    """Return the content part that holds a clip itself."""
    url = b'{"type":"video_url","video_url":{"url":"data:video/mp4;base64,'
    return b"".join((url, base64.b64encode(clip.mp4), b'"}}'))


def link_part(url: str) -> bytes:
    """Return the content part that says where a picture can be fetched."""
    return _json({"type": "image_url", "image_url": {"url": url}})


def merged(fields: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return both; `more` wins, but mappings are put together key by key."""
    both = dict(fields)
    for name, value in more.items():
        held = both.get(name)
        both[name] = merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return both


def _response_format(kind: Format, prompt: Prompt) -> dict[str, Any]:
    if kind == "json_object":
        return {"type": "json_object"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", prompt.task)
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": prompt.schema}}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def below(rung: Format) -> Format:
    """Return the next weaker way to hold an answer to its schema."""
    return _LADDER[min(_LADDER.index(rung) + 1, len(_LADDER) - 1)]
