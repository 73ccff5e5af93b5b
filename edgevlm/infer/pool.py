"""The workers that ask: each request out of its slot, through its attempts, to exactly one end.

A request ends as an answer (`ok`, `unknown` or `error`, handed to `deliver`) or as a drop (counted under its
reason); whoever asked by command is answered instead of dropped. The picture is taken when a worker is free,
not when the rule fired. A worker asks one question at a time and survives whatever a question does to it;
every model has `max_concurrent_requests` workers, which is what bounds the questions in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import structlog

from edgevlm.errors import BadAnswer, CaptureError, InferError, NoFrame
from edgevlm.infer.answer import read_answer
from edgevlm.infer.attempts import repair
from edgevlm.infer.backend import Backend, Prompt
from edgevlm.infer.footage import Footage, TakeClip
from edgevlm.infer.inquiry import Inquiry, failure_of
from edgevlm.infer.prompt import build_prompt
from edgevlm.infer.reading import Reading
from edgevlm.infer.shed import Shed, no_picture, no_picture_in_time, stale, stopping, superseded
from edgevlm.infer.waiting import Waiting, is_command
from edgevlm.records import Answer, Clip, Failure, Picture, Request
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters

log = structlog.get_logger(stage="infer")

TakePictures = Callable[[Request], Awaitable[tuple[Picture, ...]]]
"""Binds the frame: called when a worker is free; raises `CaptureError`."""
Deliver = Callable[[Answer], Awaitable[None]]
"""Takes an answer, from any worker."""

_MAX_OWED = 256
"""Bad news for those who asked by command, waiting to be delivered."""


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """One model's state at one instant."""

    waiting: int
    in_flight: int
    asked: int
    """Questions that a worker took, since the start."""
    attempts: int
    """Attempts made at them, retries and repairs included."""


@dataclass(slots=True)
class _Lane:
    """One model: what waits for it, and what is under way."""

    backend: Backend
    waiting: Waiting = field(default_factory=Waiting)
    ready: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    in_flight: int = 0
    asked: int = 0
    attempts: int = 0


