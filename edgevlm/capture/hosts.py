"""The daemon's side of the wall: start capture hosts, watch them, kill and replace them.

A host that ends is replaced at once, one that is silent for `_SILENT_TICKS` beats (SIGSTOP, a driver that
holds every thread) or that reports a stuck camera is killed first; to start, it gets `_START_TICKS`. Its
cameras go `offline` meanwhile; other hosts notice nothing. Silence is counted in ticks of our own loop, so
that a daemon that was itself held up does not take it out on its hosts. A host that ends whenever it starts
is started ever more seldom.

Everything here runs on the event loop; `run()` is one asyncio task a host.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog

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
    HealthReport,
    Link,
    LookTaken,
    OpenCamera,
    PictureFailed,
    PictureTaken,
    ToHost,
    decode,
    encode,
    lengths,
)
from edgevlm.capture.spec import CameraSpec
from edgevlm.errors import CaptureError, HostLost, LinkError, NoFrame
from edgevlm.records import Box, CameraHealth, CameraState, Clip, ClipShot, Instant, Look, Picture, Shot
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters

log = structlog.get_logger(stage="capture")

_SILENT_TICKS = 6
"""Beats missed before a host counts as hung: 3 s, so that it is replaced within 5."""
_START_TICKS = 40
"""Beats that may be missed before the first one: a small box that starts many hosts takes its time."""
_STEADY_SECS = 10.0
"""A host that lived this long is no crash loop: it is replaced at once again."""
_LOCKED_OUT_NS = 300_000_000_000
"""Pause after a refused login, also when the capture host did not outlive it."""
_GOODBYE_SECS = 1.5
_LAST_WORDS_SECS = 0.5
_MAX_SAID_LINES = 100
"""Lines of a host's stderr that are logged; a native crash needs some thirty."""
_KEPT_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "COVERAGE_PROCESS_START",
)

_Shown = TypeVar("_Shown", Picture, Clip)

HealthListener = Callable[[CameraHealth, CameraHealth], None]
"""Called with the old and the new health."""


