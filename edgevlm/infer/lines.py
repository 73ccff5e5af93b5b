"""Cuts a stream of bytes into lines and server-sent events, as they arrive and within bounds."""

from __future__ import annotations

from edgevlm.errors import TooLarge


class Lines:
    """Puts lines together from pieces of any size; a line ends with LF or CR LF."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that `piece` completes, without their ends."""
        *whole, rest = piece.split(b"\n")
        lines = []
        for end in whole:
            lines.append(bytes(self._rest + end).removesuffix(b"\r"))
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > self._max_bytes:
            raise TooLarge(f"a line of the answer is longer than {self._max_bytes} bytes")
        return lines

    def end(self) -> list[bytes]:
        """Return what came after the last line end, if anything."""
        return [bytes(self._rest)] if self._rest else []


class Events:
    """Reads `text/event-stream` (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Only `data` matters to us: comments (OpenRouter's keep-alive), `event`, `id` and `retry` are skipped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lines = Lines(max_bytes)
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[str]:
        """Return the data of the events that `piece` completes."""
        return [event for line in self._lines.feed(piece) for event in self._line(line)]

    def end(self) -> list[str]:
        """Return the data of an event that lacks its closing empty line: some servers forget the last one."""
        return [event for line in (*self._lines.end(), b"") for event in self._line(line)]

    def _line(self, line: bytes) -> list[str]:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        if line or not self._data:
            return []
        event = b"\n".join(self._data).decode(errors="replace")
        self._data.clear()
        return [event]
