"""The stdout sink on real pipes: one line each, and never in the way of the daemon's end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator

import pytest

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.stdout import StdoutSink
from tests.publish.answers import message

pytestmark = pytest.mark.usefixtures("loop_guard")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


async def test_a_result_is_a_line(pipe: tuple[int, int]) -> None:
    sink = StdoutSink("out", fd=pipe[1])
    await sink.open()
    await sink.deliver(message(1))
    await sink.deliver(message(2, raw="x" * 20_000))
    await sink.close()
    os.close(pipe[1])
    lines = await asyncio.to_thread(lambda: os.fdopen(os.dup(pipe[0])).read().splitlines())
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]


async def test_a_reader_that_has_gone_is_the_end(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    sink = StdoutSink("out", fd=pipe[1])
    with pytest.raises(SinkRejected, match="is closed"):
        await sink.deliver(message(1))
    await sink.close()


async def test_a_reader_that_does_not_read_does_not_hold_up_the_end(pipe: tuple[int, int]) -> None:
    sink = StdoutSink("out", fd=pipe[1])
    stuck = asyncio.create_task(sink.deliver(message(1, raw="x" * 200_000)))
    assert await asyncio.to_thread(os.read, pipe[0], 1) == b"{"  # it has begun, and fills the pipe
    await sink.close()
    with pytest.raises(SinkUnreachable):
        await asyncio.wait_for(stuck, 5)
