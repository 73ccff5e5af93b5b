"""The contestant: edgevlm's daemon as `edgevlm run` starts it, from a YAML file, asked by command.

    python -m benchmarks.edgevlm_loop      (see contestant.py)

The stopwatch sits at the edges: where the command's request enters the pool, where the daemon has the picture
from its capture host, where the MQTT sink has everything acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from benchmarks.contestant import ANSWERS, MAX_SIDE, QUESTION, Beat, Job, Meter, tell
from edgevlm.config.load import load
from edgevlm.daemon import Daemon
from edgevlm.publish.command import Command
from edgevlm.publish.sink import Message
from edgevlm.records import CameraState, Picture, Request
from edgevlm.runtime import logs
from edgevlm.runtime.redact import Redactor

CAMERA, RULE, SINK = "camera-1", "gate", "broker"
START_SECS = 60.0
ANSWER_SECS = 30.0


class _TimedDaemon(Daemon):
    """The daemon, and when it has a picture."""

    meter: Meter | None = None

    def ask(self) -> None:
        """Do what a command does that came over MQTT."""
        self._obey(Command("ask", CAMERA, RULE))

    async def _take_pictures(self, request: Request) -> tuple[Picture, ...]:
        pictures = await super()._take_pictures(request)
        if self.meter is not None:
            self.meter.pictured()
        return pictures


class Contestant:
    """The daemon and the one who asks it."""

    def __init__(self, job: Job) -> None:
        directory = Path(job.directory)
        path = directory / "edgevlm.yaml"
        path.write_text(yaml.safe_dump(configuration(job), sort_keys=False), encoding="utf-8")
        self._daemon = _TimedDaemon(load(path).config, state_directory=directory)
        self._online = asyncio.Event()
        self._daemon.on_camera = lambda _: self._look_whether_all_are_online()
        self._confirmed = asyncio.Event()
        self._sink = self._daemon.couriers[SINK].sink
        self._deliver = self._sink.deliver

    async def run(self) -> None:
        """Serve the measuring process until it closes our input."""
        async with asyncio.TaskGroup() as group:
            patch.object(self._sink, "deliver", self._deliver_timed).start()
            group.create_task(self._daemon.run())
            async with asyncio.timeout(START_SECS):
                await self._online.wait()
            tell("ready")
            while line := await asyncio.to_thread(sys.stdin.readline):
                await self._obey(*line.split())
            self._daemon.stop()

    async def _obey(self, order: str, *arguments: str) -> None:
        if order == "ask":
            meter = await self._ask(int(arguments[0]))
            tell(meter.asked)
        else:
            tell(sum(camera.health.packets for camera in self._daemon.hosts.cameras.values()))

    def _look_whether_all_are_online(self) -> None:
        cameras = self._daemon.hosts.cameras.values()
        if all(camera.health.state == CameraState.ONLINE for camera in cameras):
            self._online.set()

    async def _ask(self, count: int) -> Meter:
        meter = self._daemon.meter = Meter()
        beat = Beat()
        for _ in range(count):
            await asyncio.sleep(beat.pause_secs())
            self._confirmed.clear()
            meter.triggered()
            self._daemon.ask()
            async with asyncio.timeout(ANSWER_SECS):
                await self._confirmed.wait()
        return meter

    async def _deliver_timed(self, message: Message) -> None:
        await self._deliver(message)
        if self._daemon.meter is not None:
            self._daemon.meter.confirmed()
        if message.document["outcome"] != "ok":
            sys.exit(f"a question failed: {message.document['error']}")
        self._confirmed.set()


def configuration(job: Job) -> dict[str, Any]:
    """Return what `edgevlm run` would be given: defaults everywhere."""
    task = {"type": "visual-question-answering", "prompt": QUESTION, "answers": list(ANSWERS)}
    rule = {"trigger": {"type": "command"}, "task": task, "picture": {"max_side": MAX_SIDE}}
    camera = {"source": {"type": "file", "path": job.clip, "loop": True}, "rules": {RULE: rule}}
    base_url = f"http://127.0.0.1:{job.model_port}/v1"
    return {
        "node": "bench",
        "models": {"stub": {"type": "openai-compatible", "base_url": base_url, "model": "stub"}},
        "sinks": {SINK: {"type": "mqtt", "host": "127.0.0.1", "port": job.broker_port}},
        "cameras": {f"camera-{number}": camera for number in range(1, job.cameras + 1)},
    }


if __name__ == "__main__":
    logs.configure(redactor=Redactor([]), level="warning")
    asyncio.run(Contestant(Job.from_stdin()).run())
