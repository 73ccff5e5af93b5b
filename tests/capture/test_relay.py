"""The relay between FFmpeg and a camera: digest, TLS, redirects, and addresses that are not allowed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm.capture.relay import Relay
from edgevlm.capture.relay_filter import Ambiguous, Redirected, RtspFilter
from edgevlm.capture.rtsp import RtspSource
from edgevlm.capture.spec import RtspSpec
from edgevlm.errors import CameraUnauthorized, CameraUnreachable
from edgevlm.runtime import egress
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.egress import Policy
from tests.servers.rtsp import NewRtspServer, RealRtspServer

AIR_GAPPED = Policy("lan")


@asynccontextmanager
async def relayed(
    spec: RtspSpec, policy: Policy = AIR_GAPPED, counters: Counters | None = None
) -> AsyncIterator[RtspSpec]:
    relay = Relay("yard", spec, policy, counters=counters or Counters())
    await relay.open()
    try:
        yield relay.source()
    finally:
        await relay.close()


async def read_packets(spec: RtspSpec, count: int = 20) -> int:
    """Read by FFmpeg what a capture host would; return the number of bytes."""

    def read() -> int:
        source = RtspSource("yard", spec)
        try:
            source.open()
            packets = (source.read(threading.Event()) for _ in range(count))
            return sum(len(packet.data) for packet in packets if packet is not None)
        finally:
            source.close()

    return await asyncio.to_thread(read)


def spec_of(server: RealRtspServer, mount: str = "/plain", **more: object) -> RtspSpec:
    return RtspSpec(url=server.url(mount), open_timeout_secs=10, read_timeout_secs=10, **more)  # type: ignore[arg-type]


async def test_ffmpeg_plays_through_the_relay_and_sees_nothing_but_this_box(
    rtsp_server: RealRtspServer,
) -> None:
    async with relayed(spec_of(rtsp_server, transport="udp")) as spec:
        assert spec.url.startswith("rtsp://127.0.0.1:")
        assert f":{rtsp_server.port}/" not in spec.url
        assert spec.url.endswith("/plain")
        assert spec.transport == "tcp"
        assert await read_packets(spec) > 1000


async def test_a_digest_login_goes_through_for_requests_are_not_rewritten(
    rtsp_server: RealRtspServer,
) -> None:
    login = {"username": rtsp_server.username, "password": rtsp_server.password}
    async with relayed(spec_of(rtsp_server, "/locked", **login)) as spec:
        assert await read_packets(spec) > 1000
    async with relayed(spec_of(rtsp_server, "/locked", username="viewer", password="wrong")) as spec:
        with pytest.raises(CameraUnauthorized):
            await read_packets(spec)


async def test_tls_ends_in_the_relay_which_checks_the_certificate(
    new_rtsp_server: NewRtspServer, clip: Path, certificate: tuple[Path, Path]
) -> None:
    server = new_rtsp_server({"/plain": clip}, "--tls", *map(str, certificate))
    async with relayed(spec_of(server, ca_file=str(certificate[0]))) as spec:
        assert spec.url.startswith("rtsp://")
        assert await read_packets(spec) > 1000
    async with relayed(spec_of(server)) as spec:
        with pytest.raises(CameraUnreachable):
            await read_packets(spec)
    async with relayed(spec_of(server, verify_tls=False)) as spec:
        assert await read_packets(spec) > 1000


class Elsewhere:
    """Counts who comes: the place that a malicious camera sends to."""

    def __init__(self) -> None:
        self.visitors = 0
        self.port = 0

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _count(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visitors += 1
        writer.close()


@asynccontextmanager
async def malicious_camera(reply: Callable[[str, str], bytes]) -> AsyncIterator[str]:
    """Serve a camera that answers each request by `reply(method, cseq)`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().splitlines()
            cseq = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("cseq"))
            writer.write(reply(lines[0].split(" ")[0], cseq))
            await writer.drain()

    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
    async with server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


