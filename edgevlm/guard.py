"""Holds a process to what its site allows: the egress policy, relays where FFmpeg may not go itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

import structlog

from edgevlm.capture.relay import Relay
from edgevlm.capture.spec import CameraSpec, RtspSpec
from edgevlm.config.compatibility import Compatibility, policy_of
from edgevlm.config.model import Config
from edgevlm.runtime import egress
from edgevlm.runtime.addresses import Reach
from edgevlm.runtime.counters import Counters

log = structlog.get_logger()


@asynccontextmanager
async def guarded(
    config: Config,
    found: Compatibility,
    cameras: Sequence[CameraSpec],
    *,
    counters: Counters,
    limits: Mapping[str, Reach] | None = None,
) -> AsyncIterator[tuple[CameraSpec, ...]]:
    """Hold this process to what `found` allows, and yield the cameras as capture hosts may open them.

    Args:
        config: names the site's networks.
        found: says what holds.
        cameras: as they are configured.
        counters: where refusals are counted.
        limits: models that may go less far than `found` says.

    """
    policy = policy_of(config, found.connectivity)
    reaches = {**found.model_limits, **(limits or {})}
    egress.enforce(policy, _teller(counters), limits=_by_component(reaches))
    async with AsyncExitStack() as stack:
        stack.callback(egress.enforce, egress.Policy())
        if found.connectivity == "air-gapped":
            cameras = [await _relayed(camera, policy, counters, stack) for camera in cameras]
        yield tuple(cameras)


def _by_component(reaches: Mapping[str, Reach]) -> dict[str, Reach]:
    """Return limits under the names by which connections ask for them."""
    return {f"model:{name}{part}": reach for name, reach in reaches.items() for part in ("", ".frame_url")}


def _teller(counters: Counters) -> egress.OnRefusal:
    """Return what logs and counts refusals, in whatever thread they happen."""
    loop = asyncio.get_running_loop()

    def tell(refusal: egress.Refusal) -> None:
        log.warning("security: a connection is refused", to=refusal.where, why=refusal.why)
        with suppress(RuntimeError):  # the event loop is closed: nobody is left to count
            loop.call_soon_threadsafe(counters.count, "egress_refused")

    return tell


async def _relayed(
    camera: CameraSpec, policy: egress.Policy, counters: Counters, stack: AsyncExitStack
) -> CameraSpec:
    if not isinstance(camera.source, RtspSpec):
        return camera
    relay = Relay(camera.name, camera.source, policy, counters=counters)
    await relay.open()
    stack.push_async_callback(relay.close)
    return replace(camera, source=relay.source())
