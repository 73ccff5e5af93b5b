"""A clock that is moved by hand."""

from __future__ import annotations

import asyncio
import heapq

import pytest


class FakeClock:
    """Time stands still until `advance`; sleepers wake in the order of their times."""

    def __init__(self) -> None:
        self._mono_ns = 1_000_000_000_000
        self._utc_ns = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def utc_ns(self) -> int:
        return self._utc_ns

    def step_utc(self, secs: float) -> None:
        """Set the wall clock forward or back, as NTP does."""
        self._utc_ns += int(secs * 1e9)

    async def sleep(self, secs: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._mono_ns + int(secs * 1e9), self._count, future))
        await future

    async def advance(self, secs: float) -> None:
        """Move both clocks on by `secs`, waking each sleeper at its time and letting it run."""
        end = self._mono_ns + int(secs * 1e9)
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._utc_ns += max(0, due - self._mono_ns)
            self._mono_ns = max(self._mono_ns, due)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._utc_ns += end - self._mono_ns
        self._mono_ns = end
        await self.settle()

    async def settle(self) -> None:
        """Let everything that is ready run."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
