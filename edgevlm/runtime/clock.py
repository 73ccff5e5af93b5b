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
