"""Real model servers, none of it written by us: llama-server, transformers serve, vLLM.

`scripts/servers` installs them, starts them and runs this file; without it everything here is skipped. The
model is tiny and trained on made-up pictures: whatever it is asked, it says whether it sees a coloured box
and which colour, as `{"answer": true, "label": "red"}`. So one question has a right answer, and the others
show that requests are taken and that whatever comes back ends as an answer or as a typed error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevlm.errors import BadAnswer, InferError, ModelTimeout
from edgevlm.infer.answer import Reading, read_answer
from edgevlm.infer.backend import Backend, Completion
from edgevlm.infer.config import OpenAICompatibleConfig
from edgevlm.infer.models import build_backend
from edgevlm.infer.probe import probe_endpoint
from edgevlm.infer.prompt import build_prompt
from edgevlm.infer.task import TASK_TYPES
from edgevlm.records import Instant, Picture, Question
from tests.infer import asking
from tests.infer.drawn import canvas, picture
from tests.servers.broker import Broker, Subscriber
from tests.servers.clips import Scene, make_clip
from tests.servers.edgevlm import edgevlm, write_config
from tests.servers.rtsp import NewRtspServer


@dataclass(frozen=True)
class Real:
    """A running server."""

    name: str
    base_url: str
    model: str

    @property
    def config(self) -> OpenAICompatibleConfig:
        return OpenAICompatibleConfig(
            type="openai-compatible", base_url=self.base_url, model=self.model, max_concurrent_requests=2
        )


REAL = [Real(*entry.split(",")) for entry in os.environ.get("EDGEVLM_REAL_SERVERS", "").split()]
"""`NAME,URL,MODEL`, one for each server."""
pytestmark = [
    pytest.mark.skipif(not REAL, reason="EDGEVLM_REAL_SERVERS is not set: run scripts/servers"),
    pytest.mark.timeout(180),
]
each_server = pytest.mark.parametrize("real", [pytest.param(real, id=real.name) for real in REAL])

COLOURS = {"red": (215, 30, 30), "green": (30, 180, 40), "blue": (30, 50, 215), "none": None}
STRUCTURE = {"answer": {"type": "boolean"}, "label": {"enum": list(COLOURS)}}
TASK = {
    "type": "structured-answering",
    "output_structure": STRUCTURE,
    "prompt": "Is there a coloured box?",
    "system_prompt": "Answer in JSON.",  # so small a model loses its way in our own, longer one
}
COLOUR = asking.question_of(**TASK)
QUESTIONS = {
    "unconstrained": asking.UNCONSTRAINED,
    "ocr": asking.OCR,
    "visual-question-answering": asking.CLOSED_QUESTION,
    "caption": asking.CAPTION,
    "detailed-caption": asking.DETAILED_CAPTION,
    "classification": asking.question_of(type="classification", classes=list(COLOURS)),
    "multi-label-classification": asking.MULTI_LABEL,
    "object-detection": asking.DETECTION,
    "structured-answering": asking.STRUCTURED,
}


@asynccontextmanager
async def opened(real: Real) -> AsyncIterator[Backend]:
    backend = build_backend(real.name, real.config)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def ask(backend: Backend, question: Question, shown: Picture, secs: float = 120) -> Completion:
    prompt = build_prompt(question, picture_size=(shown.width, shown.height))
    return await backend.ask(prompt, [shown], timeout_secs=secs)


def read(question: Question, completion: Completion, shown: Picture) -> Reading:
    size = (shown.width, shown.height)
    return read_answer(question, build_prompt(question, picture_size=size), completion, sent_size=size)


def drawn(colour: str, shade: int, size: tuple[int, int] = (640, 480)) -> NDArray[np.uint8]:
    """Return a camera's picture (BGR) with a box of this colour, or none."""
    width, height = size
    image = canvas(width, height, shade)
    if (rgb := COLOURS[colour]) is not None:
        image[height // 4 : height * 7 // 10, width // 5 : width * 3 // 5] = rgb[::-1]
    return image


@each_server
@pytest.mark.parametrize("task", TASK_TYPES)
async def test_every_task_is_taken_and_ends_as_an_answer_or_a_typed_error(real: Real, task: str) -> None:
    shown, question = picture(drawn("red", 120)), QUESTIONS[task]
    async with opened(real) as backend:
        completion = await ask(backend, question, shown)
        assert completion.usage.completion_tokens
        with contextlib.suppress(BadAnswer):  # word salad is no answer, and must be told from one
            assert read(question, completion, shown).outcome in ("ok", "unknown")


@each_server
async def test_the_colour_of_a_box_is_told(real: Real) -> None:
    told = {}
    async with opened(real) as backend:
        for colour in COLOURS:
            for shade in (40, 120, 200):
                shown = picture(drawn(colour, shade))
                reading = read(COLOUR, await ask(backend, COLOUR, shown), shown)
                told[colour, shade] = reading.value["label"]
    assert told == {(colour, shade): colour for colour, shade in told}


@each_server
async def test_a_picture_that_is_none_is_an_error_and_the_server_goes_on(real: Real) -> None:
    broken = Picture("dock", Instant(1, 0, 0, 0), 10, 10, b"\xff\xd8 this is no picture \xff\xd9")
    async with opened(real) as backend:
        with pytest.raises(InferError) as caught:
            await ask(backend, COLOUR, broken)
        assert caught.value.code in ("rejected_picture", "unreachable")
        shown = picture(drawn("blue", 120))
        assert read(COLOUR, await ask(backend, COLOUR, shown), shown).value["label"] == "blue"


@each_server
async def test_questions_that_are_given_up_do_not_hold_up_the_next(real: Real) -> None:
    long = asking.question_of(type="unconstrained", prompt="Tell all.", max_tokens=1500)
    shown = picture(drawn("green", 120))
    async with opened(real) as backend:
        await ask(backend, COLOUR, shown)  # whatever the first one compiles or loads
        for _ in range(6):
            with pytest.raises(ModelTimeout):
                await ask(backend, long, shown, secs=0.004)
        async with asyncio.timeout(10):
            assert read(COLOUR, await ask(backend, COLOUR, shown), shown).value["label"] == "green"


@each_server
async def test_the_probe_finds_no_trouble(real: Real) -> None:
    assert (await probe_endpoint(real.name, real.config)).troubles == ()


def _scene(colour: str) -> Scene:
    return lambda _number, size: drawn(colour, 120, size)


@each_server
async def test_a_red_box_before_a_camera_is_answered_red_over_mqtt(
    real: Real, new_rtsp_server: NewRtspServer, broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    colours = ("red", "blue")
    clips = {name: make_clip(tmp_path / f"{name}.mp4", scene=_scene(name), secs=2) for name in colours}
    server = new_rtsp_server({f"/{name}": clip for name, clip in clips.items()})
    rule = {
        "trigger": {"type": "interval", "every_secs": 1},
        "task": TASK,
        "deadline_secs": 30,
    }
    config: dict[str, Any] = {
        "node": "box",
        "models": {"toy": real.config.model_dump(include={"type", "base_url", "model"})},
        "sinks": {"broker": {"type": "mqtt", "host": "127.0.0.1", "port": broker.port}},
        "cameras": {
            name: {"source": {"type": "rtsp", "url": server.url(f"/{name}")}, "rules": {"box": rule}}
            for name in colours
        },
    }
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        for colour in colours:
            heard = await subscriber.until_heard(f"edgevlm/box/{colour}/box/result", timeout_secs=60)
            result = json.loads(heard.payload)
            assert (result["outcome"], result["value"]) == ("ok", {"answer": True, "label": colour})
        assert await running.stop() == 0
