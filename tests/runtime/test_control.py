"""The control socket: who may speak to it, and what it answers to good, bad and endless requests."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edgevlm.errors import StateError
from edgevlm.runtime.control import MAX_LINE_BYTES, NAME, ControlServer, request

pytestmark = pytest.mark.usefixtures("loop_guard")


async def _echo(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"heard": given.get("what")}


async def _refuse(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise StateError("not now")


async def _fail(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ZeroDivisionError


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Path]:
    deep = tmp_path / ("deep" * 20) / ("er" * 20)  # a path that no socket address can hold
    await asyncio.to_thread(deep.mkdir, parents=True)
    server = ControlServer(deep, {"echo": _echo, "refuse": _refuse, "fail": _fail})
    await server.open()
    yield deep
    await server.close()


async def _ask(directory: Path, **document: Any) -> dict[str, Any] | None:
    return await asyncio.to_thread(request, directory, document)


async def test_it_answers_its_owner_alone(directory: Path) -> None:
    assert await _ask(directory, do="echo", what="ü") == {"ok": True, "heard": "ü"}
    mode = (await asyncio.to_thread((directory / NAME).stat)).st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_refusals_and_faults_are_told_and_the_daemon_goes_on(directory: Path) -> None:
    assert await _ask(directory, do="refuse") == {"ok": False, "error": "not now"}
    with capture_logs() as logs:
        answer = await _ask(directory, do="fail")
    assert answer is not None
    assert "ZeroDivisionError" in answer["error"]
    assert logs[0]["exc_info"] is True
    assert (await _ask(directory, do="nothing") or {})["error"].endswith("echo, fail, refuse")
    assert (await _ask(directory, do="echo", what=1) or {})["heard"] == 1


@pytest.mark.parametrize("line", [b"{half", b"[]", b'"do"', b"\xff\xfe", b"[" * 5000, b'{"do": []}'])
async def test_rubbish_gets_an_answer(directory: Path, tmp_path: Path, line: bytes) -> None:
    reader, writer = await _open(directory, tmp_path)
    writer.write(line + b"\n")
    assert json.loads(await reader.readline())["ok"] is False
    writer.close()


async def _open(directory: Path, tmp_path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect by a path that fits."""
    link = tmp_path / "link"
    await asyncio.to_thread(link.symlink_to, directory)
    return await asyncio.open_unix_connection(str(link / NAME))


async def test_an_endless_line_is_hung_up_on(directory: Path, tmp_path: Path) -> None:
    reader, writer = await _open(directory, tmp_path)
    writer.write(b"x" * (3 * MAX_LINE_BYTES))
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert (await _ask(directory, do="echo", what=2) or {})["heard"] == 2


async def test_without_a_daemon_there_is_no_answer(tmp_path: Path) -> None:
    assert await _ask(tmp_path, do="echo") is None
    assert await _ask(tmp_path / "nowhere", do="echo") is None
    server = ControlServer(tmp_path, {})
    await server.open()
    await server.close()
    assert await _ask(tmp_path, do="echo") is None, "what a dead daemon left behind is nobody"
