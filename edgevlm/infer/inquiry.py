"""One request under way: what is known of it so far, and the answer that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from edgevlm.errors import DeadlineExceeded, InferError
from edgevlm.infer.attempts import Attempts, add_usage
from edgevlm.infer.backend import Backend, Completion
from edgevlm.infer.reading import Reading
from edgevlm.infer.visible import bounded_raw
from edgevlm.records import Answer, Failure, ModelUse, Outcome, Picture, Request, Usage


@dataclass(slots=True)
class Inquiry:
    """A request from the moment when a worker takes it, or when it is given up."""

    request: Request
    backend: Backend
    started_mono_ns: int
    asked_at_ns: int
    pictures: tuple[Picture, ...] = ()
    attempts: int = 0
    repaired: bool = False
    usage: Usage = Usage()
    prompt_version: str = ""
    completion: Completion | None = None
    """Of the attempt under way, once it is here."""
    last_error: InferError | None = None

    @property
    def deadline_mono_ns(self) -> int:
        """When an answer comes too late."""
        return self.started_mono_ns + int(self.request.deadline_secs * 1e9)

    @property
    def captured_mono_ns(self) -> int:
        """When the newest of the pictures was captured."""
        return max(picture.instant.captured_mono_ns for picture in self.pictures)

    @property
    def sent_size(self) -> tuple[int, int]:
        """Width and height of the picture that boxes refer to."""
        return self.pictures[-1].width, self.pictures[-1].height

    @property
    def ages_secs(self) -> list[float]:
        """How much older than the newest picture each one is."""
        newest_ns = self.captured_mono_ns
        return [(newest_ns - picture.instant.captured_mono_ns) / 1e9 for picture in self.pictures]

    @property
    def source_size(self) -> tuple[int, int] | None:
        """Width and height of the frame that this picture was cut from."""
        newest = self.pictures[-1]
        return (newest.source_width, newest.source_height) if newest.source_width else None

    def plan(self) -> Attempts:
        """Return the attempts that this request may make."""
        fresh_until_ns = self.captured_mono_ns + int(self.request.max_age_secs * 1e9)
        return Attempts(deadline_mono_ns=self.deadline_mono_ns, fresh_until_mono_ns=fresh_until_ns)

    def begin_attempt(self) -> None:
        """Count an attempt and forget what the last one brought."""
        self.attempts += 1
        self.completion = None

    def take(self, completion: Completion) -> None:
        """Keep what came back and what it cost."""
        self.completion = completion
        self.usage = add_usage(self.usage, completion.usage)

    def value_answer(self, reading: Reading, answered_at_ns: int) -> Answer:
        """Return the answer with what was read."""
        return self._answer(reading.outcome, answered_at_ns, reading=reading)

    def error_answer(self, failure: Failure, answered_at_ns: int, raw: str | None = None) -> Answer:
        """Return the answer that says why there is no value."""
        return self._answer("error", answered_at_ns, failure=failure, raw=raw)

    def deadline_answer(self, answered_at_ns: int) -> Answer:
        """Return the answer of a request that took too long, with what its last attempt came to."""
        last = self.last_error
        after = f"; the last attempt failed: {last.message}" if last is not None else ""
        error = DeadlineExceeded(f"no answer within {self.request.deadline_secs:g} s{after}")
        return self.error_answer(failure_of(error), answered_at_ns, None if last is None else last.raw)

    def _answer(
        self,
        outcome: Outcome,
        answered_at_ns: int,
        *,
        reading: Reading | None = None,
        failure: Failure | None = None,
        raw: str | None = None,
    ) -> Answer:
        completion, backend = self.completion, self.backend
        provider = None if completion is None else completion.provider
        said = completion.text if raw is None and completion is not None else raw
        return Answer(
            request=self.request,
            outcome=outcome,
            model=ModelUse(backend.name, backend.type, backend.model, provider),
            asked_at_ns=self.asked_at_ns,
            answered_at_ns=answered_at_ns,
            pictures=self.pictures,
            value=None if reading is None else reading.value,
            confidence=None if reading is None else reading.confidence,
            failure=failure,
            raw=None if said is None else bounded_raw(said),
            usage=self.usage,
            prompt_version=self.prompt_version,
            attempts=self.attempts,
            truncated=reading is not None and reading.truncated,
            repaired=reading is not None and (reading.repaired or self.repaired),
        )


def failure_of(error: InferError) -> Failure:
    """Return the result's `error` object for `error`."""
    return Failure(error.code, "infer", retryable=error.retryable, message=error.message)
