"""What holds the daemon's parts together, without any process or server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgevlm.config.model import Config
from edgevlm.daemon import Daemon
from tests.fakes.clock import FakeClock


@pytest.fixture
def daemon(tmp_path: Path, clock: FakeClock) -> Daemon:
    return Daemon(Config(), state_directory=tmp_path, clock=clock)


async def test_a_faulty_part_is_started_again_and_counted(daemon: Daemon, clock: FakeClock) -> None:
    runs = 0

    async def part() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("a bug")

    task = asyncio.create_task(daemon._keep(part), name="part")
    while not task.done():
        await clock.advance(1.0)
    assert runs == 3
    assert daemon.counters.statistics()["counts"]["faults"] == {"part": 2}
