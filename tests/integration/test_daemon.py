"""The whole way of a frame: a real RTSP server, a real HTTP server, a real broker, the real program."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import psutil

from edgevlm.publish.result import result_schema
from tests.servers.broker import Broker, NewBroker, Subscriber
from tests.servers.edgevlm import edgevlm, write_config
from tests.servers.rtsp import RealRtspServer
from tests.servers.vlm import VlmServer, held, raw, say, silence

CANARY = "c4n4ry#s3cret/päss"


def _config(**sections: Any) -> dict[str, Any]:
    return {"node": "box", **sections}


def _model(vlm: VlmServer, **more: Any) -> dict[str, Any]:
    return {"type": "openai-compatible", "base_url": vlm.base_url, "model": "stub", **more}


def _mqtt(broker: Broker, **more: Any) -> dict[str, Any]:
    return {"type": "mqtt", "host": "127.0.0.1", "port": broker.port, **more}


def _gate(every_secs: float = 0.5, **task: Any) -> dict[str, Any]:
    question = {"type": "visual-question-answering", "prompt": "Is the gate open?", "answers": ["yes", "no"]}
    return {"trigger": {"type": "interval", "every_secs": every_secs}, "task": question | task}


def _rtsp(server: RealRtspServer, mount: str = "/plain", **more: Any) -> dict[str, Any]:
    return {"type": "rtsp", "url": server.url(mount), **more}


def _file(clip: Path) -> dict[str, Any]:
    return {"type": "file", "path": str(clip), "loop": True}


def _open(_: object) -> Any:
    return say('{"answer": "yes"}')


async def test_a_frame_goes_all_the_way(
    rtsp_server: RealRtspServer, vlm: VlmServer, broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    vlm.otherwise = _open
    config = _config(
        labels={"site": "north"},
        models={"stub": _model(vlm)},
        sinks={"broker": _mqtt(broker), "files": {"type": "file", "evidence": ["picture"]}},
        cameras={"yard": {"source": _rtsp(rtsp_server), "rules": {"gate": _gate()}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        heard = await subscriber.until_heard("edgevlm/box/yard/gate/result", timeout_secs=30)
        await subscriber.until_heard("edgevlm/box/yard/gate/state", "yes")
        await subscriber.until_heard("edgevlm/box/yard/status", "online")
        await subscriber.until_heard("edgevlm/box/yard/gate/status", "ok")
        await subscriber.until_heard("edgevlm/box/yard/gate/enabled", "true")
        info = json.loads((await subscriber.until_heard("edgevlm/box/info")).payload)
        assert await running.stop() == 0
    await subscriber.until_heard("edgevlm/box/status", "offline")
    await subscriber.until_heard("edgevlm/box/yard/status", "offline")

    result = json.loads(heard.payload)
    jsonschema.validate(result, result_schema())
    assert (result["outcome"], result["value"], result["labels"]) == ("ok", "yes", {"site": "north"})
    assert result["frames"][0]["width"] == 640
    assert not heard.retained
    assert info["cameras"]["yard"]["rules"]["gate"] == {
        "trigger": "interval",
        "task": "visual-question-answering",
    }
    rows = [json.loads(line) for line in _rows(tmp_path / "state" / "results")]
    assert rows[0]["id"] == result["id"]
    evidence = tmp_path / "state" / "results" / rows[0]["frames"][0]["evidence"]
    assert evidence.read_bytes() == vlm.asked[0].pictures[0]


def _rows(directory: Path) -> list[str]:
    return [line for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]


async def test_every_message_of_a_run_follows_the_schema_also_when_the_model_talks_rubbish(
    clip: Path, vlm: VlmServer, broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    vlm.script(say("I would rather not say."), say("still not"), raw(b"\xff\xfe garbage"), say(""), say(""))
    vlm.otherwise = _open
    path = write_config(
        tmp_path / "edgevlm.yaml",
        _config(
            models={"stub": _model(vlm)},
            sinks={"broker": _mqtt(broker)},
            cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(0.2)}}},
        ),
    )
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await subscriber.until_heard("edgevlm/box/yard/gate/state", "yes", timeout_secs=30)
        await running.stop()
    results = [json.loads(heard.payload) for heard in subscriber.on("edgevlm/box/yard/gate/result")]
    for result in results:
        jsonschema.validate(result, result_schema())
    first = results[0]
    assert (first["outcome"], first["error"]["code"]) == ("error", "invalid_answer")
    assert first["value"] is None
    assert "still not" in first["raw"]
    assert [result["seq"] for result in results] == list(range(1, len(results) + 1))
    assert all(heard.text == "yes" for heard in subscriber.on("edgevlm/box/yard/gate/state"))


async def test_secrets_are_in_no_output_of_a_run(
    rtsp_server: RealRtspServer, vlm: VlmServer, new_broker: NewBroker, tmp_path: Path
) -> None:
    broker = new_broker(password=("edgevlm", CANARY))
    vlm.api_key = "sk-canary-0123456789"
    secret = tmp_path / "camera.password"
    secret.write_text(rtsp_server.password + "\n")
    secret.chmod(0o600)
    config = _config(
        models={
            "stub": _model(vlm, api_key="sk-canary-0123456789"),
            "wrong": _model(vlm, api_key="sk-canary-wrong"),
        },
        sinks={"broker": _mqtt(broker, username="edgevlm", password=CANARY), "files": {"type": "file"}},
        cameras={
            "locked": {
                "source": _rtsp(
                    rtsp_server, "/locked", username=rtsp_server.username, password="SECRET-FILE"
                ),
                "rules": {"gate": {**_gate(), "model": "stub"}, "sign": {**_gate(), "model": "wrong"}},
            },
            "refused": {
                "source": _rtsp(rtsp_server, "/locked", username="viewer", password=CANARY),
                "rules": {"gate": {**_gate(), "model": "stub"}},
            },
            "gone": {"source": {"type": "rtsp", "url": f"rtsp://u:{quote(CANARY, safe='')}@127.0.0.1:1/x"}},
        },
    )
    vlm.otherwise = _open
    path = write_config(tmp_path / "edgevlm.yaml", config)
    path.write_text(path.read_text().replace("SECRET-FILE", "!file camera.password"))
    async with (
        Subscriber(broker.port, username="edgevlm", password=CANARY) as subscriber,
        edgevlm(
            "run", "-c", str(path), "--log-level", "debug", "--json", state=tmp_path / "state"
        ) as running,
    ):
        await subscriber.until_heard("edgevlm/box/locked/gate/state", "yes", timeout_secs=30)
        await subscriber.until_heard("edgevlm/box/locked/sign/status", "incompatible", timeout_secs=30)
        await subscriber.until_heard("edgevlm/box/refused/status", "unauthorized")
        await subscriber.until_heard("edgevlm/box/gone/status", "offline")
        assert await running.stop() == 0
    everything = running.out + "\n".join(running.lines).encode()
    everything += b"".join(heard.topic.encode() + heard.payload for heard in subscriber.heard)
    everything += "\n".join(_rows(tmp_path / "state" / "results")).encode()
    assert b"result" in everything
    for canary in (CANARY, quote(CANARY, safe=""), rtsp_server.password, "sk-canary"):
        assert canary.encode() not in everything


async def test_a_dead_camera_and_a_killed_host_cost_the_others_nothing(
    rtsp_server: RealRtspServer,
    clip: Path,
    vlm: VlmServer,
    broker: Broker,
    subscriber: Subscriber,
    tmp_path: Path,
) -> None:
    vlm.otherwise = _open
    config = _config(
        capture={"cameras_per_host": 1},
        models={"stub": _model(vlm, max_concurrent_requests=4)},
        sinks={"broker": _mqtt(broker)},
        cameras={
            "dead": {"source": {"type": "rtsp", "url": "rtsp://127.0.0.1:1/x"}, "rules": {"gate": _gate()}},
            "yard": {"source": _rtsp(rtsp_server), "rules": {"gate": _gate()}},
            "hall": {"source": _file(clip), "rules": {"gate": _gate()}},
        },
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await subscriber.until_heard("edgevlm/box/dead/status", "offline", timeout_secs=30)
        await subscriber.until_heard("edgevlm/box/yard/gate/state", "yes", timeout_secs=30)
        await subscriber.until_heard("edgevlm/box/hall/gate/state", "yes")
        for host in psutil.Process(running.process.pid).children():
            before = len(subscriber.on("edgevlm/box/hall/gate/result"))
            os.kill(host.pid, signal.SIGKILL)
            await subscriber.until(_more_than(before + 1, subscriber, "edgevlm/box/hall/gate/result"))
        await subscriber.until(lambda _: _statuses(subscriber, "yard")[-2:] == ["offline", "online"])
        assert await running.stop() == 0
    assert not subscriber.on("edgevlm/box/dead/gate/result")


def _more_than(count: int, subscriber: Subscriber, topic: str) -> Callable[[object], bool]:
    return lambda _: len(subscriber.on(topic)) > count


def _statuses(subscriber: Subscriber, camera: str) -> list[str]:
    return [heard.text for heard in subscriber.on(f"edgevlm/box/{camera}/status")]


async def test_commands_ask_enable_and_change_the_interval(
    clip: Path, vlm: VlmServer, broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    vlm.otherwise = _open
    rules = {"gate": _gate() | {"trigger": {"type": "command"}}, "often": _gate(3600)}
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"broker": _mqtt(broker)},
        cameras={
            "yard": {"source": _file(clip), "rules": rules},
            "dead": {
                "source": {"type": "rtsp", "url": "rtsp://127.0.0.1:1/x"},
                "rules": {"gate": _gate(3600)},
            },
        },
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    cmd = "edgevlm/box/cmd"
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await subscriber.until_heard("edgevlm/box/yard/often/state", "yes", timeout_secs=30)

        async def order(topic: str, payload: str = "") -> dict[str, Any]:
            await subscriber.send(f"{cmd}/{topic}", payload, response_topic=f"reply/{topic}")
            document: dict[str, Any] = json.loads((await subscriber.until_heard(f"reply/{topic}")).payload)
            return document

        answer = await order("yard/gate/ask", '{"prompt": "Is it shut?", "request_id": "r-1"}')
        assert (answer["value"], answer["request_id"], answer["trigger"]["type"]) == ("yes", "r-1", "command")
        assert "Is it shut?" in vlm.asked[-1].text
        failed = await order("dead/gate/ask")
        assert (failed["outcome"], failed["error"]["stage"]) == ("error", "capture")
        assert (await order("yard/gate/interval", "5"))["ok"] is False
        assert (await order("yard/often/interval", "0.2"))["ok"] is True
        await subscriber.until(lambda _: len(subscriber.on("edgevlm/box/yard/often/result")) >= 3)
        assert (await order("yard/often/enable", "false"))["ok"] is True
        await subscriber.until_heard("edgevlm/box/yard/often/enabled", "false")
        assert (await order("yard/enable", "false"))["ok"] is True
        await subscriber.until_heard("edgevlm/box/yard/status", "disabled")
        assert (await order("nowhere/enable", "true"))["ok"] is False
        await running.stop()


async def test_sigterm_waits_for_the_answer_under_way_and_a_second_signal_does_not(
    clip: Path, vlm: VlmServer, broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    release = asyncio.Event()
    vlm.script(held(release, say('{"answer": "no"}')))
    vlm.otherwise = lambda _: silence()
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"broker": _mqtt(broker)},
        cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(1)}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await vlm.wait_asked(1)
        running.process.send_signal(signal.SIGTERM)
        await running.until_logged("waiting for answers")
        release.set()
        assert await running.process.wait() == 0
        await subscriber.until_heard("edgevlm/box/yard/gate/state", "no")
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await vlm.wait_asked(2)
        running.process.send_signal(signal.SIGTERM)
        await running.until_logged("waiting for answers")
        assert await running.stop(signal.SIGTERM, timeout_secs=5) == 1


async def test_the_daemon_goes_on_without_a_broker_and_delivers_when_it_comes(
    clip: Path, vlm: VlmServer, broker: Broker, tmp_path: Path
) -> None:
    vlm.otherwise = _open
    broker.stop()
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"broker": _mqtt(broker)},
        cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(0.3)}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await vlm.wait_asked(4)
        broker.start()
        async with Subscriber(broker.port) as subscriber:
            await subscriber.until_heard("edgevlm/box/yard/status", "online", timeout_secs=30)
            await subscriber.until(lambda _: len(subscriber.on("edgevlm/box/yard/gate/result")) >= 1)
            await running.stop()


async def test_a_bad_configuration_starts_nothing_and_exits_78(tmp_path: Path) -> None:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(
        "cameras:\n  yard:\n    source: {type: rtps, url: x}\n    rules: {a: {tigger: 1}}\nnoed: x\n"
    )
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        assert await running.process.wait() == 78
    text = "\n".join(running.lines)
    assert f"{path}:3:" in text
    assert "rtsp" in text
    assert f"{path}:5:1: noed:" in text
    assert "Traceback" not in text
    assert not (tmp_path / "state").exists()


async def test_a_second_daemon_on_the_same_state_is_refused(
    clip: Path, vlm: VlmServer, tmp_path: Path
) -> None:
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"files": {"type": "file"}},
        cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(3600)}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as first:
        await first.until_logged("ready")
        async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as second:
            assert await second.process.wait() == 1
        assert str(first.process.pid) in "\n".join(second.lines)
        assert await first.stop() == 0


async def test_hosts_die_with_the_daemon(clip: Path, vlm: VlmServer, tmp_path: Path) -> None:
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"files": {"type": "file"}},
        cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(0.5)}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with edgevlm("run", "-c", str(path), state=tmp_path / "state") as running:
        await vlm.wait_asked(1)
        hosts = psutil.Process(running.process.pid).children()
        assert hosts
        await running.stop(signal.SIGKILL)
        gone, alive = await asyncio.to_thread(psutil.wait_procs, hosts, timeout=5)
        assert not alive, gone


async def test_a_reader_that_stops_does_not_hold_up_the_daemon(
    clip: Path, vlm: VlmServer, tmp_path: Path
) -> None:
    """`run --json | something that stops reading`: the pipe fills, the daemon goes on and can be stopped."""
    vlm.otherwise = lambda _: say('{"answer": "yes"}' + " " * 60_000)
    config = _config(
        models={"stub": _model(vlm)},
        sinks={"files": {"type": "file"}},
        cameras={"yard": {"source": _file(clip), "rules": {"gate": _gate(0.05)}}},
    )
    path = write_config(tmp_path / "edgevlm.yaml", config)
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edgevlm",
        "run",
        "-c",
        str(path),
        "--json",
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
        stdout=writer,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        await vlm.wait_asked(60)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        os.close(reader)
        if process.returncode is None:
            process.kill()
