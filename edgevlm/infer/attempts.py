"""Whether a question is asked once more, and after which pause. Pure: time comes in as a number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgevlm.errors import BadAnswer, EmptyAnswer, InferError
from edgevlm.infer.backend import Prompt
from edgevlm.records import Usage
from edgevlm.runtime.backoff import Backoff

MAX_RETRIES = 2
MAX_REPAIRS = 1
MAX_RAISED = 4096
"""An empty answer does not raise `max_tokens` above this: small contexts would refuse the question."""


@dataclass(slots=True)
class Attempts:
    """The attempts at one request: how many were made, and what is left."""

    deadline_mono_ns: int
    """No retry begins after this."""
    fresh_until_mono_ns: int
    """Nor after this: the picture is too old by then."""
    made: int = 0
    retries_left: int = MAX_RETRIES
    repairs_left: int = MAX_REPAIRS
    backoff: Backoff = field(default_factory=lambda: Backoff(first_secs=0.5, cap_secs=8.0))

    @property
    def repaired(self) -> bool:
        """An attempt was made because of an answer that was none."""
        return self.repairs_left < MAX_REPAIRS

    def pause_after(self, error: InferError, now_mono_ns: int) -> float | None:
        """Return the seconds to wait before the next attempt; None when there shall be none."""
        if isinstance(error, BadAnswer):
            return self._repair()
        return self._retry(error, now_mono_ns) if error.retryable else None

    def _repair(self) -> float | None:
        if self.repairs_left == 0:
            return None
        self.repairs_left -= 1
        return 0.0

    def _retry(self, error: InferError, now_mono_ns: int) -> float | None:
        if self.retries_left == 0:
            return None
        pause_secs = max(self.backoff.next_secs(), error.retry_after_secs or 0.0)
        if now_mono_ns + int(pause_secs * 1e9) >= min(self.deadline_mono_ns, self.fresh_until_mono_ns):
            return None
        self.retries_left -= 1
        return pause_secs


def repair(prompt: Prompt, error: BadAnswer) -> Prompt:
    """Return the prompt that asks once more and says what was wrong with the last answer.

    An empty answer is most often one whose tokens went into reasoning: it gets more of them instead.
    """
    if isinstance(error, EmptyAnswer):
        return replace(prompt, max_tokens=max(prompt.max_tokens, min(4 * prompt.max_tokens, MAX_RAISED)))
    line = f"Your last answer could not be used: {error.message[:300]}. Answer again, exactly as asked."
    return replace(prompt, user=f"{prompt.user}\n\n{line}")


def add_usage(total: Usage, more: Usage) -> Usage:
    """Return what both attempts cost together; what neither told stays unknown."""
    return Usage(
        prompt_tokens=_add(total.prompt_tokens, more.prompt_tokens),
        completion_tokens=_add(total.completion_tokens, more.completion_tokens),
        cached_tokens=_add(total.cached_tokens, more.cached_tokens),
        reasoning_tokens=_add(total.reasoning_tokens, more.reasoning_tokens),
        cost_usd=_add_secs(total.cost_usd, more.cost_usd),
        latency_ms=_add_secs(total.latency_ms, more.latency_ms),
        estimated=total.estimated or more.estimated,
    )


def _add(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def _add_secs(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
