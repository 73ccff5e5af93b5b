"""The stdout sink: one result a line, for a shell or a log collector.

Written in a thread of its own, in pieces that a pipe takes without blocking once `poll` says that it takes
any: so a reader that has stopped reading holds up neither the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from concurrent.futures import ThreadPoolExecutor

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.result import encode
from edgevlm.publish.roboflow import shape_of
from edgevlm.publish.sink import Message

_PIECE_BYTES = select.PIPE_BUF
_POLL_MS = 200


class StdoutSink:
    """Standard output as a destination; implements `Sink`."""

    def __init__(self, name: str, *, shape: str = "json", fd: int = 1) -> None:
        self.name = name
        self._shape = shape_of(shape)
        self._fd = fd
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"edgevlm[{name}].stdout")

    async def open(self) -> None:
        """Nothing to prepare."""

    async def deliver(self, message: Message) -> None:
        """Write one line; return when whoever reads has taken it, or the pipe holds it."""
        await self.write(encode(self._shape(message.document)) + b"\n")

    async def write(self, line: bytes) -> None:
        """Write one line.

        Raises:
            SinkRejected: nobody reads any more.
            SinkUnreachable: it cannot be written now.

        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._write, line)
        except BrokenPipeError as err:
            raise SinkRejected(self.name, "standard output is closed") from err
        except OSError as err:
            raise SinkUnreachable(self.name, f"cannot write to standard output: {err.strerror}") from err

    async def close(self) -> None:
        """Give up a line that nobody reads."""
        self._closing.set()
        self._thread.shutdown(wait=False)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while rest:
            if self._closing.is_set():
                raise InterruptedError(None, "closing")
            if poll.poll(_POLL_MS):
                rest = rest[os.write(self._fd, rest[:_PIECE_BYTES]) :]
