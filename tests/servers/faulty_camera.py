"""A camera with faults: a small RTSP server whose switches can be set at any time, also while it streams.

It runs in a thread with a loop of its own, so that tests may block, run a loop, or watch from other
processes. Faults are plain attributes; what has to happen at once is a method. Nothing here is timed by the
test: `wait_until` returns when something is so.

    camera.silent_after = "describe"      answer up to DESCRIBE, then say nothing more
    camera.status = 401                   answer every request with this
    camera.stall = "everything"           connections stay, no byte comes ("video": RTCP goes on)
    camera.refuse(); camera.accept()      nobody listens; somebody listens again, on the same port
    camera.cut("rst")                     end all connections now, with a reset or ("fin") in good form
    camera.jump(3600)                     timestamps leap; `approach_wrap()` lets them overflow 32 bits soon
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from edgevlm.demo.rtp import CLOCK_HZ, PPS, SPS, nal_type, split_annex_b
from edgevlm.demo.rtsp import Connection, Mount, RtspServer
from edgevlm.demo.rtsp_message import Request, Response

Step = Literal["connect", "options", "describe", "setup", "play"]
Stall = Literal["everything", "video", "half-packet"]

_STEPS = ("connect", "options", "describe", "setup", "play")
_START_CODE = b"\x00\x00\x00\x01"
_WAIT_SECS = 10.0


class FaultyCamera:
    """One mount, `/stream`, that plays coded pictures in a loop and does whatever wrong it is told to."""

    def __init__(self, units: Sequence[bytes], *, fps: int = 15) -> None:
        """Take H.264 access units (`clips.access_units`), the first of them a keyframe."""
        self.silent_after: Step | None = None
        self.status: int | None = None
        self.stall: Stall | None = None
        self.sprop = True
        """Whether the SDP carries parameter sets."""
        self.in_band = True
        """Whether keyframes carry parameter sets."""
        self.garbage = False
        """Whether bytes that are no packet come between the packets."""
        self.corrupt: Literal["inter", "all"] | None = None
        """Whose coded data has flipped bits: all pictures but keyframes, or all."""
        self.requests: list[str] = []
        """The methods that clients have asked, in order."""
        self.opened = 0
        """How many connections there have been."""
        self.sent = 0
        """How many pictures have been taken, sent to somebody or not."""
        self.port = 0
        self._fps = fps
        self._units = list(units)
        self._next = 0
        self._timestamp = random.Random(1).getrandbits(31)
        self._changed = threading.Condition()
        self._noise = random.Random(7)
        self._mount = _Mount(self)
        self._ready = threading.Event()
        self._end: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._server: RtspServer
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="faulty-camera")

    @property
    def url(self) -> str:
        """Where the stream is."""
        return f"rtsp://127.0.0.1:{self.port}/stream"

    @property
    def viewers(self) -> int:
        """How many clients play now."""
        return len(self._mount.viewers)

    def refuse(self) -> None:
        """Close the port and all connections."""
        self._call(self._server.refuse())

    def accept(self) -> None:
        """Open the same port again."""
        self._call(self._server.listen())

    def cut(self, how: Literal["rst", "fin"]) -> None:
        """End all connections; new ones are welcome."""

        def cut() -> None:
            for connection in self._server.connections:
                assert isinstance(connection, _Connection)
                connection.cut(how)

        self._do(cut)

    def play(self, units: Sequence[bytes]) -> None:
        """Go on with other pictures (another size, another scene) from the next picture on."""

        def change() -> None:
            self._units, self._next = list(units), 0

        self._do(change)

    def jump(self, secs: float) -> None:
        """Let the timestamps leap by so much, forward or back, while pictures go on evenly."""
        self._do(lambda: self._set_clock(self._timestamp + round(secs * CLOCK_HZ)))

    def approach_wrap(self, secs: float = 0.5) -> None:
        """Let the timestamps pass 2^32 in about `secs`; for a client, before it plays."""
        self._do(lambda: self._set_clock((1 << 32) - round(secs * CLOCK_HZ)))

    def wait_until(self, so: Callable[[], bool], timeout_secs: float = _WAIT_SECS) -> None:
        """Return when `so()` is true; asked after each request, connection and picture."""
        with self._changed:
            assert self._changed.wait_for(so, timeout_secs), "the camera waited in vain"

    def note(self) -> None:
        """Wake those who wait."""
        with self._changed:
            self._changed.notify_all()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._server = RtspServer([self._mount], connect=lambda *streams: _Connection(self, *streams))
        async with self._server:
            self.port = self._server.port
            self._feed()
            filming = asyncio.create_task(self._film())
            self._ready.set()
            await self._end.wait()
            filming.cancel()

    async def _film(self) -> None:
        began = self._loop.time() - self.sent / self._fps
        while True:
            await asyncio.sleep(max(0.0, began + self.sent / self._fps - self._loop.time()))
            self._feed()

    def _feed(self) -> None:
        """Take the next picture; what the mount learns from it is part of its SDP."""
        unit = self._units[self._next % len(self._units)]
        self._mount.feed(self._spoilt(unit), self._timestamp)
        self._next += 1
        self.sent += 1
        self._timestamp += CLOCK_HZ // self._fps
        self.note()

    def _spoilt(self, unit: bytes) -> bytes:
        nals = split_annex_b(unit)
        if not self.in_band:
            nals = tuple(nal for nal in nals if nal_type(nal) not in (SPS, PPS))
        if self.corrupt:
            spoilt_types = (1,) if self.corrupt == "inter" else (1, 5)
            nals = tuple(self._flip(nal) if nal_type(nal) in spoilt_types else nal for nal in nals)
        return b"".join(_START_CODE + nal for nal in nals)

    def _flip(self, nal: bytes) -> bytes:
        """Return the NAL unit with every so many of its bytes replaced, its header left as it is."""
        flipped = bytearray(nal)
        for at in range(12, len(nal), 40):
            flipped[at] = self._noise.randrange(4, 256)  # never a byte of a start code
        return bytes(flipped)

    def _set_clock(self, timestamp: int) -> None:
        self._timestamp = timestamp

    def _do(self, change: Callable[[], None]) -> None:
        """Change something between two pictures."""

        async def work() -> None:
            change()

        self._call(work())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_SECS)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_WAIT_SECS), "the faulty camera did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_WAIT_SECS)
        assert not self._thread.is_alive(), "the faulty camera did not end"


class _Mount(Mount):
    """Leaves the parameter sets out of its SDP when told to."""

    def __init__(self, camera: FaultyCamera) -> None:
        super().__init__("/stream")
        self._camera = camera

    def sdp(self) -> str:
        described = super().sdp()
        return described if self._camera.sprop else re.sub(r";profile-level-id=[^\r]*", "", described)


class _Connection(Connection):
    """Asks the camera before it answers or sends."""

    def __init__(
        self,
        camera: FaultyCamera,
        server: RtspServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        super().__init__(server, reader, writer)
        self._camera = camera
        self._half_sent = False
        camera.opened += 1
        camera.note()

    def answer(self, request: Request) -> Response | None:
        camera = self._camera
        camera.requests.append(request.method)
        camera.note()
        if self._is_silent(request.method.lower()):
            return None
        if camera.status:
            return Response(camera.status, {"WWW-Authenticate": 'Basic realm="camera"'})
        return super().answer(request)

    def _is_silent(self, method: str) -> bool:
        silent_after, stall = self._camera.silent_after, self._camera.stall
        if stall in ("everything", "half-packet") and self._mount is not None and method != "play":
            return True
        if silent_after is None:
            return False
        return method not in _STEPS or _STEPS.index(method) > _STEPS.index(silent_after)

    def deliver(self, packets: list[bytes], report: bytes | None) -> None:
        stall = self._camera.stall
        if self._camera.silent_after or stall == "everything":
            return
        if stall == "video":
            super().deliver([], report)
        elif stall == "half-packet":
            self._send_half(packets[0])
        else:
            super().deliver(packets, report)
            if self._camera.garbage:
                self.write(self._camera._noise.randbytes(200))

    def _send_half(self, packet: bytes) -> None:
        if not self._half_sent:
            self.write(b"$\0" + len(packet).to_bytes(2, "big") + packet[: len(packet) // 2])
        self._half_sent = True

    def cut(self, how: Literal["rst", "fin"]) -> None:
        self.leave()
        if how == "rst":
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
        else:
            self._writer.close()
