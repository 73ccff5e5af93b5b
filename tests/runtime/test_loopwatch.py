"""The watchdog hears of us only while the loop truly turns and every part makes progress."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.loopwatch import Heartbeat, LoopWatch, complaints
from edgevlm.runtime.systemd import Notifier
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.usefixtures("loop_guard")


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.server.bind(str(path))
        self.server.settimeout(0)

    def pings(self) -> int:
        """Return how many pings came since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                count += self.server.recv(4096) == b"WATCHDOG=1"
        return count


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    yield systemd
    systemd.server.close()


@contextlib.asynccontextmanager
async def watching(watch: LoopWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_pings_come_well_within_the_interval(systemd: Systemd, clock: FakeClock) -> None:
    async with watching(LoopWatch(Notifier(str(systemd.path)), clock, 15)):
        await clock.advance(30)
    assert systemd.pings() == 8


async def test_a_silent_part_stops_the_pings(systemd: Systemd, clock: FakeClock) -> None:
    watch = LoopWatch(Notifier(str(systemd.path)), clock, 4)
    writer = watch.heartbeat("spool writer", 10)
    with capture_logs() as logs:
        async with watching(watch):
            await clock.advance(10)
            assert systemd.pings() == 10
            await clock.advance(30)
            assert systemd.pings() == 0
            writer.beat()
            await clock.advance(5)
            assert systemd.pings() == 5
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "watchdog: not alive, no ping"),
        ("info", "watchdog: alive again"),
    ]
    assert logs[0]["complaints"] == ["spool writer silent for 11.0 s"]


async def test_a_retired_part_is_not_missed(systemd: Systemd, clock: FakeClock) -> None:
    watch = LoopWatch(Notifier(str(systemd.path)), clock, 4)
    watch.retire(watch.heartbeat("replay", 1))
    async with watching(watch):
        await clock.advance(10)
    assert systemd.pings() == 10


async def test_a_blocked_loop_stops_the_pings(systemd: Systemd) -> None:
    """The real clock, a real block: while it lasts no ping comes, and the first turn after it is not one."""
    blocked, go_on, pings_meanwhile = threading.Event(), threading.Event(), []

    def look_on() -> None:
        blocked.wait()
        systemd.pings()  # those from before
        threading.Event().wait(0.4)
        pings_meanwhile.append(systemd.pings())
        go_on.set()

    def block() -> None:
        blocked.set()
        go_on.wait()

    looker = threading.Thread(target=look_on)
    looker.start()
    with capture_logs() as logs:
        async with watching(LoopWatch(Notifier(str(systemd.path)), SystemClock(), 0.08, max_lag_secs=0.2)):
            asyncio.get_running_loop().call_soon(block)
            async with asyncio.timeout(10):
                assert await asyncio.get_running_loop().sock_recv(systemd.server, 4096) == b"WATCHDOG=1"
    looker.join()
    assert pings_meanwhile == [0]
    assert "event loop late" in logs[0]["complaints"][0]
    assert logs[-1]["event"] == "watchdog: alive again"


def test_complaints(clock: FakeClock) -> None:
    beats = [Heartbeat("a", 5, clock), Heartbeat("b", 50, clock)]
    now_ns = clock.monotonic_ns()
    assert complaints(2.0, 2.0, beats, now_ns + 5_000_000_000) == []
    assert complaints(2.1, 2.0, beats, now_ns + 6_000_000_000) == [
        "event loop late by 2.1 s",
        "a silent for 6.0 s",
    ]
