"""From packets to a frame.

One thread a decoder: parallel slices blind FFmpeg's corruption flag, and many cameras share few cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.codec.context import ThreadType
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edgevlm.capture.ring import Packet
from edgevlm.errors import NoFrame

NS = Fraction(1, 1_000_000_000)
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class StreamParams:
    """What a decoder needs to know of a stream besides its packets."""

    codec: str
    extradata: bytes | None
    width: int
    height: int
    pixel_format: str | None

    @property
    def annex_b(self) -> bool:
        """Whether H.264 and H.265 come with start codes, as over RTP, and not as in MP4."""
        return not (self.extradata or b"").startswith(b"\x01")


class Decoder:
    """Decodes single frames of one stream; used by one thread at a time."""

    def __init__(self, camera: str, params: StreamParams) -> None:
        self._camera = camera
        self._params = params
        self._context: VideoCodecContext | None = None

    def frame(self, packets: Sequence[Packet]) -> VideoFrame:
        """Return the frame of the last of `packets`, which begin with its keyframe.

        When that one cannot be had, the last good one before it is returned: look at its `pts`. Whatever
        comes after a fault in the stream is not good: it is built upon the fault.

        Raises:
            NoFrame: the packets give no picture.

        """
        if not packets:
            raise NoFrame(self._camera, "no frame yet")
        wanted_ns = packets[-1].instant.pts_ns
        best, exact = cast("VideoFrame | None", None), False
        for frame in self._good_frames(packets):
            if frame.pts == wanted_ns:  # streams that lie about PTS may bring others after it
                best, exact = frame, True
            elif not exact and (frame.pts is None or frame.pts < wanted_ns):
                best = frame
        if best is None:
            raise NoFrame(self._camera, "the stream cannot be decoded")
        return best

    def run(self, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
        """Yield the good frames of `packets`, in the order in which they are shown; a decoder does it once.

        After a fault in the stream the next good one is that of a keyframe.
        """
        good = True
        for frame in self._run(packets):
            good = not frame.is_corrupt and (good or bool(frame.key_frame))
            if good:
                yield frame

    def _run(self, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
        """Yield what the decoder gives; what it refuses is left out up to the next keyframe."""
        for packet in (*packets, None):
            if self._context is None and packet is not None and packet.keyframe:
                self._context = self._open()
            if self._context is None:
                continue
            try:
                yield from self._context.decode(None if packet is None else _av_packet(packet))
            except av.FFmpegError:
                self._context = None

    def _good_frames(self, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
        good = True
        for frame in self._frames(packets):
            good = good and not frame.is_corrupt
            if good:
                yield frame

    def _frames(self, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
        """Yield what the decoder gives, up to the first packet that it refuses."""
        context = self._context or self._open()
        self._context = context
        try:
            for packet in packets:
                yield from context.decode(_av_packet(packet))
            yield from context.decode(None)
            context.flush_buffers()
        except av.FFmpegError:
            self._context = None

    def _open(self) -> VideoCodecContext:
        context = cast("VideoCodecContext", av.CodecContext.create(self._params.codec, "r"))
        context.extradata = self._params.extradata
        context.thread_type = ThreadType.NONE
        context.thread_count = 1
        context.options = {"max_pixels": str(_MAX_PIXELS)}
        if self._params.width and self._params.height:  # some codecs do not tell in their packets
            context.width, context.height = self._params.width, self._params.height
        if self._params.codec == "rawvideo" and self._params.pixel_format:
            context.pix_fmt = self._params.pixel_format
        return context


def _av_packet(packet: Packet) -> av.Packet[Stream]:
    """Copy into memory of FFmpeg: decoders read beyond the end, and Python has no padding there."""
    out: av.Packet[Stream] = av.Packet(len(packet.data))
    out.update(packet.data)
    out.pts, out.dts, out.time_base = packet.instant.pts_ns, packet.dts_ns, NS
    out.is_keyframe = packet.keyframe
    return out
