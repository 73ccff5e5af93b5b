"""The daemon's side of the demo's child processes: start, wait until ready, stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from types import TracebackType
from typing import Any, Self

from edgevlm.errors import EdgevlmError

READY_TIMEOUT_SECS = 30.0
STOP_TIMEOUT_SECS = 5.0


class Child:
    """One `python -m MODULE` that prints a line of JSON when it is ready and ends with its stdin."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's number, while there is a process."""
        return self._process.pid if self._process else None

    async def start(self, timeout_secs: float = READY_TIMEOUT_SECS) -> dict[str, Any]:
        """Start the process and return what it said when it was ready."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", self._module, *self._arguments)
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            async with asyncio.timeout(timeout_secs):
                return await self._first_line(self._process)
        except TimeoutError as err:
            await self.stop()
            raise EdgevlmError(f"{self._module} was not ready within {timeout_secs:g} s") from err
        except BaseException:
            await self.stop()
            raise

    async def _first_line(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            _, complaint = await process.communicate()
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise EdgevlmError(f"{self._module} did not start: {last or 'it said nothing'}")
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError as err:
            raise EdgevlmError(f"{self._module} began with {line[:80]!r}") from err
        return said

    async def stop(self) -> None:
        """End the process, by force if it does not listen; harmless when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_SECS)
        except TimeoutError:
            process.kill()
            await process.communicate()


class DemoCameras:
    """The demo's two cameras; `urls` holds an RTSP address for each while the `async with` block runs."""

    def __init__(self, *, ready_timeout_secs: float = READY_TIMEOUT_SECS) -> None:
        self.urls: dict[str, str] = {}
        self._ready_timeout_secs = ready_timeout_secs
        self._child = Child("edgevlm.demo.camera")

    @property
    def pid(self) -> int | None:
        """The cameras' process, while it runs."""
        return self._child.pid

    async def __aenter__(self) -> Self:
        said = await self._child.start(self._ready_timeout_secs)
        self.urls = {path.strip("/"): f"rtsp://127.0.0.1:{said['port']}{path}" for path in said["mounts"]}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._child.stop()
