"""What holds the daemon's parts together, without any process or server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edgevlm.config.model import Config
from edgevlm.daemon import Daemon
from edgevlm.orders import Orders
from edgevlm.publish.command import Command, CommandKind
from tests.fakes.clock import FakeClock


@pytest.fixture
def daemon(tmp_path: Path, clock: FakeClock) -> Daemon:
    return Daemon(Config(), state_directory=tmp_path, clock=clock)


async def test_a_faulty_part_is_started_again_and_counted(daemon: Daemon, clock: FakeClock) -> None:
    runs = 0

    async def part() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("a bug")

    with capture_logs() as logged:
        task = asyncio.create_task(daemon._keep(part), name="part")
        while not task.done():
            await clock.advance(1.0)
    await task  # shows what ended it, if it ended badly
    assert runs == 3
    assert daemon.counters.statistics()["counts"]["faults"] == {"part": 2}
    assert [(line["log_level"], line["part"]) for line in logged] == [("error", "part")] * 2


def _command(kind: CommandKind, replies: list[dict[str, Any]], **more: Any) -> Command:
    return Command(kind, "yard", reply=replies.append, **more)


def _config(**camera: Any) -> Config:
    rule = {"trigger": {"type": "command"}, "task": {"type": "caption"}, "model": "asked"}
    model = {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "model": "x"}
    source = {"type": "rtsp", "url": "rtsp://127.0.0.1:9/x"}
    return Config.model_validate(
        {
            "models": {"asked": model, "idle": {"type": "embedded"}},
            "sinks": {"out": {"type": "stdout"}},
            "cameras": {"yard": {"source": source, "rules": {"r": rule | camera}}},
        }
    )


async def test_a_model_that_no_rule_asks_is_not_loaded(tmp_path: Path, clock: FakeClock) -> None:
    daemon = Daemon(_config(), state_directory=tmp_path, clock=clock)
    assert list(daemon.pool.statistics()) == ["asked"]


async def test_commands_are_refused_while_stopping_and_where_the_site_bars_the_camera(
    tmp_path: Path, clock: FakeClock
) -> None:
    daemon = Daemon(_config(), state_directory=tmp_path, clock=clock)
    replies: list[dict[str, Any]] = []
    orders = Orders(
        daemon.pipelines, daemon.publisher, daemon.boards, barred_cameras={"yard": "requires_internet"}
    )
    orders.carry_out(_command("enable_camera", replies, enabled=True))
    orders.carry_out(_command("enable_camera", replies, enabled=False))
    orders.stop()
    orders.carry_out(_command("ask", replies, rule="r"))
    assert [reply["ok"] for reply in replies] == [False, True, False]
    assert [reply.get("error") for reply in replies] == ["requires_internet", None, "edgevlm is stopping"]


async def test_an_asker_hears_of_a_question_that_ends_before_it_is_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    config = _config(frames={"count": 2, "before_secs": 1, "after_secs": 5})
    daemon = Daemon(config, state_directory=tmp_path, clock=clock)
    replies: list[dict[str, Any]] = []
    pipeline = daemon.pipelines["yard"]
    running = asyncio.create_task(pipeline.run())
    await clock.settle()
    daemon._obey(_command("ask", replies, rule="r"))
    await clock.settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert replies == [{"ok": False, "error": "not asked: shutdown"}]
    assert daemon.counters.dropped("shutdown") == 1
