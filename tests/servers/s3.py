"""A real S3 server (moto) in a process of its own, which the tests look into from outside."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest_asyncio

BUCKET = "camera-frames"


@dataclass
class S3:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def keys(self) -> list[str]:
        """Return the names of all objects in the bucket."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.endpoint}/{BUCKET}") as response:
            text = await response.text()
        return [part.partition("</Key>")[0] for part in text.split("<Key>")[1:]]


@pytest_asyncio.fixture
async def s3() -> AsyncIterator[S3]:
    """A running server with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = S3(port)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _make_bucket(server, process)
        yield server
    finally:
        process.kill()
        await process.wait()


async def _make_bucket(server: S3, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(40):
        while True:
            assert process.returncode is None, "the S3 server ended"
            try:
                async with session.put(f"{server.endpoint}/{BUCKET}") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