def redirect(port: int, *, disguise: bytes = b"") -> Callable[[str, str], bytes]:
    def reply(method: str, cseq: str) -> bytes:
        if method == "OPTIONS":
            return f"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nPublic: DESCRIBE\r\n\r\n".encode()
        return (
            disguise
            + (
                f"RTSP/1.0 302 Moved\r\nCSeq: {cseq}\r\nLocation: rtsp://127.0.0.1:{port}/elsewhere\r\n\r\n"
            ).encode()
        )

    return reply


async def test_a_camera_cannot_send_us_elsewhere() -> None:
    """FFmpeg alone follows the redirect, which the first half proves; through the relay it never sees it."""
    elsewhere, counters = Elsewhere(), Counters()
    async with await elsewhere.listen(), malicious_camera(redirect(elsewhere.port)) as url:
        direct = RtspSpec(url=url, open_timeout_secs=5, read_timeout_secs=5)
        with pytest.raises(CameraUnreachable):
            await read_packets(direct)
        assert elsewhere.visitors > 0
        elsewhere.visitors = 0
        async with relayed(direct, counters=counters) as spec:
            with pytest.raises(CameraUnreachable):
                await read_packets(spec)
        assert elsewhere.visitors == 0
        assert counters.total("redirects_refused") > 0


@pytest.mark.parametrize(
    "disguise",
    [
        b"\r\n",
        b"garbage",
        b"garbage\n",
        b"\0",
        b"RTSP/1.0 200 OK\r\n\0\r\n",
        b"RTSP/1.0 200 OK\r\n$\0\0\1x\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 999\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-\rLength: 2\r\n\r\n\r\n",
        b"$\0\0\0",
        b"\r$\0\xff\xff\n",
        b"RTSP/1.0 200 OK\nCSeq: 1\n\n",
    ],
)
async def test_no_disguise_gets_a_redirect_through(disguise: bytes) -> None:
    elsewhere = Elsewhere()
    async with (
        await elsewhere.listen(),
        malicious_camera(redirect(elsewhere.port, disguise=disguise)) as url,
    ):
        spec = RtspSpec(url=url, open_timeout_secs=2, read_timeout_secs=2)
        async with relayed(spec) as through, asyncio.timeout(20):
            with pytest.raises(CameraUnreachable):
                await read_packets(through)
    assert elsewhere.visitors == 0


async def test_a_camera_that_may_not_be_connected_to_is_not() -> None:
    refusals: list[egress.Refusal] = []
    egress.enforce(Policy("lan"), refusals.append)
    try:
        far = RtspSpec(url="rtsp://203.0.113.9/stream", open_timeout_secs=2, read_timeout_secs=2)
        async with relayed(far) as spec:
            with pytest.raises(CameraUnreachable):
                await read_packets(spec)
    finally:
        egress.enforce(Policy())
    assert {refusal.where for refusal in refusals} == {"203.0.113.9"}


# --- the filter -----------------------------------------------------------------------------------------

OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc"
PACKET = b"$\0\0\5RTSP/"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_whole_messages_pass_however_they_arrive(step: int) -> None:
    said = OK + PACKET + b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 2\r\n\r\n" + PACKET + OK
    passed = RtspFilter()
    got = b"".join(passed.feed(said[at : at + step]) for at in range(0, len(said), step))
    assert got == said
    assert passed.left_out_bytes == 0


def test_what_is_no_message_is_left_out() -> None:
    passed = RtspFilter()
    assert (
        passed.feed(PACKET + b"\xff\xfe\x01 noise \r\n" + OK + b"\r\n\r\n" + PACKET) == PACKET + OK + PACKET
    )
    assert passed.left_out_bytes > 0


