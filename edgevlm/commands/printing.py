"""Prints what comes out of a running daemon, without ever holding it up.

Lines wait in a bounded queue for the stdout sink's own thread; when the reader is too slow the oldest are
dropped and counted, and when it is gone (`| head`) printing ends and everything else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

import structlog

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.result import encode
from edgevlm.publish.stdout import StdoutSink
from edgevlm.runtime.counters import Counters

log = structlog.get_logger()

_MAX_LINES = 1000
_LAST_LINES_SECS = 2.0


class Printer:
    """Owns standard output while a daemon runs; `take` belongs to the event loop."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._sink = StdoutSink("stdout")
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(_MAX_LINES)
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._print(), name="edgevlm.printer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Print what still waits, for a short time."""
        assert self._task is not None
        try:
            async with asyncio.timeout(_LAST_LINES_SECS):
                await self._lines.join()
        except TimeoutError:
            self._counters.drop("publish", "not_printed", "stdout", self._lines.qsize())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._sink.close()

    def document(self, document: Mapping[str, Any]) -> None:
        """Print a result document as one line of JSON."""
        self.line(encode(document))

    def text(self, text: str) -> None:
        """Print one line of text."""
        self.line(text.encode("utf-8", "replace"))

    def line(self, line: bytes) -> None:
        """Print one line, when the reader has time for it."""
        if self._gone:
            return
        if self._lines.full():
            self._lines.get_nowait()
            self._lines.task_done()
            self._counters.drop("publish", "not_printed", "stdout")
        self._lines.put_nowait(line + b"\n")

    async def _print(self) -> None:
        while True:
            line = await self._lines.get()
            try:
                if not self._gone:
                    await self._sink.write(line)
            except (SinkRejected, SinkUnreachable) as end:
                self._gone = True
                log.warning("nobody reads standard output any more", why=end.message)
            finally:
                self._lines.task_done()
