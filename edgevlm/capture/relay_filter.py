"""What a camera says by RTSP, cut into whole messages, so that no redirect gets through; pure, no I/O.

FFmpeg connects to wherever a 3xx reply tells it to. To keep such a reply from it for certain, nothing is let
through that is not one whole message: an interleaved packet, a reply, or a request of the camera's own. And a
message is read exactly as FFmpeg reads it (`ff_rtsp_read_reply`): lines end at LF, CR counts for nothing, the
last Content-Length holds. What the two could read differently is refused: a NUL, a `$` where a header begins.
What is no message at all, as some cameras send between packets, is left out.
"""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 65_536
MAX_LINE_BYTES = 4_000
MAX_BODY_BYTES = 1_000_000

_REPLY = re.compile(rb"RTSP/1\.[01] ([1-9][0-9][0-9])(?: .*)?")
_REQUEST = re.compile(rb"([A-Z_]{3,20}) [^ \t]+ RTSP/1\.[01]")
_BEGINNING = re.compile(rb"\$[\x00-\x0f]|RTSP/1\.|[A-Z_]{3,20} [^ \t\r\n]+ RTSP/1\.")
_LEFT_OUT = -1
_LENGTH = re.compile(rb"(?i)content-length:(.*)")
_CSEQ = re.compile(rb"(?i)cseq: *([0-9]{1,9})$")
_LOCATION = re.compile(rb"(?i)location: *(.*)")


class Redirected(Exception):
    """The camera wants us to go elsewhere."""

    def __init__(self, location: str, cseq: str) -> None:
        super().__init__(location)
        self.location = location
        """Where, as it says; not to be trusted, and never to be followed."""
        self.cseq = cseq


class Ambiguous(Exception):
    """Bytes that FFmpeg might read differently than we do."""


class RtspFilter:
    """The direction from a camera; feed it what comes, pass on what it gives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.left_out_bytes = 0
        """How much was no message."""

    def feed(self, received: bytes) -> bytes:
        """Return the messages that are whole now.

        Raises:
            Redirected: one of them is a redirect; those before it are lost with the connection.
            Ambiguous: it cannot be told for certain where a message ends.

        """
        self._buffer += received
        passed = bytearray()
        while self._buffer:
            size = self._message_bytes()
            if size == _LEFT_OUT:
                continue
            if size > len(self._buffer) or size == 0:
                break
            passed += self._buffer[:size]
            del self._buffer[:size]
        return bytes(passed)

    def _message_bytes(self) -> int:
        """Return the length of the message that begins here; 0 when that is not known yet."""
        if self._buffer[0] == ord("$"):
            return 4 + int.from_bytes(self._buffer[2:4], "big") if len(self._buffer) >= 4 else 0
        if not ord("A") <= self._buffer[0] <= ord("Z"):
            return self._leave_out()
        line_end = self._buffer.find(b"\n")
        if line_end < 0:
            return self._wait(MAX_LINE_BYTES)
        first = bytes(self._buffer[:line_end]).removesuffix(b"\r")
        reply, request = _REPLY.fullmatch(first), _REQUEST.fullmatch(first)
        if len(first) > MAX_LINE_BYTES or not (reply or request):
            return self._leave_out()
        head = self._head()
        if head is None:
            return self._wait(MAX_HEAD_BYTES)
        if (reply and reply[1].startswith(b"3")) or (request and request[1] == b"REDIRECT"):
            raise Redirected(_value(_LOCATION, head), _value(_CSEQ, head))
        return self._head_bytes + _body_bytes(head)

    _head_bytes = 0

    def _head(self) -> list[bytes] | None:
        """Return the header lines, if they are all here."""
        lines: list[bytes] = []
        at = self._buffer.find(b"\n") + 1
        while (end := self._buffer.find(b"\n", at)) >= 0:
            line = bytes(self._buffer[at:end]).replace(b"\r", b"")
            at = end + 1
            if not line:
                self._head_bytes = at
                return lines
            if line.startswith(b"$") or b"\0" in line or len(line) > MAX_LINE_BYTES:
                raise Ambiguous("a header that could be read in two ways")
            lines.append(line)
        return None

    def _wait(self, most_bytes: int) -> int:
        """Wait for more, but not for ever."""
        return self._leave_out() if len(self._buffer) > most_bytes else 0

    def _leave_out(self) -> int:
        """Drop bytes up to where a message may begin."""
        found = _BEGINNING.search(self._buffer, 1)
        end = found.start() if found else max(1, len(self._buffer) - 32)
        self.left_out_bytes += end
        del self._buffer[:end]
        return _LEFT_OUT


def _body_bytes(head: list[bytes]) -> int:
    lengths = {found[1].strip() for line in head if (found := _LENGTH.match(line))}
    if not lengths:
        return 0
    length = lengths.pop()
    if lengths or not re.fullmatch(rb"[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
        raise Ambiguous("a length of the body that could be read in two ways")
    return int(length)


def _value(pattern: re.Pattern[bytes], head: list[bytes]) -> str:
    found = next((match for line in head if (match := pattern.match(line))), None)
    return found[1].decode("utf-8", "replace").strip()[:500] if found else ""