class Camera:
    """The daemon's handle of one camera: its newest look, its health, pictures on demand."""

    def __init__(self, spec: CameraSpec, *, counters: Counters, clock: Clock, enabled: bool = True) -> None:
        self.spec = spec
        self.enabled = enabled
        self.health = CameraHealth(spec.name, CameraState.STARTING if enabled else CameraState.DISABLED)
        self.on_health: HealthListener | None = None
        self._counters = counters
        self._clock = clock
        self._look: Look | None = None
        self._fresh = asyncio.Event()
        self._host: CaptureHostProcess | None = None

    @property
    def name(self) -> str:
        """The camera's name in the configuration."""
        return self.spec.name

    async def looks(self) -> AsyncIterator[Look]:
        """Yield the newest look, never a backlog; for one consumer."""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            look, self._look = self._look, None
            if look is not None:
                yield look

    async def pictures(self, shot: Shot, trigger_mono_ns: int) -> tuple[Picture, ...]:
        """Return the frames of `shot`, the oldest first; waits for those that are still to come.

        Raises:
            NoFrame: the camera shows nothing.
            HostLost: its capture host went away while it was asked.

        """
        if shot.count == 1 and not shot.before_secs and not shot.after_secs:
            return (await self._picture_of(shot),)
        taken: list[Picture] = []
        for at_ns in shot.moments_mono_ns(trigger_mono_ns):
            await self._clock.sleep(max(0, at_ns - self._clock.monotonic_ns()) / 1e9)
            taken.append(await self._picture_of(shot, at_mono_ns=at_ns))
        return tuple(taken)

    async def _picture_of(self, shot: Shot, at_mono_ns: int | None = None) -> Picture:
        return await self.picture(
            max_side=shot.max_side,
            at_mono_ns=at_mono_ns,
            crop=shot.crop,
            multiple_of=shot.multiple_of,
            tolerance_ms=int(shot.tolerance_secs * 1000),
        )

    async def picture(
        self,
        *,
        max_side: int,
        instant: Instant | None = None,
        at_mono_ns: int | None = None,
        crop: Box | None = None,
        multiple_of: int = 1,
        tolerance_ms: int = 0,
    ) -> Picture:
        """Return the frame at `instant`, the one that was shown at `at_mono_ns`, or the newest one.

        With `tolerance_ms` a keyframe that is not more than that older than the newest one will do.

        Raises:
            NoFrame: the camera shows nothing, or the instant has left its ring.
            HostLost: its capture host went away while it was asked.

        """
        asked = AskPicture(0, self.name, max_side, instant, at_mono_ns, crop, multiple_of, tolerance_ms)
        return await self._attached().ask_picture(asked)

    async def clip(self, shot: ClipShot, trigger_mono_ns: int) -> Clip:
        """Return the seconds around the trigger as MP4; waits for those that are still to come.

        Evidence alone reaches up to now, so that what was asked about is in it.

        Raises:
            NoFrame: the camera shows nothing, or no clip can be made of it in time and within `max_bytes`.
            HostLost: its capture host went away while it was asked.

        """
        to_ns = trigger_mono_ns + int(shot.after_secs * 1e9)
        await self._clock.sleep(max(0, to_ns - self._clock.monotonic_ns()) / 1e9)
        if not shot.asked:
            to_ns = self._clock.monotonic_ns()
        from_ns = trigger_mono_ns - int(shot.before_secs * 1e9)
        return await self._attached().ask_clip(self.name, shot, from_ns, to_ns)

    def _attached(self) -> CaptureHostProcess:
        if not self.enabled:
            raise NoFrame(self.name, "the camera is disabled")
        if self._host is None:
            raise HostLost(self.name, "its capture host is being replaced")
        return self._host

    def set_enabled(self, *, enabled: bool) -> None:
        """Capture from now on, or not any more."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        self._look = None
        state = CameraState.STARTING if enabled else CameraState.DISABLED
        self._change(CameraHealth(self.name, state))
        if self._host is not None:
            self._host.reopen(self)

    # --- called by the host's task --------------------------------------------------------------------

    def attach(self, host: CaptureHostProcess) -> None:
        """Say which host holds the camera now."""
        self._host = host

    def take_look(self, look: Look, superseded: int) -> None:
        """Replace the newest look; `superseded` others never got here. A disabled camera shows nothing."""
        if not self.enabled:
            return
        superseded += self._look is not None
        if superseded:
            self._counters.drop("capture", "look_superseded", self.name, superseded)
        self._look = look
        self._fresh.set()

    def take_health(self, health: CameraHealth) -> None:
        """Remember what the host says; a disabled camera's last words do not count."""
        if self.enabled:
            self._change(health)

    def lose(self) -> None:
        """Note that the capture host is gone; a refused login stays what is wrong with the camera."""
        self._host = None
        if self.enabled and not self.refused:
            detail = "its capture host is being replaced"
            self._change(replace(self.health, state=CameraState.OFFLINE, detail=detail))

    @property
    def refused(self) -> bool:
        """Whether the camera refuses our login."""
        return self.health.state == CameraState.UNAUTHORIZED

    def _change(self, health: CameraHealth) -> None:
        """Remember the health; log and tell a change of state."""
        old, self.health = self.health, health
        if (old.state, old.detail) != (health.state, health.detail):
            _log_state(health)
        if self.on_health is not None:
            self.on_health(old, health)


def _log_state(health: CameraHealth) -> None:
    quiet = (CameraState.ONLINE, CameraState.STARTING, CameraState.DISABLED)
    levels = dict.fromkeys(quiet, "info") | {CameraState.UNAUTHORIZED: "error"}
    emit = getattr(log, levels.get(health.state, "warning"))
    emit(f"camera is {health.state}", camera=health.camera, detail=health.detail)


