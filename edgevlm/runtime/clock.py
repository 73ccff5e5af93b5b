"""The only place that reads the time or sleeps; tests move their own clock by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the stages see it."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never steps."""

    def utc_ns(self) -> int:
        """Nanoseconds of UTC since 1970; may step."""

    async def sleep(self, secs: float) -> None:
        """Return after `secs` of the monotonic clock."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC, shared by all processes of this machine."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """Nanoseconds of CLOCK_REALTIME."""
        return time.time_ns()

    async def sleep(self, secs: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(secs)


async def wait_for(event: asyncio.Event, secs: float | None, clock: Clock) -> bool:
    """Wait until `event` is set, but not longer than `secs` of `clock`; return whether it is set."""
    if event.is_set() or secs is None:
        return await event.wait()
    waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(secs))]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
    return event.is_set()
