"""A capture host: the child process that holds some cameras' capture, and nothing that cannot be lost.

Whatever touches a stream lives here, because codecs crash, drivers hang, and only killing a process cures
that. It imports PyAV, numpy and little else. Threads: the main one reads the link, one sends, one decodes
pictures, one makes clips, one encodes those that must be, and each camera has its own. The daemon's going
away (end of the link) ends the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import itertools
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edgevlm.capture.clip import Cut, as_it_came, encoded
from edgevlm.capture.link import (
    BEAT_SECS,
    CLIP_SECS,
    LENGTHS,
    PICTURE_SECS,
    AskClip,
    AskPicture,
    Beat,
    ClipFailed,
    ClipTaken,
    CloseCamera,
    Link,
    OpenCamera,
    PictureFailed,
    PictureTaken,
    decode,
    encode,
    lengths,
)
from edgevlm.capture.outbox import Outbox
from edgevlm.capture.runner import CameraRunner
from edgevlm.errors import CaptureError, LinkError, NoFrame
from edgevlm.records import Clip
from edgevlm.runtime import egress

_REPORT_SECS = 2.0
_MAX_WAITING_PICTURES = 64
_MAX_WAITING_CLIPS = 8
_STUCK_PICTURE_SECS = 30.0
_STUCK_CLIP_SECS = CLIP_SECS + 30.0
_ENCODER_NICENESS = 10
"""Encoding a clip takes the processor for seconds; everything else goes first."""
_GOODBYE_SECS = 0.8
"""For all cameras together to send TEARDOWN: many serve only three or four clients, and remember the dead."""
_PR_SET_PDEATHSIG = 1


class CaptureHost:
    """The process's one object: its cameras, its link, its threads."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._outbox = Outbox()
        self._cameras: dict[str, CameraRunner] = {}
        self._ending: list[CameraRunner] = []
        self._numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
        self._asked: queue.Queue[tuple[float, AskPicture]] = queue.Queue(_MAX_WAITING_PICTURES)
        self._painting: tuple[float, str] | None = None
        self._clips_asked: queue.Queue[tuple[float, AskClip]] = queue.Queue(_MAX_WAITING_CLIPS)
        self._clipping: tuple[float, str] | None = None
        self._to_encode: queue.Queue[tuple[float, int, CameraRunner, Cut]] = queue.Queue(_MAX_WAITING_CLIPS)
        self._encoding: tuple[float, str] | None = None

    def run(self) -> None:
        """Serve until the daemon closes the link."""
        threading.Thread(target=self._send, name="edgevlm.host.sender", daemon=True).start()
        threading.Thread(target=self._take_pictures, name="edgevlm.host.pictures", daemon=True).start()
        threading.Thread(target=self._make_clips, name="edgevlm.host.clips", daemon=True).start()
        threading.Thread(target=self._encode_clips, name="edgevlm.host.encoder", daemon=True).start()
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._obey(self._receive())
        self._say_goodbye()

    # --- main thread ----------------------------------------------------------------------------------

    def _receive(self) -> Link:
        head_bytes, body_bytes = lengths(self._exactly(LENGTHS.size))
        return decode(self._exactly(head_bytes), self._exactly(body_bytes))

    def _exactly(self, count: int) -> bytes:
        chunks = bytearray()
        while len(chunks) < count:
            chunk = self._link.recv(min(count - len(chunks), 1 << 20))
            if not chunk:
                raise EOFError
            chunks += chunk
        return bytes(chunks)

    def _obey(self, message: Link) -> None:
        match message:
            case OpenCamera():
                self._open(message)
            case CloseCamera(camera):
                self._close(camera)
            case AskPicture():
                self._ask(message)
            case AskClip():
                self._ask_clip(message)
            case _:
                raise LinkError(f"a host does not take {type(message).__name__}")

    def _open(self, message: OpenCamera) -> None:
        camera = message.spec.name
        self._close(camera)
        runner = CameraRunner(
            message.spec,
            self._outbox,
            numbers=self._numbers[camera],
            after=[ending for ending in self._ending if ending.spec.name == camera],
            not_before_mono_ns=message.not_before_mono_ns,
        )
        runner.start()
        self._cameras[camera] = runner

    def _close(self, camera: str) -> None:
        ending = [runner for runner in self._ending if runner.alive]
        if (runner := self._cameras.pop(camera, None)) is not None:
            runner.stop()
            ending.append(runner)
        self._ending = ending

    def _ask(self, message: AskPicture) -> None:
        try:
            self._asked.put_nowait((time.monotonic(), message))
        except queue.Full:
            self._outbox.put(PictureFailed(message.number, "no_frame", "too many pictures are waited for"))

    def _ask_clip(self, message: AskClip) -> None:
        try:
            self._clips_asked.put_nowait((time.monotonic(), message))
        except queue.Full:
            self._outbox.put(ClipFailed(message.number, NoFrame.kind, "too many clips are waited for"))

    def _say_goodbye(self) -> None:
        runners = [*self._cameras.values(), *self._ending]
        for runner in runners:
            runner.stop()
        until = time.monotonic() + _GOODBYE_SECS
        for runner in runners:
            runner.wait_ended(max(0.0, until - time.monotonic()))

    # --- sender thread --------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send what waits, a beat at least every `BEAT_SECS`, and health every `_REPORT_SECS`."""
        next_beat = next_report = time.monotonic()
        while True:
            for message in self._outbox.take(max(0.0, next_beat - time.monotonic())):
                self._write(encode(message))
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + BEAT_SECS
                self._write(encode(Beat(self._stuck())))
            if now >= next_report:
                next_report = now + _REPORT_SECS
                for runner in tuple(self._cameras.values()):
                    runner.report(time.monotonic_ns())

    def _stuck(self) -> tuple[str, ...]:
        """Return the cameras that only a kill can free, also those that were closed and did not end."""
        now_ns = time.monotonic_ns()
        runners = (*self._cameras.values(), *self._ending)
        stuck = {runner.spec.name for runner in runners if runner.stuck(now_ns)}
        if (painting := self._painting) and time.monotonic() - painting[0] > _STUCK_PICTURE_SECS:
            stuck.add(painting[1])
        for clipping in (self._clipping, self._encoding):
            if clipping and time.monotonic() - clipping[0] > _STUCK_CLIP_SECS:
                stuck.add(clipping[1])
        return tuple(sorted(stuck))

    def _write(self, wire: bytes) -> None:
        try:
            self._link.sendall(wire)
        except OSError:
            # The daemon is gone, and with it whoever could be told; the main thread sees that too and ends.
            threading.Event().wait()

    # --- picture thread -------------------------------------------------------------------------------

    def _take_pictures(self) -> None:
        while True:
            asked_at, asked = self._asked.get()
            if time.monotonic() - asked_at < PICTURE_SECS:
                self._painting = (time.monotonic(), asked.camera)
                self._outbox.put(self._picture(asked))
                self._painting = None

    def _picture(self, asked: AskPicture) -> PictureTaken | PictureFailed:
        try:
            runner = self._cameras.get(asked.camera)
            if runner is None:
                return PictureFailed(asked.number, NoFrame.kind, "the camera is not open")
            return PictureTaken(asked.number, runner.picture(asked))
        except CaptureError as error:
            return PictureFailed(asked.number, error.kind, error.message)
        except Exception as fault:  # noqa: BLE001 - the thread serves all cameras and must outlive one bad frame
            return PictureFailed(asked.number, "no_frame", f"internal error: {type(fault).__name__}")

    # --- clip threads: one for what need not be encoded, so that it never waits for what must -------------

    def _make_clips(self) -> None:
        while True:
            asked_at, asked = self._clips_asked.get()
            self._clipping = (time.monotonic(), asked.camera)
            self._answer_clip(asked.number, partial(self._as_it_came, asked, asked_at + CLIP_SECS))
            self._clipping = None

    def _as_it_came(self, asked: AskClip, until: float) -> Clip | None:
        """Return the clip, or None when it has to be encoded, which is seen to."""
        runner = self._cameras.get(asked.camera)
        if runner is None:
            raise NoFrame(asked.camera, "the camera is not open")
        cut = runner.cut(asked)
        clip = as_it_came(cut)
        if clip is None:
            try:
                self._to_encode.put_nowait((until, asked.number, runner, cut))
            except queue.Full:
                raise NoFrame(asked.camera, "too many clips wait to be encoded") from None
        return clip

    def _encode_clips(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _ENCODER_NICENESS)
        while True:
            until, number, runner, cut = self._to_encode.get()
            self._encoding = (time.monotonic(), cut.camera)
            self._answer_clip(number, partial(encoded, cut, partial(self._given_up, until, runner)))
            self._encoding = None

    def _given_up(self, until: float, runner: CameraRunner) -> bool:
        return time.monotonic() >= until or self._cameras.get(runner.spec.name) is not runner

    def _answer_clip(self, number: int, make: Callable[[], Clip | None]) -> None:
        try:
            clip = make()
        except CaptureError as error:
            self._outbox.put(ClipFailed(number, error.kind, error.message))
        except Exception as fault:  # noqa: BLE001 - the thread serves all cameras and must outlive one bad clip
            self._outbox.put(ClipFailed(number, "no_frame", f"internal error: {type(fault).__name__}"))
        else:
            if clip is not None:
                self._outbox.put(ClipTaken(number, clip))


def main(link_fd: int, parent_pid: int) -> None:
    """Run a capture host on the socket that the daemon left open as `link_fd`."""
    faulthandler.enable()
    egress.enforce(egress.Policy("none"))  # cameras are FFmpeg's; no Python code here connects to anything
    _die_with(parent_pid)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the daemon alone decides when we end, by closing the link
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # passwords and frames are in our memory
    _offer_to_the_oom_killer()
    status = 1
    try:
        with socket.socket(fileno=link_fd) as link:
            CaptureHost(link).run()
        status = 0
    except LinkError as error:
        sys.stderr.write(f"{error}\n")
    except Exception:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # not waiting for threads: they may block in a driver


def _die_with(parent_pid: int) -> None:
    """Ask the kernel to kill us when the daemon dies, however it dies (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _offer_to_the_oom_killer() -> None:
    """Be the first to go when memory ends: a host can be lost, the daemon cannot."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
