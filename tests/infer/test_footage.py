"""Clips in the pool: shown to the model, or kept as evidence without holding up a question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from edgevlm.errors import NoFrame
from edgevlm.infer import footage
from edgevlm.infer.config import OpenAICompatibleConfig
from edgevlm.infer.footage import TakeClip
from edgevlm.infer.models import build_backend
from edgevlm.infer.pool import Pool
from edgevlm.records import Answer, Clip, ClipShot, Picture, Request
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.infer.asked import request
from tests.infer.drawn import picture
from tests.servers.vlm import VlmServer, held, say

TRUCK = '{"class_name": "truck", "confidence": 0.9}'
MP4 = b"\0\0\0\x18ftypisom....moov....mdat...."
CLIP = Clip("dock", 10**9, 5 * 10**9, 640, 360, 61, "h264", remuxed=True, mp4=MP4)
SHOWN = replace(request(), clip=ClipShot(4, asked=True))
EVIDENCE = replace(request(), clip=ClipShot(10))


@dataclass
class Running:
    pool: Pool
    counters: Counters
    answers: asyncio.Queue[Answer] = field(default_factory=asyncio.Queue)


@asynccontextmanager
async def running(vlm: VlmServer, take_clip: TakeClip | None) -> AsyncIterator[Running]:
    clock, counters = SystemClock(), Counters()
    answers: asyncio.Queue[Answer] = asyncio.Queue()

    async def fresh(asked: Request) -> tuple[Picture, ...]:
        return (picture(camera=asked.camera, captured_mono_ns=clock.monotonic_ns()),)

    config = OpenAICompatibleConfig(type="openai-compatible", base_url=vlm.base_url, model="toy")
    pool = Pool(
        {"local": build_backend("local", config)},
        take_pictures=fresh,
        take_clip=take_clip,
        deliver=answers.put,
        clock=clock,
        counters=counters,
    )
    await pool.open()
    task = asyncio.create_task(pool.run())
    try:
        yield Running(pool, counters, answers)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.close()


async def whole(_asked: Request) -> Clip:
    return CLIP


async def refused(asked: Request) -> Clip:
    raise NoFrame(asked.camera, "nothing of that time is in the ring")


async def test_a_model_that_is_asked_about_a_clip_sees_it_in_place_of_the_picture(vlm: VlmServer) -> None:
    vlm.script(say(TRUCK))
    async with running(vlm, whole) as run:
        run.pool.ask_nowait(SHOWN)
        answer = await run.answers.get()
    [asked] = vlm.asked
    assert (asked.videos, asked.pictures, sorted(asked.parts)) == ((MP4,), (), ["text", "video_url"])
    assert "a video: 4.0 seconds" in asked.text
    assert (answer.value, answer.clip, len(answer.pictures)) == ("truck", CLIP, 1)


async def test_a_clip_is_sent_again_with_a_repair(vlm: VlmServer) -> None:
    vlm.script(say("truck, I think"), say(TRUCK))
    async with running(vlm, whole) as run:
        run.pool.ask_nowait(SHOWN)
        answer = await run.answers.get()
    assert [asked.videos for asked in vlm.asked] == [(MP4,), (MP4,)]
    assert answer.value == "truck"


async def test_without_the_clip_that_it_is_about_a_question_is_not_asked(vlm: VlmServer) -> None:
    async with running(vlm, refused) as run:
        run.pool.ask_nowait(replace(SHOWN, trigger=replace(SHOWN.trigger, type="command")))
        answer = await run.answers.get()
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.stage) == ("unreachable", "capture")
    assert "nothing of that time" in answer.failure.message
    assert vlm.asked == []


async def test_evidence_does_not_hold_up_the_question(vlm: VlmServer) -> None:
    """The model is asked, and answers, while the clip is still being made."""
    vlm.script(say(TRUCK))

    async def after_the_question(_asked: Request) -> Clip:
        await vlm.wait_asked(1)
        return CLIP

    async with running(vlm, after_the_question) as run:
        run.pool.ask_nowait(EVIDENCE)
        answer = await run.answers.get()
    assert answer.clip == CLIP
    assert (vlm.asked[0].videos, len(vlm.asked[0].pictures)) == ((), 1)


async def test_an_answer_goes_without_evidence_that_cannot_be_had(vlm: VlmServer) -> None:
    vlm.script(say(TRUCK))
    async with running(vlm, refused) as run:
        run.pool.ask_nowait(EVIDENCE)
        answer = await run.answers.get()
    assert (answer.value, answer.clip) == ("truck", None)
    assert run.counters.statistics()["drops"] == {"capture/no_clip": {"dock/truck": 1}}


async def test_an_answer_does_not_wait_for_ever_for_its_evidence(
    vlm: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footage, "PATIENCE_SECS", 0.05)
    vlm.script(say(TRUCK))
    ended = asyncio.Event()

    async def never(_asked: Request) -> Clip:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return CLIP

    async with running(vlm, never) as run:
        run.pool.ask_nowait(EVIDENCE)
        answer = await run.answers.get()
        await ended.wait()
    assert (answer.value, answer.clip) == ("truck", None)
    assert run.counters.dropped("no_clip") == 1


async def test_a_clip_is_not_made_on_after_its_question_was_cancelled(vlm: VlmServer) -> None:
    vlm.script(held(asyncio.Event(), say(TRUCK)))
    ended = asyncio.Event()

    async def slow(_asked: Request) -> Clip:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return CLIP

    async with running(vlm, slow) as run:
        run.pool.ask_nowait(EVIDENCE)
        await vlm.wait_asked(1)
    await ended.wait()


@pytest.mark.parametrize("take_clip", [None, whole])
async def test_a_question_without_a_clip_has_none(vlm: VlmServer, take_clip: TakeClip | None) -> None:
    vlm.script(say(TRUCK))
    async with running(vlm, take_clip) as run:
        run.pool.ask_nowait(request() if take_clip else SHOWN)
        answer = await run.answers.get()
    assert (answer.clip, vlm.asked[0].videos, len(vlm.asked[0].pictures)) == (None, (), 1)