class CaptureHostProcess:
    """One child process and the cameras in it."""

    def __init__(self, name: str, cameras: Sequence[Camera], *, clock: Clock, counters: Counters) -> None:
        self.name = name
        self.pid: int | None = None
        self._cameras = {camera.name: camera for camera in cameras}
        self._clock = clock
        self._counters = counters
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, tuple[str, asyncio.Future[Picture]]] = {}
        self._clips_asked: dict[int, tuple[str, asyncio.Future[Clip]]] = {}
        self._numbers = itertools.count(1)
        self._beaten = False
        self._missed = 0
        self._stuck: tuple[str, ...] = ()

    async def run(self) -> None:
        """Keep a host process alive until cancelled."""
        backoff = Backoff(first_secs=0.1, cap_secs=30.0)
        while True:
            began_ns = self._clock.monotonic_ns()
            why = await self._run_once()
            self._lose_cameras()
            self._counters.count("host_restarts", self.name)
            log.warning("capture host is replaced", host=self.name, why=why, cameras=sorted(self._cameras))
            if (self._clock.monotonic_ns() - began_ns) / 1e9 > _STEADY_SECS:
                backoff.reset()
            await self._clock.sleep(backoff.next_secs())

    async def _run_once(self) -> str:
        """Start a process, serve it until it ends or hangs, and return why."""
        try:
            process, reader = await self._start()
        except OSError as error:  # no memory, no process, no file descriptor left
            return f"it cannot be started: {error.strerror}"
        telling = asyncio.create_task(_relay_stderr(process, self.name), name=f"edgevlm.{self.name}.stderr")
        try:
            self._open_cameras()
            return await self._serve(reader)
        except asyncio.CancelledError:
            await self._say_goodbye(process)
            raise
        finally:
            await self._end(process, telling)

    async def _start(self) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        """Start a process that has the other end of our link."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as on_failure:
            on_failure.callback(ours.close)
            process = await self._spawn(theirs)
            reader, self._writer = await asyncio.open_connection(sock=ours)
            on_failure.pop_all()
        self.pid = process.pid
        return process, reader

    async def _spawn(self, link: socket.socket) -> asyncio.subprocess.Process:
        environment = {key: os.environ[key] for key in _KEPT_ENVIRONMENT if key in os.environ}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "edgevlm.capture.host",
            str(link.fileno()),
            str(os.getpid()),
            pass_fds=[link.fileno()],
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # ^C in a terminal is for the daemon alone
        )

    async def _say_goodbye(self, process: asyncio.subprocess.Process) -> None:
        """Close the link and give the cameras a moment to hang up."""
        assert self._writer is not None
        self._writer.close()
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=_GOODBYE_SECS)

    async def _end(self, process: asyncio.subprocess.Process, telling: asyncio.Task[None]) -> None:
        assert self._writer is not None
        with suppress(ProcessLookupError):
            process.kill()
        self._writer.close()
        self._fail_asked()
        await _reap(process)
        await asyncio.wait([telling], timeout=_LAST_WORDS_SECS)
        telling.cancel()

    def _open_cameras(self) -> None:
        self._beaten, self._missed, self._stuck = False, 0, ()
        for camera in self._cameras.values():
            camera.attach(self)
            if camera.enabled:
                not_before_ns = self._clock.monotonic_ns() + _LOCKED_OUT_NS if camera.refused else 0
                self._send(OpenCamera(camera.spec, not_before_ns))

    def _lose_cameras(self) -> None:
        for camera in self._cameras.values():
            camera.lose()

    def _fail_asked(self) -> None:
        asked: list[tuple[str, asyncio.Future[Any]]]
        asked = [*self._asked.values(), *self._clips_asked.values()]
        self._asked, self._clips_asked = {}, {}
        for camera_name, future in asked:
            if not future.done():
                future.set_exception(HostLost(camera_name, "its capture host ended"))

    async def _serve(self, reader: asyncio.StreamReader) -> str:
        """Return why the host must go."""
        reading = asyncio.create_task(self._read(reader), name=f"edgevlm.{self.name}.link")
        try:
            while not reading.done():
                await asyncio.wait([reading], timeout=BEAT_SECS)
                self._missed += 1
                if self._missed > (_SILENT_TICKS if self._beaten else _START_TICKS):
                    return "it hangs"
                if self._stuck:
                    return f"camera {', '.join(self._stuck)} is stuck in a driver or library"
            return reading.result()
        finally:
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Take the host's messages until the link ends; return why it did."""
        try:
            while True:
                head_bytes, body_bytes = lengths(await reader.readexactly(LENGTHS.size))
                head = await reader.readexactly(head_bytes)
                self._take(decode(head, await reader.readexactly(body_bytes)))
        except (asyncio.IncompleteReadError, OSError):
            return "it ended"
        except LinkError as error:
            return str(error)

    def _take(self, message: Link) -> None:
        self._beaten, self._missed = True, 0
        match message:
            case Beat(stuck):
                self._stuck = stuck
            case LookTaken(look, superseded):
                self._camera(look.camera).take_look(look, superseded)
            case HealthReport(health):
                self._camera(health.camera).take_health(health)
            case PictureTaken(number, picture):
                _fulfil(self._asked.get(number), picture.camera, picture)
            case PictureFailed(number, kind, text):
                _refuse(self._asked.get(number), kind, text)
            case ClipTaken(number, clip):
                _fulfil(self._clips_asked.get(number), clip.camera, clip)
            case ClipFailed(number, kind, text):
                _refuse(self._clips_asked.get(number), kind, text)
            case _:
                raise LinkError(f"the daemon does not take {type(message).__name__}")

    def _camera(self, name: str) -> Camera:
        try:
            return self._cameras[name]
        except KeyError:
            raise LinkError("a message about a camera that the host does not hold") from None

    # --- pictures and clips ---------------------------------------------------------------------------

    async def ask_picture(self, asked: AskPicture) -> Picture:
        """Ask the host for a picture and wait for it; see `Camera.picture`. The number is given here."""
        return await self._ask(
            replace(asked, number=next(self._numbers)), self._asked, PICTURE_SECS, "picture"
        )

    async def ask_clip(self, camera: str, shot: ClipShot, from_mono_ns: int, to_mono_ns: int) -> Clip:
        """Ask the host for a clip and wait for it; see `Camera.clip`."""
        asked = AskClip(next(self._numbers), camera, shot, from_mono_ns, to_mono_ns)
        return await self._ask(asked, self._clips_asked, CLIP_SECS, "clip")

    async def _ask(
        self,
        asked: AskPicture | AskClip,
        waiting: dict[int, tuple[str, asyncio.Future[_Shown]]],
        limit_secs: float,
        what: str,
    ) -> _Shown:
        future: asyncio.Future[_Shown] = asyncio.get_running_loop().create_future()
        waiting[asked.number] = (asked.camera, future)
        try:
            self._send(asked)
            async with asyncio.timeout(limit_secs):
                return await future
        except TimeoutError:
            raise NoFrame(asked.camera, f"no {what} within {limit_secs:g} s") from None
        finally:
            waiting.pop(asked.number, None)

    # --- cameras that come and go ---------------------------------------------------------------------

    def reopen(self, camera: Camera) -> None:
        """Open or close one camera as its `enabled` says."""
        self._send(OpenCamera(camera.spec) if camera.enabled else CloseCamera(camera.name))

    def _send(self, message: ToHost) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))


