"""A small RTSP 1.0 server on asyncio: H.264 mounts, interleaved in the client's TCP connection, nothing else.

A client that asks for UDP is told 461 and comes back with TCP. Whoever plays gets the next keyframe first
and a sender report with every keyframe; whoever reads too slowly is thrown out, so memory stays bounded.
Everything runs on the event loop that entered `RtspServer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from edgevlm.demo.rtp import (
    CLOCK_HZ,
    PAYLOAD_TYPE,
    PPS,
    SPS,
    AccessUnit,
    RtpSender,
    interleaved,
    split_annex_b,
)
from edgevlm.demo.rtsp_message import (
    MAX_HEAD_BYTES,
    BadRequest,
    Request,
    Response,
    interleaved_channels,
    parse_request,
)
from edgevlm.runtime.clock import Clock, SystemClock

MAX_UNSENT_BYTES = 4_000_000
"""A client with more than this unread is dropped: seconds of video, or the socket is dead."""

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
_CONTROL = "/stream=0"


class Mount:
    """One stream below a path such as `/press`; feed it coded pictures, it hands them to all who play."""

    def __init__(self, path: str, clock: Clock | None = None) -> None:
        self.path = path
        self.viewers: set[Connection] = set()
        self._clock = clock or SystemClock()
        self._sender = RtpSender()
        self._parameter_sets: tuple[bytes, bytes] | None = None

    def feed(self, annex_b: bytes, timestamp: int) -> None:
        """Send one access unit (Annex B), taken at `timestamp` ticks of 90 kHz, to all who play."""
        unit = AccessUnit(split_annex_b(annex_b), timestamp)
        sps, pps = unit.first(SPS), unit.first(PPS)
        if sps and pps:
            self._parameter_sets = sps, pps
        report = self._sender.report(timestamp, self._clock.utc_ns()) if unit.keyframe else None
        packets = self._sender.packets(unit)
        for viewer in tuple(self.viewers):
            viewer.deliver(packets, report)

    def sdp(self) -> str:
        """Describe the stream (RFC 4566), with parameter sets once they are known."""
        lines = ["v=0", f"o=- {self._sender.ssrc} 1 IN IP4 127.0.0.1", f"s={self.path.strip('/')}"]
        lines += ["c=IN IP4 0.0.0.0", "t=0 0", "a=control:*", "a=range:npt=now-"]
        lines += [f"m=video 0 RTP/AVP {PAYLOAD_TYPE}", f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}"]
        lines += [f"a=fmtp:{PAYLOAD_TYPE} {self._format_parameters()}", f"a=control:{_CONTROL.strip('/')}"]
        return "\r\n".join([*lines, ""])

    def _format_parameters(self) -> str:
        parameters = "packetization-mode=1"
        if self._parameter_sets:
            sps, pps = self._parameter_sets
            sets = f"{b64encode(sps).decode()},{b64encode(pps).decode()}"
            parameters += f";profile-level-id={sps[1:4].hex()};sprop-parameter-sets={sets}"
        return parameters


class Connection:
    """One client: answers its requests, and carries packets to it while it plays."""

    def __init__(
        self, server: RtspServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self._reader = reader
        self._writer = writer
        self._mount: Mount | None = None
        self._session = ""
        self._channels = 0, 1
        self._awaits_keyframe = True

    async def run(self) -> None:
        """Answer requests until the client goes."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                await self._answer_next()

    async def _answer_next(self) -> None:
        try:
            request = await self._next_request()
            response = self.answer(request)
            cseq = request.headers.get("cseq", "0")
        except BadRequest:
            response, cseq = Response(400), "0"
        if response is not None:
            self.write(response.encode(cseq))

    async def _next_request(self) -> Request:
        """Read a request; a receiver report that comes before it is passed over."""
        while (first := await self._reader.readexactly(1)) in b"$\r\n":
            if first == b"$":
                frame = await self._reader.readexactly(3)
                await self._reader.readexactly(int.from_bytes(frame[1:], "big"))
        request = parse_request(first + await self._reader.readuntil(b"\r\n\r\n"))
        await self._reader.readexactly(request.body_bytes)
        return request

    def answer(self, request: Request) -> Response | None:
        """Return the response to a request, or None to stay silent."""
        replies: dict[str, Callable[[Request], Response]] = {
            "OPTIONS": lambda _: Response(headers={"Public": _METHODS}),
            "DESCRIBE": self._describe,
            "SETUP": self._set_up,
            "PLAY": self._play,
            "GET_PARAMETER": self._keep_alive,
            "TEARDOWN": self._tear_down,
        }
        reply = replies.get(request.method)
        return reply(request) if reply else Response(405, {"Allow": _METHODS})

    def _describe(self, request: Request) -> Response:
        mount = self.server.mount_at(request.path)
        if mount is None:
            return Response(404)
        headers = {"Content-Base": f"{request.url.rstrip('/')}/", "Content-Type": "application/sdp"}
        return Response(200, headers, mount.sdp())

    def _set_up(self, request: Request) -> Response:
        mount = self.server.mount_at(request.path.removesuffix(_CONTROL))
        channels = interleaved_channels(request.headers.get("transport", ""))
        if mount is None:
            return Response(404)
        if channels is None:
            return Response(461)
        if self._mount:
            return Response(455)
        self._mount, self._channels, self._session = mount, channels, secrets.token_hex(8)
        transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]}"
        return Response(headers={"Transport": transport, "Session": f"{self._session};timeout=60"})

    def _play(self, request: Request) -> Response:
        if not self._mount:
            return Response(455)
        if not self._names_session(request):
            return Response(454)
        self._awaits_keyframe = True
        self._mount.viewers.add(self)
        return Response(headers={"Session": self._session, "Range": "npt=now-"})

    def _keep_alive(self, request: Request) -> Response:
        if "session" in request.headers and not self._names_session(request):
            return Response(454)
        return Response(headers={"Session": self._session} if self._session else {})

    def _tear_down(self, request: Request) -> Response:
        if not self._names_session(request):
            return Response(454)
        self.leave()
        return Response()

    def _names_session(self, request: Request) -> bool:
        named = request.headers.get("session", "").split(";")[0]
        return bool(self._session) and named == self._session

    def deliver(self, packets: list[bytes], report: bytes | None) -> None:
        """Send a picture's packets; `report` comes with keyframes only."""
        if report is None and self._awaits_keyframe:
            return
        self._awaits_keyframe = False
        rtp, rtcp = self._channels
        frames = [interleaved(rtp, packet) for packet in packets]
        self.write(b"".join([interleaved(rtcp, report), *frames] if report else frames))

    def write(self, sent: bytes) -> None:
        """Queue bytes for the client, or drop a client that does not read."""
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort()
        if not self._writer.is_closing():
            self._writer.write(sent)

    def leave(self) -> None:
        """Take no more packets."""
        if self._mount:
            self._mount.viewers.discard(self)
        self._mount, self._session = None, ""

    def abort(self) -> None:
        """End the connection at once."""
        self.leave()
        self._writer.transport.abort()


Connect = Callable[["RtspServer", asyncio.StreamReader, asyncio.StreamWriter], Connection]


class RtspServer:
    """Serves mounts on a loopback port as long as its `async with` block runs."""

    def __init__(self, mounts: Iterable[Mount], *, port: int = 0, connect: Connect = Connection) -> None:
        self.port = port
        self._mounts = {mount.path: mount for mount in mounts}
        self._connect = connect
        self._connections: dict[Connection, asyncio.Task[None] | None] = {}
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The clients connected now."""
        return tuple(self._connections)

    def mount_at(self, path: str) -> Mount | None:
        """Return the mount of a URL's path."""
        return self._mounts.get(path)

    async def listen(self) -> None:
        """Accept connections; the port is known afterwards, and stays the same from then on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=MAX_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Accept no more connections and end those there are."""
        if self._server:
            self._server.close()
        for connection in self.connections:
            connection.abort()
        await asyncio.gather(*(task for task in self._connections.values() if task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._connect(self, reader, writer)
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.run()
        finally:
            connection.abort()
            del self._connections[connection]

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
