"""One camera's thread in a capture host: `run()` around `run_once()`, back-off between, for ever.

The thread reads packets into the ring and decodes a look at keyframes. Pictures are decoded by the host's
picture thread, out of the ring. Everything else that other threads see (state, figures) is written here
and only read there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from edgevlm.capture.decoder import Decoder, Painter
from edgevlm.capture.link import HealthReport, LookTaken
from edgevlm.capture.outbox import Outbox
from edgevlm.capture.ring import Packet, Ring
from edgevlm.capture.source import RawPacket, Source
from edgevlm.capture.sources import build_source
from edgevlm.capture.spec import CameraSpec
from edgevlm.capture.timeline import Timeline
from edgevlm.capture.vitals import Vitals
from edgevlm.errors import CameraUnauthorized, CaptureError, NoFrame, SourceEnded
from edgevlm.records import CameraState, Instant, Look, Picture
from edgevlm.runtime.backoff import Backoff

_LOCKED_OUT_SECS = 300.0
"""Pause after a refused login: many cameras lock a client out after a few wrong ones."""
_STEADY_NS = 30_000_000_000
"""A session that lasted this long was a success: the next pause is the shortest again."""


class CameraRunner:
    """Owns one camera's source, ring and thread."""

    def __init__(self, spec: CameraSpec, outbox: Outbox) -> None:
        self.spec = spec
        self._outbox = outbox
        self._source: Source = build_source(spec)
        self._ring = Ring(spec.ring_secs, spec.ring_bytes)
        self._painter = Painter(spec.privacy_masks)
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self.run, name=f"edgevlm[{spec.name}].capture", daemon=True)
        self._backoff = Backoff()
        self._picture_decoder: Decoder | None = None
        self._picture_painter = Painter(spec.privacy_masks)
        self._next_look_mono_ns = 0
        self._busy_since_mono_ns: int | None = None
        self.vitals = Vitals(spec.name)

    # --- called by the host's main thread -------------------------------------------------------------

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does so after the packet or the timeout that it waits for."""
        self._quit.set()

    def stuck(self, now_mono_ns: int) -> bool:
        """Return whether the thread has blocked beyond all timeouts: nothing but a kill will free it."""
        since = self._busy_since_mono_ns
        return since is not None and (now_mono_ns - since) / 1e9 > 2 * self._source.patience_secs + 5

    def report(self, now_mono_ns: int) -> None:
        """Tell the daemon how the camera is; a silence beyond the stall limit shows here first."""
        self.vitals.notice_silence(now_mono_ns, live=self._source.live)
        health = replace(self.vitals.health(), ring_bytes=self._ring.size)
        self._outbox.put(HealthReport(health))

    # --- called by the host's picture thread ----------------------------------------------------------

    def picture(self, instant: Instant | None, max_side: int) -> Picture:
        """Return the frame at `instant`, or the newest, as JPEG.

        Raises:
            NoFrame: there is none.

        """
        packets = self._ring.newest() if instant is None else self._ring.at(instant)
        decoder = self._picture_decoder
        if not packets or decoder is None:
            raise NoFrame(self.spec.name, self._why_no_frame(instant))
        frame = decoder.frame(packets)
        width, height, jpeg = self._picture_painter.jpeg(frame, max_side)
        return Picture(self.spec.name, packets[-1].instant, width, height, jpeg)

    def _why_no_frame(self, instant: Instant | None) -> str:
        if instant is not None and self._ring.size:
            return "the wanted instant has left the ring"
        health = self.vitals.health()
        return f"no frame: the camera is {health.state}" + (f" ({health.detail})" if health.detail else "")

    # --- the camera's own thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Capture until told to stop: one session after another."""
        while not self._quit.is_set():
            began_ns = time.monotonic_ns()
            pause_secs = self._session()
            if time.monotonic_ns() - began_ns > _STEADY_NS:
                self._backoff.reset()
            self._busy_since_mono_ns = None
            if pause_secs is None:
                return
            self._quit.wait(pause_secs)

    def _session(self) -> float | None:
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
        session = self.vitals.begin_session(params)
        self._ring.clear()
        self._picture_decoder = Decoder(self.spec.name, params)
        timeline, decoder = Timeline(), Decoder(self.spec.name, params)
        while not self._quit.is_set():
            self._busy_since_mono_ns = time.monotonic_ns()
            raw = self._source.read(self._quit)
            if raw is not None:
                self._take(raw, session, timeline, decoder)

    def _take(self, raw: RawPacket, session: int, timeline: Timeline, decoder: Decoder) -> None:
        now_ns, utc_ns = time.monotonic_ns(), time.time_ns()
        pts_ns, captured_ns = timeline.place(raw.pts_ns, raw.dts_ns, now_ns)
        instant = Instant(session, pts_ns, utc_ns - (now_ns - captured_ns), captured_ns)
        dts_ns = pts_ns if raw.dts_ns is None or raw.pts_ns is None else pts_ns - (raw.pts_ns - raw.dts_ns)
        packet = Packet(raw.data, instant, dts_ns, raw.keyframe)
        if self.vitals.count_packet(packet, now_ns):
            self._say(CameraState.ONLINE, "")
        if self._ring.add(packet) and raw.keyframe and now_ns >= self._next_look_mono_ns:
            self._next_look_mono_ns = now_ns + self.spec.look_interval_ms * 1_000_000
            self._look(packet, decoder)

    def _look(self, packet: Packet, decoder: Decoder) -> None:
        try:
            frame = decoder.frame([packet])
        except NoFrame:
            self.vitals.decode_errors += 1
            return
        self.vitals.count_look(frame.width, frame.height)
        width, height, luma = self._painter.look(frame, self.spec.look_width)
        look = Look(self.spec.name, packet.instant, keyframe=True, width=width, height=height, luma=luma)
        self._outbox.put(LookTaken(look))

    def _say(self, state: CameraState, detail: str) -> None:
        """Tell the daemon of a change of state; a repetition is not news."""
        if self.vitals.change(state, detail):
            self._outbox.put(HealthReport(self.vitals.health()))


def _where(fault: BaseException) -> str:
    """Return `file:line` of the innermost frame; the message itself might hold a secret."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
