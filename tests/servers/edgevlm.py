"""The program itself as a process: started by its command line, read from outside like a user reads it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

START_SECS = 30.0


@dataclass
class Edgevlm:
    """A running `edgevlm` command."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    """Standard error, line by line."""
    out: bytes = b""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Collect both outputs until they end."""
        await asyncio.gather(self._follow_errors(), self._follow_output())

    async def _follow_errors(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode(errors="replace").rstrip())
            self._changed.set()

    async def _follow_output(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.out += chunk
            self._changed.set()

    async def until_logged(self, text: str, timeout_secs: float = START_SECS) -> str:
        """Return the first log line that holds `text`, when there is one."""
        try:
            async with asyncio.timeout(timeout_secs):
                while (line := self._find(text)) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not logged in {timeout_secs} s: {self.lines}") from None
        return line

    def _find(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    async def stop(self, number: signal.Signals = signal.SIGTERM, timeout_secs: float = 30.0) -> int:
        """Send a signal and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(timeout_secs):
            return await self.process.wait()


def write_config(path: Path, mapping: Mapping[str, Any]) -> Path:
    """Write a configuration file."""
    path.write_text(yaml.safe_dump(dict(mapping), sort_keys=False), encoding="utf-8")
    return path


@asynccontextmanager
async def edgevlm(
    *arguments: str,
    state: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Edgevlm]:
    """Run `edgevlm ARGUMENTS` with its own state directory; kill it if it still runs at the end.

    `prefix` is a command that runs it, `ip netns exec NAME` for one.
    """
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-m",
        "edgevlm",
        *arguments,
        env={**os.environ, "STATE_DIRECTORY": str(state), **(environ or {})},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Edgevlm(process)
    following = asyncio.create_task(running.follow())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await following
        print(*running.lines, sep="\n")  # pytest shows it when the test fails
