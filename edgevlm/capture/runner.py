"""One camera's thread in a capture host: `run()` around `run_once()`, back-off between, for ever.

The thread reads packets into the session's ring and decodes a look at keyframes. Pictures are decoded by the
host's picture thread, out of the ring. Everything else that other threads see (state, figures) is written
here and only read there. `stop()` is final: what this runner says afterwards reaches nobody, so that the next
one of the same camera never speaks with two tongues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from edgevlm.capture.clip import Cut
from edgevlm.capture.link import AskClip, AskPicture, HealthReport, LookTaken, ToDaemon
from edgevlm.capture.outbox import Outbox
from edgevlm.capture.pace import LookPace
from edgevlm.capture.painter import Painter
from edgevlm.capture.ring import Packet
from edgevlm.capture.session import Session
from edgevlm.capture.source import RawPacket, Source
from edgevlm.capture.sources import build_source
from edgevlm.capture.spec import CameraSpec
from edgevlm.capture.vitals import Vitals
from edgevlm.errors import CameraUnauthorized, CameraUnreachable, CaptureError, NoFrame, SourceEnded
from edgevlm.records import CameraState, Look, Picture
from edgevlm.runtime.backoff import Backoff

_NS = 1_000_000_000
_LOCKED_OUT_SECS = 300.0
"""Pause after a refused login: many cameras lock a client out after a few wrong ones."""
_STEADY_NS = 30 * _NS
"""A session that lasted this long was a success: the next pause is the shortest again."""
_KEYFRAME_NS = 5 * _NS
"""How long a stream may begin without a keyframe before that is told."""
_MAX_BAD_KEYFRAMES = 5
_BAD_FOR_NS = 10 * _NS
"""A stream of which nothing could be decoded for so long and so often is opened anew."""


class CameraRunner:
    """Owns one camera's source, session and thread."""

    def __init__(
        self,
        spec: CameraSpec,
        outbox: Outbox,
        *,
        numbers: Iterator[int],
        after: Sequence[CameraRunner] = (),
        not_before_mono_ns: int = 0,
    ) -> None:
        """Store; `start` begins.

        Args:
            spec: the camera.
            outbox: takes what the daemon shall hear.
            numbers: the numbers of sessions to come.
            after: stopped runners of the same camera, whose connection has to end first.
            not_before_mono_ns: when the camera's lock-out ends, if it refused our login.

        """
        self.spec = spec
        self.vitals = Vitals(spec.name)
        self._outbox = outbox
        self._numbers = numbers
        self._after = tuple(after)
        self._not_before_mono_ns = not_before_mono_ns
        self._source: Source = build_source(spec)
        self._session: Session | None = None
        self._painter = Painter(spec.privacy_masks)
        self._picture_painter = Painter(spec.privacy_masks)
        self._pace = LookPace(spec.look_interval_ms)
        self._bad_keyframes = 0
        self._good_mono_ns = 0
        self._busy_since_mono_ns: int | None = None
        self._quit = threading.Event()
        self._speaking = threading.Lock()
        self._backoff = Backoff()
        self._thread = threading.Thread(target=self.run, name=f"edgevlm[{spec.name}].capture", daemon=True)

    # --- called by the host's threads -----------------------------------------------------------------

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the packet or timeout that it waits for; it is silent from now on."""
        with self._speaking:
            self._quit.set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs, and with it maybe a connection."""
        return self._thread.is_alive()

    def wait_ended(self, timeout_secs: float) -> None:
        """Wait for the thread, but not longer than this."""
        self._thread.join(timeout_secs)

    def stuck(self, now_mono_ns: int) -> bool:
        """Return whether the thread has blocked beyond all timeouts: nothing but a kill will free it."""
        since = self._busy_since_mono_ns
        return since is not None and (now_mono_ns - since) / _NS > 2 * self._source.patience_secs + 5

    def report(self, now_mono_ns: int) -> None:
        """Tell the daemon how the camera is, once there is anything to tell; a stall shows here first."""
        self.vitals.notice_silence(now_mono_ns, live=self._source.live)
        session = self._session
        if session is not None or self.vitals.state != CameraState.STARTING:
            self._put(HealthReport(self.vitals.health(session.ring.size if session else 0)))

    # --- called by the host's picture thread ----------------------------------------------------------

    def picture(self, asked: AskPicture) -> Picture:
        """Return the frame that is asked for as JPEG.

        Raises:
            NoFrame: there is none.

        """
        session = self._opened_session()
        frame, shown = session.frame(asked.instant, asked.at_mono_ns, asked.tolerance_ms)
        source_width, source_height = frame.width, frame.height
        width, height, jpeg, crop = self._picture_painter.jpeg(
            frame, asked.max_side, asked.crop, asked.multiple_of
        )
        return Picture(self.spec.name, shown, width, height, jpeg, source_width, source_height, crop)

    # --- called by the host's clip thread -------------------------------------------------------------

    def cut(self, asked: AskClip) -> Cut:
        """Return the packets of the seconds that are asked for, and what shall become of them.

        Raises:
            NoFrame: the camera has shown nothing yet.

        """
        session = self._opened_session()
        return Cut(
            camera=self.spec.name,
            packets=session.ring.between(asked.from_mono_ns, asked.to_mono_ns),
            params=session.params,
            shot=asked.shot,
            from_mono_ns=asked.from_mono_ns,
            privacy_masks=self.spec.privacy_masks,
        )

    def _opened_session(self) -> Session:
        if (session := self._session) is not None:
            return session
        health = self.vitals.health()
        detail = f" ({health.detail})" if health.detail else ""
        raise NoFrame(self.spec.name, f"no frame: the camera is {health.state}{detail}")

    # --- the camera's own thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Capture until told to stop: one session after another."""
        pause_secs: float | None = self._first_pause_secs()
        while pause_secs is not None and not self._quit.wait(pause_secs):
            began_ns = time.monotonic_ns()
            pause_secs = self._session_and_pause()
            self._busy_since_mono_ns = None
            if time.monotonic_ns() - began_ns > _STEADY_NS:
                self._backoff.reset()

    def _first_pause_secs(self) -> float:
        """Wait for what was before; return how long the camera's lock-out still lasts."""
        for runner in self._after:
            while runner.alive and not self._quit.is_set():
                runner.wait_ended(0.1)
        self._after = ()
        pause_secs = (self._not_before_mono_ns - time.monotonic_ns()) / _NS
        if pause_secs > 0:
            self._say(CameraState.UNAUTHORIZED, "the camera refused the login; it is not tried again yet")
        return max(0.0, pause_secs)

    def _session_and_pause(self) -> float | None:
        """Run one session; return the pause before the next, or None when there will be none."""
        try:
            self.run_once()
        except SourceEnded as end:
            self._say(CameraState.OFFLINE, end.message)
            return None
        except CameraUnauthorized as refusal:
            self._say(CameraState.UNAUTHORIZED, refusal.message)
            return _LOCKED_OUT_SECS
        except CaptureError as trouble:
            self._say(CameraState.OFFLINE, trouble.message)
        except Exception as fault:  # noqa: BLE001 - a thread ends here: a fault of ours must not end the camera
            self._say(CameraState.OFFLINE, f"internal error: {type(fault).__name__} in {_where(fault)}")
        finally:
            self._source.close()
        return self._backoff.next_secs()

    def run_once(self) -> None:
        """Open the source and read it until it breaks, ends, or the camera is closed."""
        self._busy_since_mono_ns = time.monotonic_ns()
        params = self._source.open()
        session = Session(next(self._numbers), self.spec, params)
        self.vitals.begin_session(session.number, params)
        self._bad_keyframes, self._good_mono_ns = 0, time.monotonic_ns()
        self._session = session
        while not self._quit.is_set():
            self._busy_since_mono_ns = time.monotonic_ns()
            raw = self._source.read(self._quit)
            if raw is not None and not self._quit.is_set():
                self._take(raw, session)

    def _take(self, raw: RawPacket, session: Session) -> None:
        if session.is_rest(raw):
            self.vitals.count_rest(len(raw.data))
            session.keep_rest(raw)
            return
        now_ns = time.monotonic_ns()
        packet = session.place(raw, now_ns, time.time_ns())
        self.vitals.count_packet(packet, now_ns)
        if self.vitals.state == CameraState.STALLED:
            self._say(CameraState.ONLINE, "")
        keyframe = session.keep(packet)
        if keyframe is not None and self._pace.due(now_ns):
            self._look(keyframe, session, now_ns)
        elif session.ring.size == 0 and now_ns - self._good_mono_ns > _KEYFRAME_NS:
            self._say(CameraState.STARTING, "the stream has brought no keyframe yet")

    def _look(self, keyframe: Packet, session: Session, now_ns: int) -> None:
        try:
            frame = session.look_frame(keyframe)
        except NoFrame as trouble:
            self._count_bad_keyframe(trouble, now_ns)
            return
        self._bad_keyframes, self._good_mono_ns = 0, now_ns
        self._pace.taken(now_ns)
        width, height, luma = self._painter.look(frame, self.spec.look_width)
        self.vitals.count_look(frame.width, frame.height)
        self._say(CameraState.ONLINE, "")
        look = Look(self.spec.name, keyframe.instant, keyframe=True, width=width, height=height, luma=luma)
        self._put(LookTaken(look))

    def _count_bad_keyframe(self, trouble: NoFrame, now_ns: int) -> None:
        self.vitals.count_decode_error()
        self._bad_keyframes += 1
        if self._bad_keyframes >= _MAX_BAD_KEYFRAMES and now_ns - self._good_mono_ns > _BAD_FOR_NS:
            raise CameraUnreachable(self.spec.name, trouble.message)
        if self._bad_keyframes > 1 and self.vitals.state != CameraState.ONLINE:
            self._say(CameraState.STARTING, trouble.message)

    def _say(self, state: CameraState, detail: str) -> None:
        """Tell the daemon of a change of state; a repetition is not news."""
        if self.vitals.change(state, detail):
            self._put(HealthReport(self.vitals.health()))

    def _put(self, message: ToDaemon) -> None:
        with self._speaking:
            if not self._quit.is_set():
                self._outbox.put(message)


def _where(fault: BaseException) -> str:
    """Return `file:line` of the innermost frame; the message itself might hold a secret."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
