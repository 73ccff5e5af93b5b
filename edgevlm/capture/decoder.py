"""From packets to a frame, and from a frame to a look or a JPEG picture; masks are burnt in on the way.

One thread a decoder: parallel slices blind FFmpeg's corruption flag, and many cameras share few cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from edgevlm.capture.mask import Mask, rasterise
from edgevlm.capture.ring import Packet
from edgevlm.capture.spec import Polygon
from edgevlm.errors import NoFrame

NS = Fraction(1, 1_000_000_000)
_MAX_PIXELS = 100_000_000
_JPEG_SCALE = 3
"""FFmpeg's quantiser scale, 2 (best) to 31; 3 is close to what others call quality 90."""
_BT709_FROM_HEIGHT = 720


@dataclass(frozen=True, slots=True)
class StreamParams:
    """What a decoder needs to know of a stream besides its packets."""

    codec: str
    extradata: bytes | None
    width: int
    height: int
    pixel_format: str | None
    fps: float | None = None


class Decoder:
    """Decodes single frames of one stream; used by one thread at a time."""

    def __init__(self, camera: str, params: StreamParams) -> None:
        self._camera = camera
        self._params = params
        self._context: VideoCodecContext | None = None

    def frame(self, packets: Sequence[Packet]) -> VideoFrame:
        """Return the frame of the last of `packets`, which begin with its keyframe.

        Raises:
            NoFrame: the packets give no picture.

        """
        if not packets:
            raise NoFrame(self._camera, "no frame yet")
        wanted = packets[-1].instant.pts_ns
        best: VideoFrame | None = None
        try:
            for frame in self._frames(packets):
                if frame.pts is None or frame.pts <= wanted:
                    best = frame
        except av.FFmpegError as error:
            self._context = None
            raise NoFrame(self._camera, f"the stream cannot be decoded: {error.strerror}") from None
        if best is None:
            raise NoFrame(self._camera, "the packets hold no picture")
        return best

    def _frames(self, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
        context = self._context or self._open()
        self._context = context
        for packet in packets:
            yield from context.decode(_av_packet(packet))
        yield from context.decode(None)
        context.flush_buffers()

    def _open(self) -> VideoCodecContext:
        context = cast("VideoCodecContext", av.CodecContext.create(self._params.codec, "r"))
        context.extradata = self._params.extradata
        context.thread_type = ThreadType.NONE
        context.thread_count = 1
        context.options = {"max_pixels": str(_MAX_PIXELS)}
        if self._params.codec == "rawvideo" and self._params.pixel_format:
            context.width, context.height = self._params.width, self._params.height
            context.pix_fmt = self._params.pixel_format
        return context


def _av_packet(packet: Packet) -> av.Packet[Stream]:
    out: av.Packet[Stream] = av.Packet(packet.data)
    out.pts, out.dts, out.time_base = packet.instant.pts_ns, packet.dts_ns, NS
    out.is_keyframe = packet.keyframe
    return out


class Painter:
    """Turns frames into looks and pictures, masks first; used by one thread at a time."""

    def __init__(self, privacy_masks: Sequence[Polygon]) -> None:
        self._polygons = tuple(privacy_masks)
        self._mask: Mask | None = None
        self._scaler = VideoReformatter()

    def look(self, frame: VideoFrame, width: int) -> tuple[int, int, bytes]:
        """Return `(width, height, luma)` of a look not wider than `width` pixels."""
        w, h = _fit(frame.width, frame.height, width / frame.width)
        small = self._scale(self._masked(frame), w, h, "yuv420p")
        return w, h, _pixels(small.planes[0], w).tobytes()

    def jpeg(self, frame: VideoFrame, max_side: int) -> tuple[int, int, bytes]:
        """Return `(width, height, JPEG)` with no side longer than `max_side` pixels."""
        w, h = _fit(frame.width, frame.height, max_side / max(frame.width, frame.height))
        picture = self._scale(self._masked(frame), w, h, "yuvj420p")
        return w, h, _encode_jpeg(picture)

    def _masked(self, frame: VideoFrame) -> VideoFrame:
        """Blacken the masked pixels at full size, so that no scaler mixes them into their neighbours."""
        if not self._polygons:
            return frame
        frame = frame.reformat(format="yuv420p")
        frame.make_writable()
        if self._mask is None or self._mask.shape != (frame.height, frame.width):
            self._mask = rasterise(self._polygons, frame.width, frame.height)
        _blacken(frame, self._mask)
        return frame

    def _scale(self, frame: VideoFrame, width: int, height: int, pixel_format: str) -> VideoFrame:
        """Scale with the area filter; JPEG is BT.601 at full range (JFIF), whatever the camera sends."""
        picture = pixel_format == "yuvj420p"
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=pixel_format,
            src_colorspace=_colorspace(frame) if picture else None,
            dst_colorspace=Colorspace.ITU601 if picture else None,
            dst_color_range=ColorRange.JPEG if picture else None,
            interpolation=Interpolation.AREA,
        )


def _fit(width: int, height: int, scale: float) -> tuple[int, int]:
    scale = min(1.0, scale)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _colorspace(frame: VideoFrame) -> int | None:
    """Return the frame's matrix; unmarked streams are BT.709 from 720 lines on, as players assume."""
    if frame.format.is_rgb:
        return None
    if frame.colorspace == Colorspace.ITU709:
        return int(Colorspace.ITU709)
    unmarked = frame.colorspace == 2  # AVCOL_SPC_UNSPECIFIED
    jpeg = frame.format.name.startswith("yuvj")
    return int(
        Colorspace.ITU709
        if unmarked and not jpeg and frame.height >= _BT709_FROM_HEIGHT
        else Colorspace.ITU601
    )


def _blacken(frame: VideoFrame, mask: Mask) -> None:
    coarse = _halve(mask)
    for plane, area, value in ((0, mask, 0), (1, coarse, 128), (2, coarse, 128)):
        _pixels(frame.planes[plane], area.shape[1])[: area.shape[0]][area] = value


def _pixels(plane: VideoPlane, width: int) -> NDArray[np.uint8]:
    """Return a view of the plane's own memory, without the padding at the end of each line."""
    view = np.frombuffer(memoryview(plane), dtype=np.uint8)
    rows: NDArray[np.uint8] = view.reshape(-1, plane.line_size)
    return rows[:, :width]


def _halve(mask: Mask) -> Mask:
    """Return the mask at chroma size: masked where any of its four luma pixels is."""
    height, width = mask.shape
    even = np.zeros((height + height % 2, width + width % 2), dtype=np.bool_)
    even[:height, :width] = mask
    return even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]


def _encode_jpeg(frame: VideoFrame) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = _JPEG_SCALE
    frame.pts = 0
    packets = encoder.encode(frame) + encoder.encode(None)
    return b"".join(bytes(packet) for packet in packets)
