"""The daemon's control socket: `STATE/control`, for the same user on the same machine.

One JSON object a line: `{"do": VERB, …}` in, `{"ok": true, …}` or `{"ok": false, "error": WHY}` out. The
socket is readable by its owner alone; lines and clients are bounded: nobody fills the daemon's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from edgevlm.errors import EdgevlmError, StateError

log = structlog.get_logger()

NAME = "control"
MAX_LINE_BYTES = 65_536
MAX_ANSWER_BYTES = 4_000_000
_MAX_CLIENTS = 8
_IDLE_SECS = 30.0
_CLIENT_SECS = 30.0

Verb = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class ControlServer:
    """Answers on the socket; belongs to the event loop."""

    def __init__(self, directory: Path, verbs: Mapping[str, Verb]) -> None:
        self._path = directory / NAME
        self._verbs = verbs
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen; where that is not possible, say so and do without."""
        try:
            listening = await asyncio.get_running_loop().run_in_executor(None, _listen, self._path)
        except OSError as err:
            log.warning("no control socket", path=str(self._path), why=err.strerror or str(err))
            return
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        if me is None or len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        self._clients.add(me)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError, ValueError):
                await self._converse(reader, writer)
        except asyncio.CancelledError:
            pass  # the daemon stops; asyncio would log it as a fault of this task
        finally:
            self._clients.discard(me)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE_SECS):
                line = await reader.readline()
            if not line:
                return
            writer.write(json.dumps(await self._answer(line), ensure_ascii=False).encode() + b"\n")
            async with asyncio.timeout(_IDLE_SECS):
                await writer.drain()

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
            verb = self._verbs[request["do"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            return _refusal(f"not a request; known are {', '.join(sorted(self._verbs))}")
        try:
            return {"ok": True, **await verb(request)}
        except EdgevlmError as err:
            return _refusal(str(err))
        except Exception as err:
            # The end of what one client asked: the daemon goes on.
            log.exception("a control request failed", verb=request["do"])
            return _refusal(f"a fault of edgevlm itself ({type(err).__name__}); its log has the traceback")


def _refusal(why: str) -> Mapping[str, Any]:
    return {"ok": False, "error": why}


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, for our user alone; who holds the state's lock may replace it."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with _in(path.parent) as short:
            listening.bind(f"{short}/{path.name}")
        path.chmod(0o600)
        listening.listen(_MAX_CLIENTS)
    except OSError:
        listening.close()
        raise
    return listening


def request(directory: Path, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ask the daemon that uses `directory`; return its answer, or None when none runs there. Blocks.

    Raises:
        StateError: it does not answer.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
        link.settimeout(_CLIENT_SECS)
        try:
            with _in(directory) as short:
                link.connect(f"{short}/{NAME}")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError as err:
            raise StateError(f"{directory / NAME}: {err.strerror}") from None
        try:
            link.sendall(json.dumps(document).encode() + b"\n")
            answer: dict[str, Any] = json.loads(_line(link))
        except (OSError, ValueError):
            raise StateError(f"{directory / NAME}: the daemon does not answer") from None
    return answer


def _line(link: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_ANSWER_BYTES:
        chunk = link.recv(65_536)
        if not chunk:
            break
        line += chunk
    return line


@contextlib.contextmanager
def _in(directory: Path) -> Iterator[str]:
    """Give `directory` a short name: a socket's path may have 107 bytes only."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
