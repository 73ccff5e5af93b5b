"""What FFmpeg connects to where it may not connect to cameras itself: a port of this box for each of them.

FFmpeg opens its own sockets, which no policy of ours sees, and goes wherever a camera's reply sends it. So on
an air-gapped site it is only ever given `rtsp://127.0.0.1:PORT/…`. For each of its connections the relay
looks the camera's name up, asks the egress policy about the addresses, and connects to one that was asked
about. TCP only. TLS (`rtsps`) ends here, with the camera's certificate checked against its configured name.
Redirects end the connection (`relay_filter`).

Requests pass unchanged: a digest login signs the URL that stands in the request, so a relay that rewrote it
would need the password. Cameras look at its path, and what they make of the host (Content-Base) only comes
back in the URLs of later requests on the same connection.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import structlog

from edgevlm.capture.relay_filter import Ambiguous, Redirected, RtspFilter
from edgevlm.capture.spec import RtspSpec
from edgevlm.runtime import lookup
from edgevlm.runtime.addresses import Address
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.egress import EgressRefused, Policy

MAX_CONNECTIONS = 8
"""To one camera at once: FFmpeg needs one, and one more while a dead one lingers."""
_CHUNK_BYTES = 65_536
_PORTS = {"rtsp": 554, "rtsps": 322}

log = structlog.get_logger(stage="capture")


class Relay:
    """One camera's port on 127.0.0.1; used on the event loop."""

    def __init__(self, camera: str, spec: RtspSpec, policy: Policy, *, counters: Counters) -> None:
        self.camera = camera
        self.port = 0
        self._spec = spec
        self._policy = policy
        self._counters = counters
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        parts = urlsplit(spec.url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._camera_port = parts.port or _PORTS[parts.scheme]

    async def open(self) -> None:
        """Listen; the camera is connected to when somebody connects to us."""
        if self._scheme == "rtsps":
            self._tls = await asyncio.to_thread(_tls, self._spec)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def source(self) -> RtspSpec:
        """Return what a capture host shall open instead of the camera; known after `open`."""
        parts = urlsplit(self._spec.url)
        url = urlunsplit(parts._replace(scheme="rtsp", netloc=f"127.0.0.1:{self.port}"))
        return replace(self._spec, url=url, transport="tcp", ca_file=None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._serving) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._serving.add(task)
        try:
            await self._relay(reader, writer)
        except EgressRefused as error:
            log.debug("the camera may not be connected to", camera=self.camera, why=error.strerror)
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            log.warning("the relay has no connection to the camera", camera=self.camera, why=why)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        camera_reader, camera_writer = await self._connect()
        directions = [
            asyncio.create_task(_copy(reader, camera_writer), name=f"edgevlm[{self.camera}].relay.out"),
            asyncio.create_task(self._filter(camera_reader, writer), name=f"edgevlm[{self.camera}].relay.in"),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            camera_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of the camera's addresses that answers, all of which the policy allows."""
        failure: OSError = lookup.NotFound("no address")
        async with asyncio.timeout(self._spec.open_timeout_secs):
            for address in await lookup.permitted_soon(self._host, self._policy):
                try:
                    return await self._connect_to(address)
                except OSError as error:
                    failure = error
        raise failure

    async def _connect_to(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self._host if self._tls is not None else None
        return await asyncio.open_connection(
            str(address), self._camera_port, ssl=self._tls, server_hostname=name, limit=_CHUNK_BYTES
        )

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the camera says, up to a redirect."""
        passed = RtspFilter()
        try:
            while received := await reader.read(_CHUNK_BYTES):
                writer.write(passed.feed(received))
                await writer.drain()
        except Redirected as redirect:
            self._refuse(redirect)
            with suppress(OSError):
                writer.write(_bad_gateway(redirect.cseq))
                await writer.drain()
        except Ambiguous as ambiguous:
            self._counters.count("relay_refused", self.camera)
            log.warning("security: a reply of the camera is refused", camera=self.camera, why=str(ambiguous))
        finally:
            if passed.left_out_bytes:
                self._counters.drop("capture", "not_rtsp", self.camera, passed.left_out_bytes)

    def _refuse(self, redirect: Redirected) -> None:
        self._counters.count("redirects_refused", self.camera)
        log.warning(
            "security: the camera wants to send us elsewhere, which is refused",
            camera=self.camera,
            to=_host_of(redirect.location),
        )


def _host_of(location: str) -> str:
    """Return the host of a URL that somebody else wrote; not more, for it may hold a login."""
    try:
        return urlsplit(location).hostname or "?"
    except ValueError:
        return "?"


def _bad_gateway(cseq: str) -> bytes:
    """Return a reply that FFmpeg takes for a failure of the server: not for a login that was refused."""
    return f"RTSP/1.0 502 Bad Gateway\r\nCSeq: {cseq or 0}\r\nContent-Length: 0\r\n\r\n".encode()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(_CHUNK_BYTES):
        writer.write(received)
        await writer.drain()


def _tls(spec: RtspSpec) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=spec.ca_file)
    if not spec.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
