"""Nothing leaves an air-gapped site: the program in a network of its own, and an ear on its uplink."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.broker import Broker, Subscriber
from tests.servers.edgevlm import edgevlm, write_config
from tests.servers.networks import LAN, PUBLIC, Site
from tests.servers.rtsp import RealRtspServer
from tests.servers.vlm import VlmServer, say, status

pytestmark = [pytest.mark.usefixtures("namespaces"), pytest.mark.timeout(180)]

MQTT, RTSP, REDIRECTING_RTSP, HTTP, REDIRECTING_HTTP, VENDORS = 1883, 8554, 8555, 8000, 8001, 8002
PROXY = {"HTTP_PROXY": f"http://{PUBLIC[0]}:3128", "https_proxy": f"http://{PUBLIC[0]}:3128"}


def rule(model: str, *, every_secs: float = 0.5, **task: Any) -> dict[str, Any]:
    question = {"type": "visual-question-answering", "prompt": "Is it open?", "answers": ["yes", "no"]}
    return {
        "trigger": {"type": "interval", "every_secs": every_secs},
        "task": task or question,
        "model": model,
    }


def model(base_url: str, **more: Any) -> dict[str, Any]:
    return {"type": "openai-compatible", "base_url": base_url, "model": "stub", **more}


@asynccontextmanager
async def redirecting_camera() -> AsyncIterator[int]:
    """Serve a camera that sends everybody to a public address; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                cseq = next(line for line in head.decode().splitlines() if line.startswith("CSeq"))
                where = f"Location: rtsp://{PUBLIC[1]}:554/elsewhere"
                writer.write(f"RTSP/1.0 302 Moved\r\n{cseq}\r\n{where}\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def site_with(servers: dict[int, int]) -> AsyncIterator[Site]:
    async with Site() as site:
        for port, to in servers.items():
            await site.open_door(port, to)
        yield site


def knock(site: Site) -> None:
    """Send one packet out on purpose: proof that the ear would have heard the others."""
    code = f"import socket; socket.create_connection(('{PUBLIC[1]}', 80), timeout=2)"
    subprocess.run([*site.prefix, sys.executable, "-c", code], check=False, capture_output=True)


async def test_no_packet_leaves_an_air_gapped_site(
    clip: Path, rtsp_server: RealRtspServer, vlm: VlmServer, broker: Broker, tmp_path: Path
) -> None:
    """Every backend, a proxy variable, redirects by model and camera, a name that turns public."""
    vlm.otherwise = say('{"answer": "yes"}')
    redirecting, vendors = VlmServer(), VlmServer()
    redirecting.otherwise = status(307, headers={"Location": f"http://{PUBLIC[1]}/v1/chat/completions"})
    vendors.otherwise = say('{"answer": "no"}')
    key = {"api_key": "sk-test"}
    config = {
        "node": "box",
        "site": {"connectivity": "air-gapped", "on_incompatible": "disable"},
        "models": {
            "lan": model(f"http://vlm.lan:{HTTP}/v1"),
            "redirecting": model(f"http://{LAN}:{REDIRECTING_HTTP}/v1"),
            "reader": {"type": "embedded"},
            "ollama": {"type": "ollama", "base_url": f"http://{LAN}:{VENDORS}", "model": "m"},
            "moonshot": {"type": "moonshot", "base_url": f"http://{LAN}:{VENDORS}/v1", **key},
            "dashscope": {
                "type": "dashscope",
                "base_url": f"http://{LAN}:{VENDORS}/v1",
                "model": "qwen3-vl-plus",
                **key,
            },
            "openrouter": {"type": "openrouter", "base_url": f"http://{LAN}:{VENDORS}/v1", **key},
            "cloud": {"type": "moonshot", **key},
            "far": model(f"http://{PUBLIC[1]}/v1"),
        },
        "sinks": {
            "broker": {"type": "mqtt", "host": LAN, "port": MQTT},
            "hosted": {"type": "mqtt", "host": PUBLIC[0]},
            "files": {"type": "file", "evidence": ["picture"]},
        },
        "cameras": {
            "yard": {
                "source": {
                    "type": "rtsp",
                    "url": f"rtsp://{LAN}:{RTSP}/locked",
                    "username": rtsp_server.username,
                    "password": rtsp_server.password,
                },
                "rules": {"gate": rule("lan")},
            },
            "evil": {
                "source": {"type": "rtsp", "url": f"rtsp://{LAN}:{REDIRECTING_RTSP}/stream"},
                "rules": {"gate": rule("lan")},
            },
            "recorded": {
                "source": {"type": "file", "path": str(clip), "loop": True},
                "rules": {
                    "plate": rule("reader", type="ocr"),
                    **{
                        name: rule(name)
                        for name in ("redirecting", "ollama", "moonshot", "dashscope", "openrouter")
                    },
                    "cloud": rule("cloud"),
                    "far": rule("far"),
                },
            },
        },
    }
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with redirecting, vendors, redirecting_camera() as evil_port, Subscriber(broker.port) as subscriber:
        servers = {
            MQTT: broker.port,
            RTSP: rtsp_server.port,
            REDIRECTING_RTSP: evil_port,
            REDIRECTING_HTTP: redirecting.port,
            VENDORS: vendors.port,
        }
        async with site_with(servers) as site:
            site.names.names["vlm.lan"] = [LAN]
            door = await site.open_door(HTTP, vlm.port)
            run = edgevlm("run", "-c", str(path), state=tmp_path / "state", environ=PROXY, prefix=site.prefix)
            async with run as running:
                await subscriber.until_heard("edgevlm/box/yard/gate/state", "yes", timeout_secs=60)
                for name in ("plate", "redirecting", "ollama", "moonshot", "dashscope", "openrouter"):
                    await subscriber.until_heard(f"edgevlm/box/recorded/{name}/result", timeout_secs=60)
                for name in ("cloud", "far"):
                    await subscriber.until_heard(f"edgevlm/box/recorded/{name}/status", "incompatible")
                await running.until_logged("the camera wants to send us elsewhere")
                site.names.names["vlm.lan"] = [PUBLIC[1]]
                door.shut()
                await running.until_logged("security: a connection is refused", timeout_secs=60)
                await subscriber.until_heard("edgevlm/box/yard/gate/status", "incompatible", timeout_secs=60)
                info = json.loads((await subscriber.until_heard("edgevlm/box/info")).payload)
                assert await running.stop() == 0
            assert site.public_packets() == []
            await asyncio.to_thread(knock, site)
            assert site.public_packets() != []
    verdicts = {part["component"]: (part["verdict"], part["code"]) for part in info["compatibility"]}
    assert verdicts["model:cloud"] == verdicts["model:far"] == ("incompatible", "requires_internet")
    assert verdicts["sink:hosted"] == ("incompatible", "requires_internet")
    assert verdicts["model:lan"] == ("ok", "proxy_configured")
    assert info["frames_reach"] == {"yard": "lan", "evil": "lan", "recorded": "lan"}
    assert redirecting.asked
    assert {asked.headers["Host"] for asked in vlm.asked} == {f"vlm.lan:{HTTP}"}


async def test_a_site_that_would_not_work_is_refused_at_the_start(
    clip: Path, vlm: VlmServer, tmp_path: Path
) -> None:
    config = {
        "site": {"connectivity": "air-gapped"},
        "models": {"lan": model(f"http://{LAN}:{HTTP}/v1"), "far": model(f"http://{PUBLIC[1]}/v1")},
        "sinks": {"files": {"type": "file"}},
        "cameras": {
            "yard": {
                "source": {"type": "file", "path": str(clip)},
                "rules": {"near": rule("lan"), "gate": rule("far")},
            }
        },
    }
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with site_with({HTTP: vlm.port}) as site:
        async with edgevlm("run", "-c", str(path), state=tmp_path / "state", prefix=site.prefix) as running:
            assert await running.process.wait() == 78
        assert site.public_packets() == []
    refusal = next(line for line in running.lines if "cannot be used" in line)
    assert "yard/gate: requires_internet" in refusal
    assert f"{PUBLIC[1]} is public" in refusal


async def test_offline_the_rest_runs(clip: Path, vlm: VlmServer, broker: Broker, tmp_path: Path) -> None:
    vlm.otherwise = say('{"answer": "yes"}')
    config = {
        "node": "box",
        "site": {"connectivity": "offline"},
        "models": {"lan": model(f"http://{LAN}:{HTTP}/v1"), "cloud": model("https://api.openai.com/v1")},
        "sinks": {"broker": {"type": "mqtt", "host": LAN, "port": MQTT}},
        "cameras": {
            "yard": {
                "source": {"type": "file", "path": str(clip), "loop": True},
                "rules": {"near": rule("lan"), "far": rule("cloud")},
            }
        },
    }
    path = write_config(tmp_path / "edgevlm.yaml", config)
    async with site_with({HTTP: vlm.port, MQTT: broker.port}) as site, Subscriber(broker.port) as subscriber:
        async with edgevlm("run", "-c", str(path), state=tmp_path / "state", prefix=site.prefix) as running:
            await subscriber.until_heard("edgevlm/box/yard/near/state", "yes", timeout_secs=60)
            await subscriber.until_heard("edgevlm/box/yard/far/status", "incompatible")
            await subscriber.send("edgevlm/box/cmd/yard/far/ask", response_topic="answer", correlation=b"1")
            refused = json.loads((await subscriber.until_heard("answer")).payload)
            assert await running.stop() == 0
        assert site.public_packets() == []
        assert "api.openai.com" not in site.names.asked
    assert refused["ok"] is False
    assert refused["error"].startswith("requires_internet")


async def test_a_single_question_stays_on_the_site_too(
    rtsp_server: RealRtspServer, vlm: VlmServer, tmp_path: Path
) -> None:
    """`ask` is no daemon, but its camera is FFmpeg's and its model is the same."""
    vlm.otherwise = say('{"answer": "yes"}')
    login = {"username": rtsp_server.username, "password": rtsp_server.password}
    path = write_config(
        tmp_path / "edgevlm.yaml",
        {
            "site": {"connectivity": "air-gapped"},
            "models": {"lan": model(f"http://{LAN}:{HTTP}/v1"), "far": model(f"http://{PUBLIC[1]}/v1")},
            "cameras": {
                "yard": {
                    "source": {"type": "rtsp", "url": f"rtsp://{LAN}:{RTSP}/locked", **login},
                    "rules": {"near": rule("lan"), "far": rule("far")},
                },
                "private": {
                    "leaves": "none",
                    "source": {"type": "rtsp", "url": f"rtsp://{LAN}:{RTSP}/locked", **login},
                    "rules": {"near": rule("lan")},
                },
            },
        },
    )
    async with redirecting_camera() as evil_port:
        servers = {HTTP: vlm.port, RTSP: rtsp_server.port, REDIRECTING_RTSP: evil_port}
        async with site_with(servers) as site:
            told = {}
            for name in ("yard/near", "yard/far", "private/near"):
                asking = ("ask", "-c", str(path), "--rule", name)
                async with edgevlm(*asking, state=tmp_path / "state", prefix=site.prefix) as running:
                    code = await running.process.wait()
                told[name] = (code, " ".join(running.lines))
            assert site.public_packets() == []
    assert told["yard/near"][0] == 0, told
    assert told["yard/far"][0] == 78
    assert "requires_internet" in told["yard/far"][1]
    assert told["private/near"][0] == 78
    assert "frames_leave_site" in told["private/near"][1]
    assert len(vlm.asked) == 1