class Pool:
    """All models' workers; used on the event loop.

    Args:
        backends: the named endpoints; opened by `open`, closed by `close`.
        take_pictures: binds a request's frame when a worker is free for it.
        take_clip: makes the clip of a request that has one; without it there are none.
        note_unfinished: told how many questions have not come to their end, whenever that changes.
        deliver: takes every answer; an answer that makes it raise is lost, which is counted and logged.

    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        take_pictures: TakePictures,
        deliver: Deliver,
        take_clip: TakeClip | None = None,
        note_unfinished: Callable[[int], None] = lambda _: None,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._lanes = {name: _Lane(backend) for name, backend in backends.items()}
        self._take_pictures = take_pictures
        self._deliver = deliver
        self._take_clip = take_clip
        self._clock = clock
        self._counters = counters
        self._owed: asyncio.Queue[Answer] = asyncio.Queue(_MAX_OWED)
        self._note_unfinished = note_unfinished
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._opened = AsyncExitStack()

    # --- life -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open every backend; a server that is away is no error.

        Raises:
            ConfigError: a backend cannot work as it is configured, or its extra is not installed.

        """
        async with AsyncExitStack() as opened:
            for lane in self._lanes.values():
                opened.push_async_callback(lane.backend.close)
                await lane.backend.open()
            self._opened = opened.pop_all()

    async def close(self) -> None:
        """Close every backend; `run` has ended."""
        await self._opened.aclose()

    async def run(self) -> None:
        """Ask until cancelled; what is in flight then is counted as dropped."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver_owed(), name="edgevlm.pool.owed")
            for name, lane in self._lanes.items():
                for number in range(1, lane.backend.max_concurrent_requests + 1):
                    group.create_task(self._work(lane), name=f"edgevlm[{name}].worker-{number}")

    async def drain(self, timeout_secs: float) -> bool:
        """Take nothing new, drop what waits, finish what is in flight; return whether that was all done."""
        self._draining = True
        for lane in self._lanes.values():
            for request in lane.waiting.clear():
                self._shed(request, stopping())
        try:
            async with asyncio.timeout(timeout_secs):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> dict[str, LaneStatistics]:
        """Return each model's state, by name; a snapshot."""
        return {
            name: LaneStatistics(len(lane.waiting), lane.in_flight, lane.asked, lane.attempts)
            for name, lane in self._lanes.items()
        }

    # --- asking -----------------------------------------------------------------------------------------

    def ask_nowait(self, request: Request) -> None:
        """Put `request` in its rule's slot; an older one that waits there gives way."""
        self._counters.count("requests", _who(request))
        if self._draining:
            self._shed(request, stopping())
            return
        lane = self._lanes[request.model]
        older = lane.waiting.put(request)
        if older is None:
            lane.ready.release()
        else:
            self._shed(older, superseded())

    async def _work(self, lane: _Lane) -> None:
        while True:
            await lane.ready.acquire()
            request = lane.waiting.take()
            if request is not None:
                await self._serve(request, lane)

    async def _serve(self, request: Request, lane: _Lane) -> None:
        """Bring `request` to its end, whatever happens on the way."""
        lane.in_flight += 1
        lane.asked += 1
        self._begin()
        try:
            await self._answer(request, lane)
        except asyncio.CancelledError:
            self._counters.drop("infer", "shutdown", _who(request))
            raise
        except Exception:
            self._counters.drop("infer", "fault", _who(request))
            log.exception("a question ended by a fault of edgevlm itself", **_names(request))
        finally:
            lane.in_flight -= 1
            self._end()

    async def _answer(self, request: Request, lane: _Lane) -> None:
        with Footage(request, self._take_clip) as footage:
            answer = await self._asked(self._inquiry(request, lane), lane, footage)
            if answer is not None:
                _tell_failure(answer)
                await self._hand_over(await self._with_clip(answer, footage))

    async def _asked(self, inquiry: Inquiry, lane: _Lane, footage: Footage) -> Answer | None:
        """Return the answer of any outcome; None when the request was shed."""
        request = inquiry.request
        try:
            async with asyncio.timeout(request.deadline_secs) as deadline:
                answer = await self._inquire(inquiry, lane, footage)
        except Shed as shed:
            self._shed(request, shed)
            return None
        except InferError as error:
            answer = inquiry.error_answer(failure_of(error), self._clock.utc_ns(), error.raw)
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                if not inquiry.pictures:
                    self._shed(request, no_picture_in_time())
                    return None
                answer = inquiry.deadline_answer(self._clock.utc_ns())
            else:
                log.exception("a question failed by a fault of edgevlm itself", **_names(request))
                answer = inquiry.error_answer(_fault(error), self._clock.utc_ns())
        return answer

    async def _with_clip(self, answer: Answer, footage: Footage) -> Answer:
        """Return the answer with its clip, or without, if there is none to be had."""
        try:
            return replace(answer, clip=await footage.evidence())
        except (CaptureError, TimeoutError) as error:
            self._counters.drop("capture", "no_clip", _who(answer.request))
            why = str(error) or "it takes too long"
            log.warning("no clip goes with the answer", why=why, **_names(answer.request))
            return answer

    async def _inquire(self, inquiry: Inquiry, lane: _Lane, footage: Footage) -> Answer:
        """Take the picture and ask about it until there is an answer or no attempt is left."""
        inquiry.pictures = await self._pictures(inquiry.request)
        clip = await self._clip(footage)
        inquiry.asked_at_ns = self._clock.utc_ns()
        attempts = inquiry.plan()
        question = inquiry.request.question
        prompt = asked = build_prompt(
            question,
            box_format=lane.backend.abilities.box_format,
            picture_size=inquiry.sent_size,
            variables=inquiry.request.variables,
            ages_secs=inquiry.ages_secs,
            clip=clip,
            thinks=lane.backend.thinks,
        )
        inquiry.prompt_version = prompt.version
        while True:
            try:
                reading = await self._attempt(inquiry, lane, asked)
            except InferError as error:
                pause_secs = attempts.pause_after(error, self._clock.monotonic_ns())
                if pause_secs is None:
                    raise
                inquiry.last_error = error
                inquiry.repaired = attempts.repaired
                asked = repair(prompt, error) if isinstance(error, BadAnswer) else asked
                await self._clock.sleep(pause_secs)
            else:
                return inquiry.value_answer(reading, self._clock.utc_ns())

    async def _attempt(self, inquiry: Inquiry, lane: _Lane, prompt: Prompt) -> Reading:
        inquiry.begin_attempt()
        lane.attempts += 1
        left_secs = (inquiry.deadline_mono_ns - self._clock.monotonic_ns()) / 1e9
        completion = await lane.backend.ask(prompt, inquiry.pictures, timeout_secs=left_secs)
        inquiry.take(completion)
        return read_answer(
            inquiry.request.question,
            prompt,
            completion,
            sent_size=inquiry.sent_size,
            source_size=inquiry.source_size,
            crop=inquiry.pictures[-1].crop,
        )

    async def _pictures(self, request: Request) -> tuple[Picture, ...]:
        """Bind the frame; refuse one that is too old."""
        try:
            pictures = await self._take_pictures(request)
        except CaptureError as error:
            raise no_picture(error) from error
        if not pictures:
            raise no_picture(NoFrame(request.camera, "there is nothing to show"))
        newest_ns = max(picture.instant.captured_mono_ns for picture in pictures)
        age_secs = (self._clock.monotonic_ns() - newest_ns) / 1e9
        if age_secs > request.max_age_secs:
            raise stale(age_secs, request.max_age_secs)
        return pictures

    async def _clip(self, footage: Footage) -> Clip | None:
        """Return the clip that the model is shown; have one made that is evidence alone."""
        try:
            return await footage.begin()
        except CaptureError as error:
            raise no_picture(error) from error

    def _inquiry(self, request: Request, lane: _Lane) -> Inquiry:
        return Inquiry(request, lane.backend, self._clock.monotonic_ns(), self._clock.utc_ns())

    # --- ends -------------------------------------------------------------------------------------------

    def _shed(self, request: Request, shed: Shed) -> None:
        """Count a request that is not asked, or owe its asker the reason."""
        if is_command(request) and not self._owed.full():
            inquiry = self._inquiry(request, self._lanes[request.model])
            self._owed.put_nowait(inquiry.error_answer(shed.failure, self._clock.utc_ns()))
            self._begin()
        else:
            self._counters.drop("infer", shed.reason, _who(request))

    async def _deliver_owed(self) -> None:
        while True:
            answer = await self._owed.get()
            try:
                await self._hand_over(answer)
            finally:
                self._end()

    async def _hand_over(self, answer: Answer) -> None:
        try:
            await self._deliver(answer)
        except Exception:
            self._counters.drop("infer", "undelivered", _who(answer.request))
            log.exception("an answer could not be handed over", **_names(answer.request))

    def _begin(self) -> None:
        self._unfinished += 1
        self._note_unfinished(self._unfinished)
        self._idle.clear()

    def _end(self) -> None:
        self._unfinished -= 1
        self._note_unfinished(self._unfinished)
        if self._unfinished == 0:
            self._idle.set()


def _who(request: Request) -> str:
    return f"{request.camera}/{request.rule}"


def _names(request: Request) -> dict[str, str]:
    return {"camera": request.camera, "rule": request.rule, "model": request.model, "request": request.id}


def _tell_failure(answer: Answer) -> None:
    """Log why there is no value; the words are the same for the same trouble, so that repeats are folded."""
    if (failure := answer.failure) is not None:
        request = answer.request
        log.warning(
            "no answer",
            camera=request.camera,
            rule=request.rule,
            model=request.model,
            code=failure.code,
            message=failure.message,
        )


def _fault(error: Exception) -> Failure:
    message = f"a fault of edgevlm itself ({type(error).__name__}); its log has the traceback"
    return Failure("invalid_answer", "infer", retryable=False, message=message)
