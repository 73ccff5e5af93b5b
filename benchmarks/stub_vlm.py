"""A model server that takes no time to think, and remembers when it was spoken to; a process of its own.

    python -m benchmarks.stub_vlm

It prints its port and answers POSTs on 127.0.0.1 until its standard input ends; then it prints what it has
seen: a JSON array with one `Seen` a request. A line of process numbers on its input names the contestant,
whose processor time it notes as well. It answers as it is asked: in events when the request wants a stream,
as servers of language models do (a word an event), else in one document.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.cpu import cpu_ns

ANSWER = '{"answer": "yes"}'
_WORDS = ('{"', "answer", '":', ' "', "yes", '"}')
_END_OF_HEADERS = b"\r\n\r\n"
_ASKED = b"/chat/completions "
_NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request; times are `time.monotonic_ns()`, which all processes of a machine share."""

    first_byte_ns: int
    read_ns: int
    """The last byte of its body was here."""
    answered_ns: int
    """The answer was handed to the kernel."""
    cpu_read_ns: int
    """What the contestant's processes had used by then; so for the next one."""
    cpu_answered_ns: int
    body_bytes: int


@dataclass(slots=True)
class _Notes:
    """What all connections write into."""

    pids: list[int] = field(default_factory=list)
    """The contestant's processes."""
    seen: list[Seen] = field(default_factory=list)


class _Connection:
    """One client's connection, read and answered by one thread."""

    def __init__(self, connection: socket.socket, notes: _Notes) -> None:
        self._connection = connection
        self._notes = notes
        self._kept = b""

    def serve(self) -> None:
        """Answer one request after another until the client leaves."""
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._connection:
            while self._answer_one():
                pass

    def _answer_one(self) -> bool:
        head = bytearray(self._kept or self._connection.recv(1 << 16))
        first_byte_ns = time.monotonic_ns()
        while _END_OF_HEADERS not in head:
            piece = self._connection.recv(1 << 16)
            if not piece:
                return False
            head += piece
        headers, _, start = bytes(head).partition(_END_OF_HEADERS)
        body = self._body(start, _content_length(headers))
        if _ASKED not in headers.split(b"\r\n", 1)[0]:  # somebody wants to know what kind of server this is
            self._connection.sendall(_NOT_HERE)
            return True
        read_ns, cpu_read_ns = time.monotonic_ns(), cpu_ns(self._notes.pids)
        reply = _reply(streamed=b'"stream":true' in body)
        answered_ns, cpu_answered_ns = time.monotonic_ns(), cpu_ns(self._notes.pids)
        self._connection.sendall(reply)
        times = first_byte_ns, read_ns, answered_ns, cpu_read_ns, cpu_answered_ns
        self._notes.seen.append(Seen(*times, len(body)))
        return True

    def _body(self, start: bytes, length: int) -> bytes:
        body = bytearray(length)
        body[: len(start)] = start[:length]
        self._kept = start[length:]
        view, have = memoryview(body), min(len(start), length)
        while have < length:
            got = self._connection.recv_into(view[have:])
            if got == 0:
                raise ConnectionError("the client left in the middle of a request")
            have += got
        return bytes(body)


def _content_length(headers: bytes) -> int:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _reply(*, streamed: bool) -> bytes:
    if not streamed:
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"model": "stub", "choices": [choice], "usage": _USAGE}).encode()
        return _HEAD % (b"application/json", b"Content-Length: %d" % len(body)) + body
    head = _HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in _events()) + b"0\r\n\r\n"


def _events() -> list[bytes]:
    words = [[{"index": 0, "delta": {"content": word}, "finish_reason": None}] for word in _WORDS]
    end = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    chunks: list[dict[str, Any]] = [{"choices": choices} for choices in [*words, end, []]]
    chunks[-1]["usage"] = _USAGE
    common = {"object": "chat.completion.chunk", "model": "stub"}
    return [b"data: %b\n\n" % json.dumps(common | chunk).encode() for chunk in chunks] + [_DONE]


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n"
_DONE = b"data: [DONE]\n\n"
_USAGE = {"prompt_tokens": 1200, "completion_tokens": len(_WORDS), "total_tokens": 1200 + len(_WORDS)}


def _accept(listener: socket.socket, notes: _Notes) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_Connection(connection, notes).serve, daemon=True).start()


def main() -> None:
    notes = _Notes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, notes), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        for line in sys.stdin:
            notes.pids = [int(pid) for pid in line.split()]
    print(json.dumps([asdict(one) for one in notes.seen]))


if __name__ == "__main__":
    main()
