"""One unbroken connection of a source: its times, its ring, and the decoders of its stream.

The camera's thread puts packets in and decodes looks; the host's picture thread decodes pictures out of it.
Both hold the session itself, so that a reconnect in between never mixes two streams.
"""

from __future__ import annotations

from collections.abc import Sequence

from av.video.frame import VideoFrame

from edgevlm.capture.decoder import Decoder, StreamParams
from edgevlm.capture.ring import Packet, Ring
from edgevlm.capture.slices import continues
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import CameraSpec
from edgevlm.capture.timeline import Timeline
from edgevlm.errors import NoFrame
from edgevlm.records import Instant


class Session:
    """What is known and kept of one connection."""

    def __init__(self, number: int, spec: CameraSpec, params: StreamParams) -> None:
        self.number = number
        self.params = params
        self.ring = Ring(spec.ring_secs, spec.ring_bytes)
        self._camera = spec.name
        self._timeline = Timeline()
        self._look_decoder = Decoder(spec.name, params)
        self._picture_decoder = Decoder(spec.name, params)
        self._last_raw: RawPacket | None = None
        self._comes_in_parts = False
        self._whole_next: Packet | None = None

    # --- the camera's thread --------------------------------------------------------------------------

    def is_rest(self, raw: RawPacket) -> bool:
        """Return whether `raw` only continues the picture of the packet before it."""
        last, self._last_raw = self._last_raw, raw
        if last is None or not self.params.annex_b or not continues(self.params.codec, raw.data):
            return False
        return last.pts_ns is None or raw.pts_ns in (None, last.pts_ns)

    def place(self, raw: RawPacket, now_mono_ns: int, now_utc_ns: int) -> Packet:
        """Return `raw` with its times: where it stands in the stream, and when it was captured."""
        times = self._timeline.place(raw.pts_ns, raw.dts_ns, now_mono_ns)
        captured_at_ns = now_utc_ns - (now_mono_ns - times.captured_mono_ns)
        instant = Instant(self.number, times.pts_ns, captured_at_ns, times.captured_mono_ns)
        return Packet(raw.data, instant, times.dts_ns, raw.keyframe)

    def keep(self, packet: Packet) -> Packet | None:
        """Put a packet into the ring; return the keyframe that is whole now, if one is.

        Where pictures come in parts, a keyframe is whole only once the next picture has begun.
        """
        whole, self._whole_next = self._whole_next, None
        if self.ring.add(packet) and packet.keyframe:
            if not self._comes_in_parts:
                return packet
            self._whole_next = packet
        return whole

    def keep_rest(self, raw: RawPacket) -> None:
        """Put the rest of a picture where its beginning is."""
        self._comes_in_parts = self.ring.in_parts = True
        whole = self.ring.extend(raw.data)
        self._whole_next = whole if whole is not None and whole.keyframe else None

    def look_frame(self, keyframe: Packet) -> VideoFrame:
        """Decode a keyframe.

        Raises:
            NoFrame: it does not give a whole picture.

        """
        return self._look_decoder.frame([keyframe])

    # --- the picture thread ---------------------------------------------------------------------------

    def frame(
        self, instant: Instant | None, at_mono_ns: int | None = None, tolerance_ms: int = 0
    ) -> tuple[VideoFrame, Instant]:
        """Decode a frame and return it with its instant: the newest good one where nothing else is named.

        Args:
            instant: the very frame.
            at_mono_ns: the frame that was shown at this moment, as far as the ring reaches.
            tolerance_ms: a keyframe that is so much older than the newest frame will do.

        Raises:
            NoFrame: there is none.

        """
        packets = self._newest(at_mono_ns, tolerance_ms) if instant is None else self.ring.at(instant)
        if not packets:
            raise NoFrame(
                self._camera, "no frame yet" if instant is None else "the instant has left the ring"
            )
        frame = self._picture_decoder.frame(packets)
        shown = _instant_of(frame, packets)
        if instant is not None and shown != instant:
            raise NoFrame(self._camera, "the stream is damaged at the wanted instant")
        return frame, shown

    def _newest(self, at_mono_ns: int | None, tolerance_ms: int) -> list[Packet]:
        if at_mono_ns is not None:
            return self.ring.around(at_mono_ns)
        return self.ring.newest(tolerance_ms * 1_000_000)


def _instant_of(frame: VideoFrame, packets: Sequence[Packet]) -> Instant:
    """Return the instant of the packet that the frame came out of."""
    found = (packet.instant for packet in reversed(packets) if packet.instant.pts_ns == frame.pts)
    return next(found, packets[-1].instant)
