"""Nothing accepted is lost: a real process on a real file, killed anywhere, and disks that fail."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_store import SpoolStore
from edgevlm.runtime.clock import SystemClock
from tests.servers.spooling import LIMITS

STRACE = shutil.which("strace")
ROOT = Path(__file__).parents[2]

needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace: apt-get install strace")


@dataclass
class Spooling:
    """A running `tests.servers.spooling`."""

    process: asyncio.subprocess.Process
    accepted: list[str] = field(default_factory=list)
    straight: list[str] = field(default_factory=list)
    errors: bytes = b""

    async def next_line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            line = (await self.process.stdout.readline()).decode().rstrip("\n")
        kind, _, id_ = line.partition(" ")
        if kind in {"accepted", "straight"}:
            (self.accepted if kind == "accepted" else self.straight).append(id_)
        return line

    async def read_to_the_end(self) -> int:
        while await self.next_line():
            pass
        assert self.process.stderr is not None
        self.errors = await self.process.stderr.read()
        return await self.process.wait()


@asynccontextmanager
async def spooling(
    directory: Path, *arguments: str, through: tuple[str, ...] = ()
) -> AsyncIterator[Spooling]:
    process = await asyncio.create_subprocess_exec(
        *through,
        sys.executable,
        "-m",
        "tests.servers.spooling",
        str(directory),
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Spooling(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _kept(directory: Path, sink: str = "broker") -> list[str]:
    """Return the ids that wait, in order camera by camera; the file must be sound and the pictures whole."""
    rows = SpoolStore(directory, LIMITS, Age(SystemClock()))
    found = rows.open()
    assert found.set_aside is None
    ids: list[str] = []
    for name, camera in sorted(found.waiting):
        after, more = 0, name == sink
        while more:
            page, more = rows.page(sink, camera, after, 500)
            for spooled in page:
                after = spooled.seq or after
                ids.append(spooled.message.id)
                for evidence in spooled.message.evidence:
                    assert evidence.read() == b"jpeg %d" % spooled.message.document["seq"]
    rows.close()
    return ids


def _check(directory: Path, accepted: list[str]) -> None:
    kept = _kept(directory)
    assert set(accepted) - set(kept) == set(), "accepted and lost"
    assert len(kept) == len(set(kept))
    assert kept == sorted(kept, key=lambda id_: (int(id_[-12:]) % 3, id_)), "out of order"


async def test_twenty_kills_at_random_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    accepted: list[str] = []
    for number in range(20):
        async with spooling(tmp_path, str(number * 1000)) as running:
            assert await running.next_line() == "open"
            for _ in range(chance.randrange(1, 40)):
                await running.next_line()
            running.process.kill()
            await running.read_to_the_end()
        accepted += running.accepted
    assert len(accepted) > 100
    _check(tmp_path, accepted)


@needs_strace
@pytest.mark.parametrize("when", [1, 2, 3, 4, 6, 9, 13, 20, 31])
async def test_a_kill_inside_the_commit_loses_nothing(tmp_path: Path, when: int) -> None:
    async with spooling(tmp_path, "0", "6") as prepared:  # the file exists before
        assert await prepared.read_to_the_end() == 0
    inject = (str(STRACE), "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e")
    through = (*inject, f"inject=fdatasync:signal=KILL:when={when}")
    async with spooling(tmp_path, "100", through=through) as running:
        assert await running.read_to_the_end() != 0
    _check(tmp_path, prepared.accepted + running.accepted)


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("when", ["3", "5", "7..9", "4+6"])
async def test_a_failing_fsync_is_never_believed(tmp_path: Path, error: str, when: str) -> None:
    """What is said to be accepted is there, also when the disk works again right after the error."""
    inject = (str(STRACE), "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e")
    through = (*inject, f"inject=fdatasync:error={error}:when={when}")
    async with spooling(tmp_path, "0", "60", through=through) as running:
        assert await running.read_to_the_end() == 0
    assert len(running.accepted) + len(running.straight) == 60
    if "." not in when:
        assert len(running.accepted) >= 55, "one error costs nothing: the file is opened anew and it goes on"
    assert b"Traceback" not in running.errors
    _check(tmp_path, running.accepted)


@asynccontextmanager
async def small_disk(directory: Path, size: str) -> AsyncIterator[Path]:
    """Mount a disk of `size` in memory."""
    await asyncio.to_thread(directory.mkdir)
    mount = await asyncio.create_subprocess_exec(
        "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory), stderr=subprocess.DEVNULL
    )
    if await mount.wait():
        pytest.skip("needs the right to mount: run as root")
    try:
        yield directory
    finally:
        await (await asyncio.create_subprocess_exec("umount", "-l", str(directory))).wait()


def _fill(directory: Path) -> Path:
    """Take the last block of the disk."""
    ballast = directory / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    assert os.statvfs(directory).f_bavail == 0
    return ballast


async def test_on_a_disk_that_others_filled_accepting_goes_on(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", "8m") as disk:
        async with spooling(disk, "0", "6") as before:
            assert await before.read_to_the_end() == 0
        _fill(disk)
        async with spooling(disk, "100", "300") as running:
            assert await running.read_to_the_end() == 0
        assert running.straight == []
        assert len(running.accepted) == 300
        _check(disk, before.accepted + running.accepted)


async def test_a_start_on_a_full_disk_says_so_and_sends_straight(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", "3m") as disk:
        ballast = _fill(disk)
        async with spooling(disk, "0", "9") as running:
            assert await running.read_to_the_end() == 0
        assert (len(running.straight), running.accepted) == (9, [])
        ballast.unlink()


@needs_strace
@pytest.mark.parametrize("when", ["12..40", "30..200"])
async def test_a_disk_that_turns_read_only_loses_nothing_accepted(tmp_path: Path, when: str) -> None:
    inject = (str(STRACE), "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e")
    async with spooling(tmp_path, "0", "6") as prepared:
        assert await prepared.read_to_the_end() == 0
    through = (*inject, f"inject=pwrite64:error=EROFS:when={when}")
    async with spooling(tmp_path, "100", "60", through=through) as running:
        assert await running.read_to_the_end() == 0
    assert len(running.accepted) + len(running.straight) == 60
    assert b"Traceback" not in running.errors
    _check(tmp_path, prepared.accepted + running.accepted)
