"""The spool in the whole program: killed daemons, a broker that is away, `edgevlm spool`, damaged files."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import stat
from itertools import count
from pathlib import Path
from typing import Any

from edgevlm.publish import spool_schema
from tests.fakes.clock import FakeClock
from tests.publish.spools import store
from tests.servers.broker import Broker, Subscriber
from tests.servers.edgevlm import Edgevlm, edgevlm, write_config
from tests.servers.vlm import VlmServer, say, silence


def _config(clip: Path, vlm: VlmServer, sinks: dict[str, Any], every_secs: float = 0.1) -> dict[str, Any]:
    question = {"type": "visual-question-answering", "prompt": "Is the gate open?", "answers": ["yes", "no"]}
    rules = {"gate": {"trigger": {"type": "interval", "every_secs": every_secs}, "task": question}}
    source = {"type": "file", "path": str(clip), "loop": True}
    return {
        "node": "box",
        "spool": {"max_bytes": 2_000_000},
        "models": {"stub": {"type": "openai-compatible", "base_url": vlm.base_url, "model": "stub"}},
        "sinks": sinks,
        "cameras": {name: {"source": source, "rules": rules} for name in ("yard", "hall")},
    }


def _mqtt(port: int) -> dict[str, Any]:
    return {"type": "mqtt", "host": "127.0.0.1", "port": port}


def _numbered(vlm: VlmServer) -> None:
    numbers = count(1)
    vlm.otherwise = lambda _: say(json.dumps({"answer": ["yes", "no"][next(numbers) % 2]}))


def _accepted(running: Edgevlm) -> list[dict[str, Any]]:
    """Return what `run --json` printed: it prints what was accepted, after the commit."""
    return [json.loads(line) for line in running.out.split(b"\n")[:-1]]


async def _asked(state: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    async with edgevlm("spool", *arguments, "--json", state=state) as asking:
        code = await asking.process.wait()
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while not asking.out.endswith(b"\n"):
                asking._changed.clear()
                await asking._changed.wait()
    answer: dict[str, Any] = json.loads(asking.out)
    return code, answer


async def test_a_daemon_killed_again_and_again_loses_nothing_that_it_accepted(
    clip: Path, vlm: VlmServer, broker: Broker, tmp_path: Path
) -> None:
    chance = random.Random(3)
    _numbered(vlm)
    config = _config(clip, vlm, {"broker": _mqtt(broker.port), "files": {"type": "file"}}, 0.05)
    path = write_config(tmp_path / "edgevlm.yaml", config)
    state = tmp_path / "state"
    async with Subscriber(broker.port) as before:
        accepted = [id_ for _ in range(2) for id_ in await _killed(path, state, chance.randrange(5, 25))]
        await asyncio.to_thread(broker.stop)
    accepted += [id_ for _ in range(2) for id_ in await _killed(path, state, chance.randrange(5, 25))]
    await asyncio.to_thread(broker.start)
    async with Subscriber(broker.port) as after:
        accepted += [id_ for _ in range(2) for id_ in await _killed(path, state, chance.randrange(5, 25))]
        async with edgevlm("run", "-c", str(path), "--json", state=state) as running:
            await running.until_logged("ready")
            assert await running.stop() == 0
        accepted += [each["id"] for each in _accepted(running)]
    rows = [
        json.loads(line)["id"]
        for file in sorted((tmp_path / "state" / "results").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert set(accepted) - set(rows) == set()
    heard = [json.loads(each.payload) for each in _results(before) + _results(after)]
    assert set(accepted) - {each["id"] for each in heard} == set()
    for camera in ("yard", "hall"):
        first = list(dict.fromkeys(each["id"] for each in heard if each["camera"] == camera))
        assert first == sorted(first), "first deliveries are in order"


async def _killed(path: Path, state: Path, goal: int) -> list[str]:
    """Kill a daemon once it has accepted `goal` answers; return the ids of all that it accepted."""
    async with edgevlm("run", "-c", str(path), "--json", state=state) as running:
        async with asyncio.timeout(30):
            while len(_accepted(running)) < goal:
                running._changed.clear()
                await running._changed.wait()
        await running.stop(signal.SIGKILL)
    return [each["id"] for each in _accepted(running)]


async def test_answers_of_a_day_without_a_broker_are_there_after_a_restart(
    clip: Path, vlm: VlmServer, broker: Broker, tmp_path: Path
) -> None:
    _numbered(vlm)
    await asyncio.to_thread(broker.stop)
    path = write_config(tmp_path / "edgevlm.yaml", _config(clip, vlm, {"broker": _mqtt(broker.port)}, 0.05))
    state = tmp_path / "state"
    async with edgevlm("run", "-c", str(path), "--json", state=state) as running:
        await vlm.wait_asked(20)
        code, answer = await _asked(state, "list")
        assert code == 0
        assert answer["sinks"][0]["sink"] == "broker"
        assert answer["sinks"][0]["waiting"] >= 1
        mode = (await asyncio.to_thread((state / "control").stat)).st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert await running.stop() == 0
    accepted = [each["id"] for each in _accepted(running)]
    _, answer = await _asked(state, "list")  # without a daemon
    assert answer["sinks"][0]["waiting"] == len(accepted)
    await asyncio.to_thread(broker.start)
    vlm.otherwise = lambda _: silence()
    asked = len(vlm.asked)
    async with (
        Subscriber(broker.port) as subscriber,
        edgevlm("run", "-c", str(path), state=state) as running,
    ):
        await subscriber.until(
            lambda _: {json.loads(each.payload)["id"] for each in _results(subscriber)} >= set(accepted)
        )
        for camera in ("yard", "hall"):
            ids = [json.loads(each.payload)["id"] for each in _results(subscriber) if camera in each.topic]
            assert ids == sorted(set(ids))
        await vlm.wait_asked(asked + 1)
        await running.stop(signal.SIGKILL)
    async with edgevlm("run", "-c", str(path), state=state) as running:
        line = await running.until_logged("questions were in flight when the last run ended")
        assert "questions=" in line
        await running.stop(signal.SIGKILL)


def _results(subscriber: Subscriber) -> list[Any]:
    return [each for each in subscriber.heard if each.topic.endswith("/result")]


async def test_what_a_broker_refuses_is_listed_retried_and_dropped(
    clip: Path, vlm: VlmServer, new_broker: Any, tmp_path: Path
) -> None:
    _numbered(vlm)
    acl = "topic read #\ntopic write edgevlm/box/yard/#\ntopic write edgevlm/box/status\n"
    broker = new_broker(acl=acl)
    path = write_config(tmp_path / "edgevlm.yaml", _config(clip, vlm, {"broker": _mqtt(broker.port)}, 0.3))
    state = tmp_path / "state"
    async with edgevlm("run", "-c", str(path), state=state) as running:
        await running.until_logged("sink refused a message, which is set aside")
        _, answer = await _asked(state, "list")
        letters = answer["dead_letters"]
        assert {letter["camera"] for letter in letters} == {"hall"}
        assert "not authorised" in letters[0]["error"]
        code, answer = await _asked(state, "retry", "--id", letters[-1]["id"])
        assert (code, answer["retried"]) == (0, 1)
        code, answer = await _asked(state, "drop", "--id", letters[0]["id"])
        assert (code, answer["ok"]) == (0, True)
        assert await running.stop() == 0
    code, answer = await _asked(state, "drop", "--sink", "broker")
    assert (code, answer["dropped"] >= 1) == (0, True)
    _, answer = await _asked(state, "list", "--sink", "broker")
    assert answer["dead_letters"] == []


async def test_without_any_spool_the_command_says_so(tmp_path: Path) -> None:
    code, answer = await _asked(tmp_path / "nowhere", "list")
    assert (code, answer["ok"]) == (1, False)
    assert "no spool" in answer["error"]


async def test_a_file_of_a_newer_version_is_refused_with_exit_1_and_a_damaged_one_is_not(
    clip: Path, vlm: VlmServer, tmp_path: Path
) -> None:
    _numbered(vlm)
    state = tmp_path / "state"
    path = write_config(tmp_path / "edgevlm.yaml", _config(clip, vlm, {"files": {"type": "file"}}))
    newer = store(state, FakeClock(), migrations=(*spool_schema.MIGRATIONS, "CREATE TABLE extra (x);"))
    await asyncio.to_thread(newer.open)
    await asyncio.to_thread(newer.close)
    async with edgevlm("run", "-c", str(path), state=state) as running:
        assert await running.process.wait() == 1
    text = "\n".join(running.lines)
    assert "newer edgevlm (schema 2" in text
    assert "Traceback" not in text
    await asyncio.to_thread((state / "spool.db").write_bytes, b"rubbish" * 1000)
    async with edgevlm("run", "-c", str(path), state=state) as running:
        await running.until_logged("the spool was damaged: it is set aside")
        await running.until_logged("ready")
        assert await running.stop() == 0
