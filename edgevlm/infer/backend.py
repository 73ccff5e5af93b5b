"""The contract between the pool and whatever answers: a model server or an engine on the box.

A backend makes one attempt at one question. It knows nothing of queues, deadlines over several attempts,
retries or validation of the answer; it turns its library's errors into `InferError`s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgevlm.infer.capabilities import Abilities
from edgevlm.records import Clip, Picture, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text of one question, built by `infer.prompt` from a task."""

    task: str
    user: str
    system: str | None
    version: str
    """Names the wording; stands in every result as `prompt_version`."""
    max_tokens: int
    temperature: float | None = 0.0
    schema: dict[str, Any] | None = None
    """JSON Schema that the answer must follow; None for free text."""
    extra_body: dict[str, Any] | None = None
    box_format: str | None = None
    """The convention in which boxes were asked for; None where the task has no boxes."""
    clip: Clip | None = None
    """The video that is asked about, in place of the pictures."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back, unjudged."""

    text: str
    finish_reason: str | None = None
    """`stop`, `length`, … as the server says it; None when it does not."""
    usage: Usage = Usage()
    model: str | None = None
    """The model name that the server reports, if any."""
    provider: str | None = None
    confidence: float | None = None
    """Only engines that measure it themselves (OCR) set this."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """Token text and natural log of its probability, where the server gives them."""


class Backend(Protocol):
    """One named endpoint of the configuration's `models`."""

    name: str
    type: str
    model: str
    max_concurrent_requests: int
    abilities: Abilities
    """What is known of the model; its `box_format` is the one to ask for."""
    thinks: bool
    """Answers need more tokens, because reasoning takes some."""

    async def open(self) -> None:
        """Acquire sessions or load weights; called once before the first `ask`."""

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        """Make one attempt. Cancelling it frees the server as far as its protocol allows.

        Raises:
            InferError: one of its subclasses; nothing else.

        """

    async def close(self) -> None:
        """Release everything; no `ask` is under way."""

    def tasks(self) -> frozenset[str]:
        """Return the task types that this backend can do."""
