"""The demo's RTSP server, asked by hand: what it answers, who gets which packets, whom it throws out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgevlm.demo import rtsp
from edgevlm.demo.rtp import split_annex_b
from edgevlm.demo.rtsp import Mount, RtspServer
from tests.fakes.clock import FakeClock
from tests.servers.clips import access_units
from tests.servers.rtsp_client import RtspClient, Unit

TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


@pytest.fixture
def units(clip: Path) -> list[bytes]:
    return access_units(clip)


@pytest.fixture
def mount(clock: FakeClock, units: list[bytes]) -> Mount:
    """A mount that has seen its first keyframe, as at the time when the demo says that it is ready."""
    mount = Mount("/press", clock)
    mount.feed(units[0], 0)
    return mount


@pytest.fixture
async def server(mount: Mount) -> AsyncIterator[RtspServer]:
    async with RtspServer([mount]) as server:
        yield server


@pytest.fixture
async def client(server: RtspServer) -> AsyncIterator[RtspClient]:
    async with RtspClient(server.port) as client:
        yield client


async def test_options_names_every_method(client: RtspClient) -> None:
    reply = await client.ask("OPTIONS", "/press")
    assert reply.status == 200
    assert reply.headers["public"] == "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
    assert reply.headers["cseq"] == "1"


async def test_the_description_lets_a_decoder_begin(client: RtspClient, units: list[bytes]) -> None:
    reply = await client.ask("DESCRIBE", "/press")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/sdp"
    assert reply.headers["content-base"].endswith("/press/")
    assert "a=rtpmap:96 H264/90000\r\n" in reply.body
    assert "packetization-mode=1;profile-level-id=" in reply.body
    assert "sprop-parameter-sets=Z" in reply.body  # 0x67, a sequence parameter set, begins so in base64
    assert reply.body.startswith("v=0\r\n")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "/other", {}, 404),
        ("SETUP", "/other/stream=0", {"Transport": TCP}, 404),
        ("SETUP", "/press/stream=0", {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}, 461),
        ("SETUP", "/press/stream=0", {"Transport": "RTP/AVP/TCP;interleaved=999"}, 400),
        ("PLAY", "/press", {}, 455),
        ("TEARDOWN", "/press", {"Session": "1234"}, 454),
        ("GET_PARAMETER", "/press", {"Session": "1234"}, 454),
        ("GET_PARAMETER", "/press", {}, 200),
        ("RECORD", "/press", {}, 405),
    ],
)
async def test_what_cannot_be_is_refused_by_its_code(
    client: RtspClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert (await client.ask(method, path, **headers)).status == status


async def test_a_session_is_set_up_once_and_known_by_its_name(client: RtspClient) -> None:
    reply = await client.ask("SETUP", "/press/stream=0", Transport=TCP)
    session = reply.headers["session"].split(";")[0]
    assert reply.headers["transport"] == TCP
    assert (await client.ask("SETUP", "/press/stream=0", Transport=TCP)).status == 455
    assert (await client.ask("PLAY", "/press", Session="another")).status == 454
    assert (await client.ask("PLAY", "/press", Session=session)).status == 200
    assert (await client.ask("GET_PARAMETER", "/press", Session=session)).status == 200


async def test_after_teardown_nothing_comes(client: RtspClient, mount: Mount, units: list[bytes]) -> None:
    await client.play("/press")
    session = next(iter(mount.viewers))._session
    mount.feed(units[0], 0)
    assert (await client.ask("TEARDOWN", "/press", Session=session)).status == 200
    assert not mount.viewers


async def test_rubbish_is_answered_and_too_much_of_it_ends_the_connection(client: RtspClient) -> None:
    assert (await client.ask_raw(b"HELO mail.example.org\r\n\r\n")).status == 400
    assert (await client.ask("OPTIONS", "*")).status == 200
    client.writer.write(b"x" * 20_000)
    await client.wait_closed()


async def test_receiver_reports_and_bodies_between_requests_are_passed_over(client: RtspClient) -> None:
    client.writer.write(b"$\x01\x00\x08" + b"OPTIONS " + b"\r\n")
    body = b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 8\r\nContent-Length: 6\r\n\r\nHello!"
    assert (await client.ask_raw(body)).headers["cseq"] == "8"
    assert (await client.ask("OPTIONS", "*")).status == 200


async def test_a_late_client_begins_with_the_next_keyframe(
    server: RtspServer, mount: Mount, units: list[bytes]
) -> None:
    async with RtspClient(server.port) as early, RtspClient(server.port) as late:
        await early.play("/press")
        for number in range(5):
            mount.feed(units[number], number * 6000)
        await late.play("/press")
        for number in range(5, 17):
            mount.feed(units[number], number * 6000)
        assert (await early.next_unit()).timestamp == 0
        first, second = await late.next_unit(), await late.next_unit()
        assert (first.timestamp, second.timestamp) == (15 * 6000, 16 * 6000)
        assert tuple(first.nals) == split_annex_b(units[15])


async def test_two_clients_get_the_very_units_that_were_fed(
    server: RtspServer, mount: Mount, units: list[bytes]
) -> None:
    async with RtspClient(server.port) as one, RtspClient(server.port) as other:
        await one.play("/press")
        await other.play("/press")
        fed = [Unit(number * 6000, list(split_annex_b(unit))) for number, unit in enumerate(units)]
        for number, unit in enumerate(units):
            mount.feed(unit, number * 6000)
        for client in (one, other):
            assert [await client.next_unit() for _ in fed] == fed


async def test_a_report_comes_before_each_keyframe(
    client: RtspClient, mount: Mount, units: list[bytes], clock: FakeClock
) -> None:
    await client.play("/press")
    mount.feed(units[0], 0)
    report = await client.next_report()
    assert not client.packets, "the first picture's time is known when it comes"
    assert int.from_bytes(report[8:12], "big") - 2_208_988_800 == clock.utc_ns() // 1_000_000_000
    for number in range(1, 16):
        mount.feed(units[number], number * 6000)
    assert int.from_bytes((await client.next_report())[16:20], "big") == 15 * 6000


async def test_a_client_that_does_not_read_is_thrown_out(
    client: RtspClient, mount: Mount, units: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp, "MAX_UNSENT_BYTES", 100_000)
    await client.play("/press")
    (viewer,) = mount.viewers
    client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport can
    for number in range(5000):
        mount.feed(units[0], number)
        assert viewer._writer.transport.get_write_buffer_size() < 200_000
        if not mount.viewers:
            break
        await asyncio.sleep(0)
    assert not mount.viewers


async def test_the_port_survives_a_time_of_refusal(
    server: RtspServer, client: RtspClient, mount: Mount
) -> None:
    port = server.port
    await client.play("/press")
    await server.refuse()
    assert not mount.viewers
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.listen()
    async with RtspClient(port) as again:
        assert (await again.ask("OPTIONS", "*")).status == 200


async def test_nothing_is_left_behind(mount: Mount) -> None:
    before = asyncio.all_tasks()
    async with RtspServer([mount]) as server, RtspClient(server.port) as client:
        await client.play("/press")
    assert asyncio.all_tasks() == before
    assert not mount.viewers
