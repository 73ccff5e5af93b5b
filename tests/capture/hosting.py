"""Capture hosts in a test: started, watched, and gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import psutil

from edgevlm.capture.hosts import Camera, Hosts
from edgevlm.capture.spec import CameraSpec
from edgevlm.records import Look
from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.counters import Counters


@asynccontextmanager
async def capturing(
    specs: Sequence[CameraSpec],
    *,
    per_host: int = 1,
    disabled: frozenset[str] = frozenset(),
    clock: Clock | None = None,
    counters: Counters | None = None,
) -> AsyncIterator[Hosts]:
    """Run capture hosts for as long as the block lasts; afterwards none of them is left."""
    hosts = Hosts(
        specs,
        cameras_per_host=per_host,
        disabled=disabled,
        clock=clock or SystemClock(),
        counters=counters or Counters(),
    )
    tasks = [asyncio.create_task(process.run()) for process in hosts.processes]
    try:
        yield hosts
        assert not [task for task in tasks if task.done()], "a host's task must never end by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await asyncio.to_thread(children) == []


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "edgevlm.capture.host" in child.cmdline()]


async def next_look(watched: Camera, timeout_secs: float = 10, *, session: int = 0) -> Look:
    """Return a camera's next look, of that session or a later one."""
    async with asyncio.timeout(timeout_secs):
        while (look := await anext(watched.looks())).instant.session < session:
            pass
    return look


async def until(so: Callable[[], object], timeout_secs: float = 10) -> None:
    async with asyncio.timeout(timeout_secs):
        while not so():  # noqa: ASYNC110 - psutil, logs and other processes set no event
            await asyncio.sleep(0.01)


def now() -> float:
    return asyncio.get_running_loop().time()


class Watch:
    """Follows a camera's looks in the background and knows the longest time without one."""

    def __init__(self, watched: Camera) -> None:
        self.longest_gap_secs = 0.0
        self.count = 0
        self._camera = watched
        self._last = 0.0

    async def __aenter__(self) -> Self:
        await next_look(self._camera)
        self._last = now()
        self._task = asyncio.create_task(self._follow())
        return self

    async def _follow(self) -> None:
        async for _ in self._camera.looks():
            self.longest_gap_secs = max(self.longest_gap_secs, now() - self._last)
            self._last = now()
            self.count += 1

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.longest_gap_secs = max(self.longest_gap_secs, now() - self._last)
