"""The pool with real backends against a real server: what becomes of a request, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edgevlm.errors import ConfigError, ModelOverloaded, ModelUnreachable, NoFrame
from edgevlm.infer.backend import Backend, Completion, Prompt
from edgevlm.infer.capabilities import Abilities
from edgevlm.infer.config import EmbeddedConfig, OpenAICompatibleConfig
from edgevlm.infer.embedded import EmbeddedBackend
from edgevlm.infer.models import build_backend
from edgevlm.infer.openai_api import OpenAIBackend
from edgevlm.infer.pool import Pool
from edgevlm.records import Answer, Picture, Question, Request, Usage
from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.infer.asked import request
from tests.infer.drawn import picture
from tests.servers import vlm as play
from tests.servers.vlm import Reply, VlmServer, say, status

TRUCK = '{"class_name": "truck", "confidence": 0.9}'


class Told(Counters):
    """Counters that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    def drop(self, stage: str, reason: str, who: str = "", amount: int = 1) -> None:
        super().drop(stage, reason, who, amount)
        self.told.set()


@dataclass
class Running:
    """A pool at work, and what came out of it."""

    pool: Pool
    counters: Told
    task: asyncio.Task[None]
    answers: list[Answer] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def deliver(self, answer: Answer) -> None:
        self.answers.append(answer)
        async with self.changed:
            self.changed.notify_all()

    async def answered(self, count: int = 1) -> list[Answer]:
        """Return the answers when there are `count` of them."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.answers) >= count)
        return self.answers

    async def one(self, asked: Request) -> Answer:
        """Return what becomes of `asked`."""
        self.pool.ask_nowait(asked)
        await self.answered()
        [answer] = self.answers
        assert answer.request is asked
        return answer

    async def dropped(self, reason: str, count: int = 1) -> None:
        """Return when `count` requests were dropped for `reason`."""
        while self.counters.dropped(reason) < count:
            self.counters.told.clear()
            await self.counters.told.wait()

    @property
    def drops(self) -> dict[str, dict[str, int]]:
        return self.counters.statistics()["drops"]


def local(vlm: VlmServer, *, requests: int = 1, timeout_secs: float = 5.0) -> Backend:
    return build_backend(
        "local",
        OpenAICompatibleConfig(
            type="openai-compatible",
            base_url=vlm.base_url,
            model="toy",
            max_concurrent_requests=requests,
            timeout_secs=timeout_secs,
        ),
    )


@asynccontextmanager
async def running(
    *backends: Backend,
    clock: Clock | None = None,
    take: Callable[[Request], Awaitable[tuple[Picture, ...]]] | None = None,
    deliver: Callable[[Answer], Awaitable[None]] | None = None,
) -> AsyncIterator[Running]:
    clock = SystemClock() if clock is None else clock
    now = clock.monotonic_ns

    async def fresh(asked: Request) -> tuple[Picture, ...]:
        return (picture(camera=asked.camera, captured_mono_ns=now()),)

    counters = Told()
    box: list[Running] = []

    async def keep(answer: Answer) -> None:
        await box[0].deliver(answer)

    pool = Pool(
        {backend.name: backend for backend in backends},
        take_pictures=take or fresh,
        deliver=deliver or keep,
        clock=clock,
        counters=counters,
    )
    await pool.open()
    task = asyncio.create_task(pool.run())
    box.append(Running(pool, counters, task))
    try:
        yield box[0]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.close()


# --- the way of a request ---------------------------------------------------------------------------------


async def test_a_question_becomes_a_typed_answer(vlm: VlmServer) -> None:
    vlm.script(say(TRUCK))
    async with running(local(vlm)) as run:
        answer = await run.one(request())
        stats = run.pool.statistics()["local"]
    assert (answer.outcome, answer.value) == ("ok", "truck")
    assert answer.confidence is not None
    assert (answer.confidence.value, answer.confidence.source) == (0.9, "self-reported")
    assert (answer.model.name, answer.model.type, answer.model.model) == ("local", "openai-compatible", "toy")
    assert answer.raw == TRUCK
    assert (answer.attempts, answer.repaired, answer.failure) == (1, False, None)
    assert answer.prompt_version.startswith("classification")
    assert answer.usage.prompt_tokens == 1200
    assert answer.answered_at_ns >= answer.asked_at_ns > 0
    assert vlm.asked[0].pictures == (answer.pictures[0].jpeg,)
    assert vlm.asked[0].body["max_tokens"] == 64
    assert (stats.asked, stats.attempts, stats.waiting) == (1, 1, 0)


async def test_a_model_that_cannot_tell_is_unknown(vlm: VlmServer) -> None:
    vlm.script(say('{"class_name": "unknown"}'))
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert (answer.outcome, answer.value) == ("unknown", None)


async def test_the_embedded_engine_answers_through_the_same_pool() -> None:
    reader = build_backend("local", EmbeddedConfig(type="embedded"))
    async with running(reader) as run:
        answer = await run.one(request(question=Question(task="ocr")))
    assert (answer.outcome, answer.value) == ("ok", {"text": "", "lines": []})


async def test_rubbish_is_asked_once_more_with_what_was_wrong(vlm: VlmServer) -> None:
    vlm.script(say("I see a lorry, I think"), say(TRUCK))
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert (answer.outcome, answer.value, answer.repaired, answer.attempts) == ("ok", "truck", True, 2)
    first, second = vlm.asked
    assert second.text.startswith(first.text)
    assert "could not be used" in second.text
    assert answer.usage.prompt_tokens == 2400
    assert (answer.usage.latency_ms or 0) > 0


async def test_rubbish_twice_is_an_error_with_its_text(vlm: VlmServer) -> None:
    vlm.otherwise = say("I see a lorry, I think")
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert answer.outcome == "error"
    assert answer.value is None
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.stage) == ("invalid_answer", "infer")
    assert answer.raw == "I see a lorry, I think"
    assert (answer.attempts, len(vlm.asked), answer.repaired) == (2, 2, False)


async def test_the_raw_text_is_that_of_the_last_attempt(vlm: VlmServer) -> None:
    vlm.script(say("I see a lorry, I think"), say("", finish_reason="content_filter"))
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert answer.failure is not None
    assert (answer.failure.code, answer.raw) == ("filtered", None)


async def test_a_failure_stands_in_the_log_in_the_same_words_each_time(vlm: VlmServer) -> None:
    vlm.otherwise = status(401, {"error": "Unauthorized"})
    async with running(local(vlm)) as run:
        with capture_logs() as logs:
            for count in (1, 2):
                run.pool.ask_nowait(request())
                await run.answered(count)
    assert logs[0] == logs[1]
    assert (logs[0]["log_level"], logs[0]["code"]) == ("warning", "config")


async def test_no_text_at_all_is_an_error_of_its_own(vlm: VlmServer) -> None:
    vlm.otherwise = say("", reasoning="a truck, of course")
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert answer.failure is not None
    assert answer.failure.code == "empty_answer"
    assert "of course" not in (answer.raw or "")


@pytest.mark.parametrize(
    ("reply", "code", "retryable", "asked"),
    [
        (status(401, {"error": "Unauthorized"}), "config", False, 1),
        (status(402), "quota", False, 1),
        (status(400, {"error": "failed to decode image"}), "rejected_picture", False, 1),
        (status(400, {"error": {"code": "content_filter"}}), "filtered", False, 1),
        (status(413), "too_large", False, 1),
        (say("x" * 3_000_000, stream=False), "too_large", False, 1),
        (play.html(), "invalid_answer", False, 2),
        (status(503, "loading", retry_after=3600), "overloaded", True, 1),
    ],
)
async def test_every_failure_becomes_an_answer_with_its_code(
    vlm: VlmServer, reply: Reply, code: str, retryable: bool, asked: int
) -> None:
    vlm.otherwise = reply
    async with running(local(vlm)) as run:
        answer = await run.one(request())
    assert answer.outcome == "error"
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.retryable) == (code, retryable)
    assert answer.attempts == len(vlm.asked) == asked
    assert answer.pictures


# --- retries ----------------------------------------------------------------------------------------------


class Scripted:
    """A backend that does as told, for what no server can show: our own faults, a clock moved by hand."""

    type = "scripted"
    model = "toy"
    abilities = Abilities()
    thinks = False

    def __init__(self, *ends: Completion | Exception, requests: int = 1, name: str = "local") -> None:
        self.name = name
        self.max_concurrent_requests = requests
        self.ends = list(ends)
        self.prompts: list[Prompt] = []
        self.in_flight = self.most_in_flight = 0
        self.gate: asyncio.Semaphore | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def tasks(self) -> frozenset[str]:
        return frozenset({"classification"})

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        assert pictures
        assert timeout_secs > 0
        self.prompts.append(prompt)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.gate is not None:
                await self.gate.acquire()
            end = self.ends.pop(0) if self.ends else Completion(TRUCK)
            if isinstance(end, Exception):
                raise end
            return end
        finally:
            self.in_flight -= 1


async def test_a_passing_failure_is_tried_again_after_the_pause_that_the_server_wants(
    clock: FakeClock,
) -> None:
    model = Scripted(ModelOverloaded("busy", retry_after_secs=5), Completion(TRUCK))
    async with running(model, clock=clock) as run:
        run.pool.ask_nowait(request())
        await clock.advance(4.9)
        assert len(model.prompts) == 1
        await clock.advance(0.2)
        [answer] = await run.answered()
    assert (answer.outcome, answer.attempts, answer.repaired) == ("ok", 2, False)
    assert model.prompts[0] == model.prompts[1]


async def test_no_more_than_two_retries(clock: FakeClock) -> None:
    model = Scripted(*[ModelUnreachable("gone", raw="half an ans")] * 9)
    async with running(model, clock=clock) as run:
        run.pool.ask_nowait(request())
        await clock.advance(10)
        [answer] = await run.answered()
    assert (answer.outcome, answer.attempts) == ("error", 3)
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.message) == ("unreachable", "gone")
    assert answer.raw == "half an ans"


@pytest.mark.parametrize("limits", [{"max_age_secs": 2.0}, {"deadline_secs": 2.0}])
async def test_no_retry_for_a_frame_or_an_asker_that_cannot_wait(
    clock: FakeClock, limits: dict[str, Any]
) -> None:
    model = Scripted(ModelOverloaded("busy", retry_after_secs=3))
    async with running(model, clock=clock) as run:
        answer = await run.one(request(**limits))
    assert answer.failure is not None
    assert (answer.failure.code, answer.attempts) == ("overloaded", 1)


async def test_a_retry_after_a_repair_repairs_again(clock: FakeClock) -> None:
    model = Scripted(
        Completion("rubbish", usage=Usage(prompt_tokens=5)), ModelUnreachable("gone"), Completion(TRUCK)
    )
    async with running(model, clock=clock) as run:
        run.pool.ask_nowait(request())
        await clock.advance(10)
        [answer] = await run.answered()
    assert (answer.outcome, answer.attempts, answer.repaired) == ("ok", 3, True)
    assert model.prompts[1] == model.prompts[2] != model.prompts[0]
    assert answer.usage.prompt_tokens == 5


async def test_the_deadline_ends_all_attempts_and_frees_the_server(vlm: VlmServer) -> None:
    vlm.script(play.silence(), say(TRUCK))
    async with running(local(vlm)) as run:
        answer = await run.one(request(deadline_secs=0.2))
        await vlm.wait_until(lambda: vlm.dropped == 1)
        assert answer.failure is not None
        assert (answer.failure.code, answer.failure.retryable) == ("deadline", False)
        run.pool.ask_nowait(request())
        assert (await run.answered(2))[1].outcome == "ok"


async def test_a_deadline_tells_what_the_last_attempt_came_to(vlm: VlmServer) -> None:
    vlm.script(say("I see a lorry, I think"), play.silence())
    async with running(local(vlm)) as run:
        answer = await run.one(request(deadline_secs=1.0))
    assert answer.failure is not None
    assert answer.failure.code == "deadline"
    assert "the last attempt failed: " in answer.failure.message
    assert answer.raw == "I see a lorry, I think"


# --- the picture ------------------------------------------------------------------------------------------


async def refuse(asked: Request) -> tuple[Picture, ...]:
    raise NoFrame(asked.camera, "nothing to show yet")


async def nothing(_asked: Request) -> tuple[Picture, ...]:
    return ()


async def old(_asked: Request) -> tuple[Picture, ...]:
    return (picture(captured_mono_ns=SystemClock().monotonic_ns() - 60_000_000_000),)


async def never(_asked: Request) -> tuple[Picture, ...]:
    await asyncio.Event().wait()
    return ()


@pytest.mark.parametrize(
    ("take", "reason", "code", "stage"),
    [
        (refuse, "no_frame", "unreachable", "capture"),
        (nothing, "no_frame", "unreachable", "capture"),
        (old, "stale", "deadline", "choose"),
        (never, "no_picture_in_time", "deadline", "capture"),
    ],
)
async def test_without_a_fresh_picture_nobody_is_asked(
    vlm: VlmServer,
    take: Callable[[Request], Awaitable[tuple[Picture, ...]]],
    reason: str,
    code: str,
    stage: str,
) -> None:
    async with running(local(vlm), take=take) as run:
        run.pool.ask_nowait(request(deadline_secs=0.2))
        await run.dropped(reason)
        assert run.drops == {f"infer/{reason}": {"dock/truck": 1}}
        answer = await run.one(request(command=True, deadline_secs=0.2))
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.stage) == (code, stage)
    assert run.counters.dropped() == 1, "the asker was told, which is no drop"
    assert vlm.asked == []


async def test_the_picture_is_taken_when_a_worker_is_free(vlm: VlmServer) -> None:
    go = asyncio.Event()
    taken: list[str] = []

    async def take(asked: Request) -> tuple[Picture, ...]:
        taken.append(asked.rule)
        return (picture(captured_mono_ns=SystemClock().monotonic_ns()),)

    vlm.script(play.held(go, say(TRUCK)), say(TRUCK))
    async with running(local(vlm), take=take) as run:
        run.pool.ask_nowait(request(rule="one"))
        run.pool.ask_nowait(request(rule="two"))
        await vlm.wait_asked(1)
        assert taken == ["one"]
        go.set()
        await run.answered(2)
    assert taken == ["one", "two"]


# --- slots and workers ------------------------------------------------------------------------------------


async def test_the_newest_request_of_a_rule_wins_and_the_older_one_is_counted(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.script(play.held(go, say(TRUCK)))
    vlm.otherwise = say(TRUCK)
    async with running(local(vlm)) as run:
        run.pool.ask_nowait(request(rule="busy"))
        await vlm.wait_asked(1)
        asked = [request() for _ in range(3)]
        for one in asked:
            run.pool.ask_nowait(one)
        go.set()
        answers = await run.answered(2)
    assert answers[1].request is asked[2]
    assert run.drops == {"infer/superseded": {"dock/truck": 2}}
    assert run.counters.total("requests") == 4


async def test_an_asker_whose_question_gives_way_is_told(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.script(play.held(go, say(TRUCK)))
    async with running(local(vlm)) as run:
        run.pool.ask_nowait(request(rule="busy"))
        await vlm.wait_asked(1)
        first, second = request(command=True), request(command=True)
        run.pool.ask_nowait(first)
        run.pool.ask_nowait(second)
        [answer] = await run.answered()
        assert answer.request is first
        assert answer.failure is not None
        assert answer.failure.code == "overloaded"
        assert run.counters.dropped() == 0
        go.set()


async def test_as_many_at_once_as_the_model_allows(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.otherwise = play.held(go, say(TRUCK))
    async with running(local(vlm, requests=3)) as run:
        for number in range(6):
            run.pool.ask_nowait(request(camera=f"cam{number}"))
        await vlm.wait_asked(3)
        stats = run.pool.statistics()["local"]
        assert (stats.in_flight, stats.waiting) == (3, 3)
        go.set()
        await run.answered(6)
    assert vlm.most_in_flight == 3


async def test_a_dead_model_does_not_hold_up_another(vlm: VlmServer) -> None:
    vlm.otherwise = play.silence()
    other = Scripted(name="other")
    async with running(local(vlm), other) as run:
        run.pool.ask_nowait(request(model="local"))
        await vlm.wait_asked(1)
        run.pool.ask_nowait(request(model="other"))
        [answer] = await run.answered()
    assert answer.model.name == "other"


async def test_the_workers_have_names(vlm: VlmServer, clock: FakeClock) -> None:
    async with running(local(vlm, requests=2)):
        await clock.settle()
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert {"edgevlm[local].worker-1", "edgevlm[local].worker-2"} <= names


# --- faults of our own ------------------------------------------------------------------------------------


async def test_a_fault_in_one_question_leaves_the_worker_alive() -> None:
    model = Scripted(ZeroDivisionError("oops"), TimeoutError("not the deadline"), Completion(TRUCK))
    async with running(model) as run:
        answers: list[Answer] = []
        for count in (1, 2, 3):
            run.pool.ask_nowait(request())
            answers = await run.answered(count)
    assert [answer.outcome for answer in answers] == ["error", "error", "ok"]
    failure = answers[0].failure
    assert failure is not None
    assert (failure.retryable, "ZeroDivisionError" in failure.message) == (False, True)
    assert "oops" not in failure.message


async def test_a_fault_outside_the_question_is_counted() -> None:
    class Broken(FakeClock):
        fails = False

        def utc_ns(self) -> int:
            if self.fails:
                raise OSError
            return super().utc_ns()

    clock = Broken()
    async with running(Scripted(), clock=clock) as run:
        clock.fails = True
        run.pool.ask_nowait(request())
        await run.dropped("fault")
        clock.fails = False
        assert (await run.one(request())).outcome == "ok"


async def test_an_answer_that_cannot_be_delivered_is_counted_and_ends_nothing() -> None:
    seen: list[Answer] = []

    async def deliver(answer: Answer) -> None:
        seen.append(answer)
        raise OSError("the spool is on fire")

    async with running(Scripted(), deliver=deliver) as run:
        for count in (1, 2):
            run.pool.ask_nowait(request())
            await run.dropped("undelivered", count)
    assert [answer.outcome for answer in seen] == ["ok", "ok"]


# --- life -------------------------------------------------------------------------------------------------


async def test_drain_finishes_what_is_in_flight_and_takes_nothing_new(vlm: VlmServer) -> None:
    go = asyncio.Event()
    vlm.script(play.held(go, say(TRUCK)))
    async with running(local(vlm)) as run:
        run.pool.ask_nowait(request(rule="in-flight"))
        await vlm.wait_asked(1)
        run.pool.ask_nowait(request(rule="waiting"))
        run.pool.ask_nowait(request(rule="waiting", command=True))
        draining = asyncio.create_task(run.pool.drain(5))
        await run.answered(1)
        run.pool.ask_nowait(request(rule="late"))
        go.set()
        assert await draining
        outcomes = {answer.request.rule: answer.outcome for answer in run.answers}
    assert outcomes == {"waiting": "error", "in-flight": "ok"}
    assert run.drops == {"infer/shutdown": {"dock/late": 1, "dock/waiting": 1}}


async def test_drain_gives_up_after_its_time_and_what_is_cut_off_is_counted(vlm: VlmServer) -> None:
    vlm.script(play.silence())
    async with running(local(vlm)) as run:
        run.pool.ask_nowait(request())
        await vlm.wait_asked(1)
        assert not await run.pool.drain(0.05)
    assert run.drops == {"infer/shutdown": {"dock/truck": 1}}
    await vlm.wait_until(lambda: vlm.dropped == 1)


async def test_draining_an_idle_pool_returns_at_once(vlm: VlmServer) -> None:
    async with running(local(vlm)) as run:
        assert await run.pool.drain(0.0)


async def test_a_backend_that_cannot_work_is_told_at_open_and_the_others_are_closed() -> None:
    closed: list[str] = []

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append(self.name)

    class Missing(Closing):
        async def open(self) -> None:
            raise ConfigError("pip install it")

    async def deliver(_answer: Answer) -> None:
        pass

    backends = {name: kind(name=name) for name, kind in (("a", Closing), ("b", Missing))}
    clock = SystemClock()
    pool = Pool(backends, take_pictures=nothing, deliver=deliver, clock=clock, counters=Counters())
    with pytest.raises(ConfigError, match="pip install it"):
        await pool.open()
    assert closed == ["b", "a"]


async def test_an_unreachable_server_is_no_error_at_start(vlm: VlmServer) -> None:
    vlm.otherwise = say(TRUCK)
    await vlm.stop()
    async with running(local(vlm)) as run:
        answer = await run.one(request(max_age_secs=0.3))
        assert answer.failure is not None
        assert answer.failure.code == "unreachable"
        await vlm.__aenter__()
        run.pool.ask_nowait(request())
        assert (await run.answered(2))[1].outcome == "ok"


def test_a_section_of_models_makes_its_backend() -> None:
    http = OpenAICompatibleConfig(type="openai-compatible", base_url="http://127.0.0.1:9/v1", model="toy")
    made = build_backend("a", http), build_backend("b", EmbeddedConfig(type="embedded"))
    assert [type(backend) for backend in made] == [OpenAIBackend, EmbeddedBackend]
    assert [(backend.name, backend.type) for backend in made] == [
        ("a", "openai-compatible"),
        ("b", "embedded"),
    ]


# --- nothing vanishes -------------------------------------------------------------------------------------

ENDS = st.sampled_from(["ok", "rubbish", "unreachable", "fault", "no_frame", "stale"])
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("12"), st.booleans(), ENDS, st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, workers=st.integers(1, 3))
def test_every_request_ends_once_and_never_more_than_allowed_are_in_flight(
    steps: list[tuple[str, str, bool, str, int]], workers: int
) -> None:
    asyncio.run(_every_request_ends_once(steps, workers))


async def _every_request_ends_once(steps: list[tuple[str, str, bool, str, int]], workers: int) -> None:
    clock = FakeClock()
    shown = picture()
    ends: dict[str, str] = {}
    model = Scripted(requests=workers)
    model.gate = asyncio.Semaphore(0)

    async def take(asked: Request) -> tuple[Picture, ...]:
        if ends[asked.id] == "no_frame":
            raise NoFrame(asked.camera, "nothing")
        age_ns = 10**12 if ends[asked.id] == "stale" else 0
        made: dict[str, Completion | Exception] = {
            "rubbish": Completion("rubbish"),
            "unreachable": ModelUnreachable("gone"),
            "fault": ZeroDivisionError(),
        }
        model.ends.append(made.get(ends[asked.id], Completion(TRUCK)))
        instant = replace(shown.instant, captured_mono_ns=clock.monotonic_ns() - age_ns)
        return (replace(shown, instant=instant),)

    async with running(model, clock=clock, take=take) as run:
        for camera, name, command, end, released in steps:
            asked = request(camera=camera, rule=name, command=command, max_age_secs=500, deadline_secs=1000)
            ends[asked.id] = end
            run.pool.ask_nowait(asked)
            for _ in range(released):
                model.gate.release()
            await clock.settle()
        for _ in range(20 * len(steps)):
            model.gate.release()
        draining = asyncio.create_task(run.pool.drain(60))
        await clock.advance(100)
        assert await draining
        answered = [answer.request.id for answer in run.answers]
        assert len(set(answered)) == len(answered)
        assert len(answered) + run.counters.dropped() == len(steps) == run.counters.total("requests")
    assert model.most_in_flight <= workers
    assert run.pool.statistics()["local"].in_flight == 0
