"""A demo process's side of its parent: say when it is ready, end when told or when the parent is gone."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from types import TracebackType
from typing import Any, Self


class Lifeline(asyncio.Protocol):
    """Ends on SIGTERM, on SIGINT, and when stdin ends, which it does with the parent, however that died."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._stdin: asyncio.BaseTransport | None = None

    def say_ready(self, **facts: Any) -> None:
        """Tell the parent, in one JSON line, that it may begin."""
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()

    def cut(self) -> None:
        """End from this side."""
        self._ended.set()

    async def wait_ended(self) -> None:
        """Return when the process shall end."""
        await self._ended.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of stdin for the end of the parent."""
        del exc
        self.cut()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.cut)
        self._stdin, _ = await loop.connect_read_pipe(lambda: self, sys.stdin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stdin:
            self._stdin.close()