@pytest.mark.parametrize(
    "said",
    [
        b"RTSP/1.0 301 Moved\r\nLocation: rtsp://8.8.8.8/\r\n\r\n",
        b"RTSP/1.0 399\r\n\r\n",
        b"RTSP/1.1 302 x\nLocation: rtsp://8.8.8.8/\n\n",
        b"REDIRECT rtsp://10.0.0.1/ RTSP/1.0\r\nLocation: rtsp://8.8.8.8/\r\n\r\n",
    ],
)
def test_redirects_are_known(said: bytes) -> None:
    with pytest.raises(Redirected):
        RtspFilter().feed(OK + said)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 99999999999",
        b"content-length: five",
        b"$\0\0\4",
        b"\r$\0\0\4",
        b"X: \0",
        b"X: " + b"y" * 5000,
    ],
)
def test_what_ffmpeg_might_read_differently_is_refused(head: bytes) -> None:
    with pytest.raises(Ambiguous):
        RtspFilter().feed(b"RTSP/1.0 200 OK\r\n" + head + b"\r\n\r\n")


def test_memory_stays_bounded_whatever_comes() -> None:
    passed = RtspFilter()
    for said in (b"RTSP/1." * 5000, b"A" * 200_000, b"OPTIONS x RTSP/1.0\r\n" + b"X: y\r\n" * 50_000):
        for at in range(0, len(said), 50_000):
            passed.feed(said[at : at + 50_000])
        assert len(passed._buffer) < 200_000


def statuses_that_ffmpeg_reads(said: bytes) -> list[int]:
    """Read a camera's bytes as FFmpeg's `ff_rtsp_read_reply` does, and return the status of each reply."""
    found, at = [], 0
    while at < len(said):
        lines: list[bytes] = []
        line = b""
        while at < len(said):
            byte, at = said[at : at + 1], at + 1
            if byte == b"\n":
                text = line.split(b"\0")[0]  # C strings end there
                line = b""
                if not text:
                    break
                lines.append(text)
            elif byte == b"$" and not line:
                at += 3 + int.from_bytes(said[at + 1 : at + 3], "big")
            elif byte != b"\r":
                line += byte
        words = lines[0].split() if lines else []
        if len(words) > 1 and words[0].startswith(b"RTSP/"):
            digits = re.match(rb"[0-9]*", words[1])
            found.append(int(digits[0] or b"0") if digits else 0)
        lengths = [line[15:].strip() for line in lines if line.lower().startswith(b"content-length:")]
        number = re.match(rb"\+?([0-9]+)", lengths[-1]) if lengths else None
        at += int(number[1]) if number else 0
    return found


PIECES = [
    b"RTSP/1.0 302 Found\r\n",
    b"RTSP/1.0 302 Found\n",
    b"RTSP/1.0 200 OK\r\n",
    b"RT\rSP/1.0 301 x\n",
    b"OPTIONS x RTSP/1.0\r\n",
    b"Location: rtsp://8.8.8.8/\r\n",
    b"CSeq: 1\r\n",
    b"Content-Length: 30\r\n",
    b"Content-Length: 0\r\n",
    b"Content-\rLength: 7\r\n",
    b"content-length: 2\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"$",
    b"$\0\0\x04",
    b"$\0\0\x20",
    b"$\xff\xff\xff",
    b"garbage",
    b" ",
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=25), st.integers(1, 40))
def test_whatever_a_camera_says_ffmpeg_reads_no_redirect_in_what_passes(
    pieces: list[bytes], step: int
) -> None:
    said = b"".join(pieces)
    passed, got = RtspFilter(), b""
    with contextlib.suppress(Redirected, Ambiguous):
        for at in range(0, len(said), step):
            got += passed.feed(said[at : at + step])
    assert [status for status in statuses_that_ffmpeg_reads(got) if 300 <= status < 400] == []


def test_the_model_of_ffmpeg_sees_the_redirects_that_it_should() -> None:
    """Else the test above would prove nothing."""
    redirect_reply = b"RTSP/1.0 302 Found\r\nLocation: rtsp://8.8.8.8/\r\n\r\n"
    assert statuses_that_ffmpeg_reads(OK + PACKET + redirect_reply) == [200, 302]
    assert statuses_that_ffmpeg_reads(b"RTSP/1.0 200 OK\r\n\0\r\n" + redirect_reply) == [200, 302]
    assert statuses_that_ffmpeg_reads(b"RTSP/1.0 200 OK\r\n$\0\0\1x\r\n" + redirect_reply)[-1] == 302
