"""HTTP to one model server, kept within bounds.

The only module that calls aiohttp as a client: its exceptions become `InferError`s here. A request goes to
the configured address and nowhere else (no redirects, no proxy from the environment, no cookies), the key
with it; whatever comes back is read up to a limit that holds after decompression.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from yarl import URL

from edgevlm.errors import ConfigError, ModelRefused, ModelUnreachable, TooLarge
from edgevlm.runtime import egress
from edgevlm.runtime.guarded_http import guarded_connector
from edgevlm.runtime.section import Secret

ANSWER_BYTES = 1_000_000
"""Longest answer: one JSON document, one event of a stream, or the text of a whole stream."""
STREAM_BYTES = 16_000_000
"""Longest stream: servers wrap each token of a few bytes in some 300 bytes of JSON."""
ERROR_BYTES = 64_000
"""As much of an error body as is worth reading; servers echo whole pictures."""
CONNECT_SECS = 10.0


class Reply:
    """What one request got back; read it once, inside `ModelServer.post`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.content_type

    async def pieces(self, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; more than `max_bytes` raises `TooLarge`."""
        size = 0
        async for piece in self._response.content.iter_any():
            size += len(piece)
            if size > max_bytes:
                raise TooLarge(f"the answer is longer than {max_bytes} bytes")
            yield piece

    async def whole(self, max_bytes: int = ANSWER_BYTES) -> bytes:
        """Return the body; more than `max_bytes` raises `TooLarge`."""
        return b"".join([piece async for piece in self.pieces(max_bytes)])

    async def head(self, max_bytes: int = ERROR_BYTES) -> bytes:
        """Return the first `max_bytes` of the body, however long it is."""
        head = bytearray()
        async for piece in self._response.content.iter_any():
            head += piece
            if len(head) >= max_bytes:
                break
        return bytes(head[:max_bytes])


class ModelServer:
    """The connections to one configured endpoint; used on the event loop, open before the first `post`."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api_key: Secret | None,
        ca_file: str | None,
        connections: int,
        key_header: str = "Authorization",
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._api_key = api_key
        self._key_header = key_header
        self._ca_file = ca_file
        self._connections = connections
        self._base = URL()
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Prepare sessions; nothing is sent, so a server that is away is no error.

        Raises:
            ConfigError: the address, the key or the certificates cannot be used.

        """
        self._base = _checked_url(self.name, self._base_url)
        headers = _headers(self.name, self._api_key, self._base, self._key_header)
        tls = await asyncio.to_thread(_tls, self.name, self._ca_file)
        self._kept = self._session(headers, tls, keep=True)
        self._fresh = self._session(headers, tls, keep=False)

    async def close(self) -> None:
        """Close every connection."""
        for session in (self._kept, self._fresh):
            if session is not None:
                await session.close()

    @asynccontextmanager
    async def post(self, path: str, body: bytes) -> AsyncIterator[Reply]:
        """Send `body` as JSON to `path` below the base URL and yield the reply.

        A reply that is not read to its end, for whatever reason, loses its connection: that is what tells
        a server to stop working on it.
        """
        async with self.exchange("POST", self._below(path), body) as reply:
            yield reply

    @asynccontextmanager
    async def look(self, path: str, body: bytes | None = None) -> AsyncIterator[Reply]:
        """Ask about the server, not for an answer: on a connection of its own, so that no question waits.

        `path` is below the base URL, `/path` below the host; with a `body` it is a POST.
        """
        method = "GET" if body is None else "POST"
        with self._translated():
            response = await self._request(self._fresh, method, self._below(path), body, "application/json")
            try:
                yield Reply(response)
            finally:
                response.close()

    @asynccontextmanager
    async def exchange(
        self, method: str, url: URL, body: bytes | None = None, content_type: str = "application/json"
    ) -> AsyncIterator[Reply]:
        """Send a request to `url`, which belongs to this server, and yield the reply."""
        with self._translated():
            response = await self._send(method, url, body, content_type)
            try:
                yield Reply(response)
            finally:
                response.close()  # a no-op for a body read to its end: its connection is kept already

    def _below(self, path: str) -> URL:
        base = self._base.origin() if path.startswith("/") else self._base
        url = base.joinpath(*path.strip("/").split("/"))
        return url.with_query(self._base.query) if self._base.query else url

    async def _send(
        self, method: str, url: URL, body: bytes | None, content_type: str
    ) -> aiohttp.ClientResponse:
        """Send, and once more on a new connection when a kept one turns out to be dead.

        vLLM and transformers close silently after a 500, everybody after some idle time; aiohttp does not
        repeat a POST by itself. No byte of an answer was seen, and an answer has no side effects.
        """
        try:
            return await self._request(self._kept, method, url, body, content_type)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError, aiohttp.ClientOSError):
            return await self._request(self._fresh, method, url, body, content_type)

    async def _request(
        self,
        session: aiohttp.ClientSession | None,
        method: str,
        url: URL,
        body: bytes | None,
        content_type: str,
    ) -> aiohttp.ClientResponse:
        if session is None:
            raise RuntimeError(f"model {self.name} is asked before it is open")
        # BytesIO shares the buffer and is sent piece by piece, so that megabytes do not hold up the loop.
        data = None if body is None else io.BytesIO(body)
        headers = {} if body is None else {"Content-Type": content_type}
        return await session.request(method, url, data=data, headers=headers, allow_redirects=False)

    def _session(
        self, headers: dict[str, str], tls: ssl.SSLContext | bool, *, keep: bool
    ) -> aiohttp.ClientSession:
        connector = guarded_connector(
            egress.current(f"model:{self.name}"),
            limit=self._connections,
            force_close=not keep,
            ssl=tls,
            ttl_dns_cache=10,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # The caller's asyncio.timeout bounds the whole attempt; a body may be silent for as long.
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=CONNECT_SECS, sock_read=None
            ),
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            reason = error.certificate_error
            raise ModelRefused(f"{self._where} has a certificate that is not trusted: {reason}") from error
        except aiohttp.InvalidURL as error:
            raise ModelRefused(f"{self._where} is not an address") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise ModelUnreachable(f"no connection to {self._where} within {CONNECT_SECS:g} s") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, egress.EgressRefused):
                raise ModelRefused(f"{self._where}: {_reason(error.os_error)}") from error
            raise ModelUnreachable(f"no connection to {self._where}: {_reason(error.os_error)}") from error
        except aiohttp.ClientResponseError as error:
            raise ModelUnreachable(f"{self._where} does not speak HTTP as it should") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ModelUnreachable(
                f"the connection to {self._where} broke off ({type(error).__name__})"
            ) from error

    @property
    def _where(self) -> str:
        """The server's address without user name, password and path."""
        return str(self._base.origin()) if self._base.absolute else self.name


def _checked_url(name: str, base_url: str) -> URL:
    try:
        url = URL(base_url)
        valid = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"model {name}: base_url is not an http:// or https:// address")
    return url


def _headers(name: str, api_key: Secret | None, base: URL, key_header: str) -> dict[str, str]:
    # A compressed answer saves nothing here and is how a few bytes become gigabytes.
    headers = {"Accept-Encoding": "identity"}
    if api_key is None:
        return headers
    key = api_key.reveal()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"model {name}: api_key holds characters that no key has (a line break?)")
    if base.user or base.password:
        raise ConfigError(f"model {name}: give either an api_key or a user name in base_url")
    return headers | {key_header: f"Bearer {key}" if key_header == "Authorization" else key}


def _tls(name: str, ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"model {name}: ca_file {ca_file} cannot be used: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
