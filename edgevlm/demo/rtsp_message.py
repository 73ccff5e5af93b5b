"""RTSP 1.0 requests and responses (RFC 2326) as values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

MAX_HEAD_BYTES = 8192
"""Longest request line and headers that we read."""

_REASONS = {
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
}
"""What HTTP does not know."""


class BadRequest(ValueError):
    """Bytes that are no RTSP request."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    @property
    def path(self) -> str:
        """The URL's path without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def body_bytes(self) -> int:
        """How many bytes follow the headers."""
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_HEAD_BYTES:
            raise BadRequest(f"content length {length[:20]}")
        return int(length)


@dataclass(frozen=True, slots=True)
class Response:
    """What we answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def encode(self, cseq: str) -> bytes:
        """Return the bytes of the response to the request numbered `cseq`."""
        reason = _REASONS.get(self.status) or HTTPStatus(self.status).phrase
        lines = [f"RTSP/1.0 {self.status} {reason}", f"CSeq: {cseq}", "Server: edgevlm-demo"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        body = self.body.encode()
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


def parse_request(head: bytes) -> Request:
    """Return the request in `head`, which ends with an empty line."""
    try:
        first, *rest = head.decode("ascii").rstrip("\r\n").split("\r\n")
        method, url, version = first.split(" ")
        pairs = [line.split(":", 1) for line in rest]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        urlsplit(url)
    except ValueError as err:
        raise BadRequest("not an RTSP request") from err
    if not version.startswith("RTSP/"):
        raise BadRequest("not an RTSP request")
    return Request(method, url, headers)


def interleaved_channels(transport: str) -> tuple[int, int] | None:
    """Return the channels for RTP and RTCP of the first TCP choice in a Transport header."""
    for choice in transport.split(","):
        protocol, *parameters = (part.strip().lower() for part in choice.split(";"))
        if protocol == "rtp/avp/tcp":
            return _channels(parameters)
    return None


def _channels(parameters: list[str]) -> tuple[int, int]:
    wish = next((p.removeprefix("interleaved=") for p in parameters if p.startswith("interleaved=")), "0-1")
    low, _, high = wish.partition("-")
    if not (low.isdecimal() and (high.isdecimal() or not high)):
        raise BadRequest(f"channels {wish[:20]}")
    channels = int(low), int(high or int(low) + 1)
    if max(channels) > 255:
        raise BadRequest(f"channels {wish[:20]}")
    return channels