def _fulfil(asked: tuple[str, asyncio.Future[_Shown]] | None, camera: str, shown: _Shown) -> None:
    """Give what came to whoever waits for it; often nobody does any more."""
    if asked is None:
        return
    if asked[0] != camera:
        raise LinkError(f"a {type(shown).__name__.lower()} of another camera than was asked for")
    if not asked[1].done():
        asked[1].set_result(shown)


def _refuse(asked: tuple[str, asyncio.Future[_Shown]] | None, kind: str, text: str) -> None:
    if asked is None or asked[1].done():
        return
    camera, future = asked
    future.set_exception(NoFrame(camera, text) if kind == NoFrame.kind else CaptureError(camera, text))


async def _relay_stderr(process: asyncio.subprocess.Process, host: str) -> None:
    """Give what a dying host prints (a native crash's stack) to our log, masked like everything there.

    Everything is read, so that a host never waits for us, though not everything is logged.
    """
    assert process.stderr is not None
    for said in itertools.count():
        try:
            line = await process.stderr.readline()
        except ValueError:  # a line beyond the reader's limit; it is thrown away
            continue
        if not line:
            return
        if said < _MAX_SAID_LINES:
            log.warning("capture host says", host=host, line=line.decode(errors="replace").rstrip()[:500])


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Wait for the killed process; one that sleeps in a driver for ever is left behind."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.wait()
            return
    log.error("a killed capture host does not end", pid=process.pid)


class Hosts:
    """All cameras, spread over capture hosts."""

    def __init__(
        self,
        specs: Sequence[CameraSpec],
        *,
        disabled: frozenset[str] = frozenset(),
        cameras_per_host: int,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self.cameras = {
            spec.name: Camera(spec, counters=counters, clock=clock, enabled=spec.name not in disabled)
            for spec in specs
        }
        cameras = list(self.cameras.values())
        self.processes = [
            CaptureHostProcess(
                f"host-{number}", cameras[first : first + cameras_per_host], clock=clock, counters=counters
            )
            for number, first in enumerate(range(0, len(cameras), cameras_per_host), 1)
        ]
