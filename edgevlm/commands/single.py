"""One question, outside the daemon: the same capture hosts and the same pool, no sinks, no state, no lock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from edgevlm.capture.hosts import Camera, Hosts
from edgevlm.capture.spec import CameraSpec
from edgevlm.config.compatibility import Compatibility
from edgevlm.config.model import Config
from edgevlm.guard import guarded
from edgevlm.infer.models import build_backend
from edgevlm.infer.pool import Pool
from edgevlm.pipeline import local_time
from edgevlm.plan import Plan
from edgevlm.publish.result import ResultContext, build_message, new_boot_id
from edgevlm.records import Answer, CameraHealth, CameraState, Clip, Picture, Request, Trigger
from edgevlm.runtime.addresses import Reach
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.timesync import clock_state

FIRST_FRAME_SECS = 45.0
"""Longest wait for a camera's first frame: opening, and one long GOP."""
_HOPELESS = (CameraState.OFFLINE, CameraState.UNAUTHORIZED)


async def ask_once(
    config: Config, plan: Plan, cameras: Sequence[CameraSpec], found: Compatibility | None = None
) -> dict[str, Any]:
    """Ask `plan`'s question about what it shows of each camera, in their order; return the result document.

    A camera that shows nothing gives a document with `outcome: error` and `stage: capture`. With `found`
    nothing is connected to that it does not allow.

    Raises:
        ConfigError: the model cannot work as it is configured.

    """
    counters = Counters()
    if found is None:
        return await _ask_once(config, plan, cameras, counters)
    limits = {plan.model: leaves_of(config, plan.camera)}
    async with guarded(config, found, cameras, counters=counters, limits=limits) as reachable:
        return await _ask_once(config, plan, reachable, counters)


def leaves_of(config: Config, camera: str) -> Reach:
    """Return how far a camera's pixels may go; pictures of no camera may go anywhere."""
    return config.cameras[camera].leaves if camera in config.cameras else "internet"


async def _ask_once(
    config: Config, plan: Plan, cameras: Sequence[CameraSpec], counters: Counters
) -> dict[str, Any]:
    clock = SystemClock()
    hosts = Hosts(cameras, cameras_per_host=len(cameras), clock=clock, counters=counters)
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def take_pictures(request: Request) -> tuple[Picture, ...]:
        fired_ns = request.trigger.fired_mono_ns
        shown = [await camera.pictures(request.shot, fired_ns) for camera in hosts.cameras.values()]
        return tuple(picture for pictures in shown for picture in pictures)

    async def take_clip(request: Request) -> Clip:
        (camera,) = hosts.cameras.values()
        assert request.clip is not None
        return await camera.clip(request.clip, request.trigger.fired_mono_ns)

    async def deliver(answer: Answer) -> None:
        answered.set_result(answer)

    pool = Pool(
        {plan.model: build_backend(plan.model, config.models[plan.model])},
        take_pictures=take_pictures,
        take_clip=take_clip,
        deliver=deliver,
        clock=clock,
        counters=counters,
    )
    await pool.open()
    tasks = [
        asyncio.create_task(process.run(), name=f"edgevlm.{process.name}") for process in hosts.processes
    ]
    try:
        await asyncio.gather(*(_first_frame(camera) for camera in hosts.cameras.values()))
        tasks.append(asyncio.create_task(pool.run(), name="edgevlm.pool"))
        trigger = Trigger(plan.camera, plan.rule, "command", "command", clock.monotonic_ns())
        timezone = ZoneInfo(config.site.timezone) if config.site.timezone else None
        pool.ask_nowait(plan.request(trigger, {"now": local_time(clock, timezone)}))
        answer = await answered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.close()
    boot_id = new_boot_id(clock.utc_ns())
    context = ResultContext(node=config.node, boot_id=boot_id, labels=plan.labels, clock=clock_state())
    return build_message(answer, context=context, seq=1).document


async def _first_frame(camera: Camera) -> None:
    """Wait until `camera` shows a frame, or says that it cannot."""
    hopeless = asyncio.Event()

    def watch(_: CameraHealth, health: CameraHealth) -> None:
        if health.state in _HOPELESS:
            hopeless.set()

    async def look() -> None:
        async for _ in camera.looks():
            return

    camera.on_health = watch
    waiting = [asyncio.ensure_future(look()), asyncio.ensure_future(hopeless.wait())]
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_FRAME_SECS):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for future in waiting:
        future.cancel()
