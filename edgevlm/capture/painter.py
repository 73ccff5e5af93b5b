"""From a frame to a look or a JPEG picture; privacy masks are burnt in on the way, before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from edgevlm.capture.mask import Mask, rasterise
from edgevlm.capture.spec import Polygon
from edgevlm.records import Box

_JPEG_SCALE = 2
"""FFmpeg's quantiser scale, 1 (best) to 31; 2 is close to what others call quality 87 (46 dB at 720p)."""
_BT709_FROM_HEIGHT = 720
_LEAST_SIDE = 16
"""A crop is never smaller than this, in pixels: no model can see less."""
_UNMARKED = 2  # AVCOL_SPC_UNSPECIFIED
_LUMA_AND_HALF_CHROMA = ("yuv420p", "yuvj420p")
"""Forms that can be masked as they are."""
_RAW = ("yuyv422", "uyvy422")


class Painter:
    """Turns frames into looks and pictures; used by one thread at a time."""

    def __init__(self, privacy_masks: Sequence[Polygon]) -> None:
        self._polygons = tuple(privacy_masks)
        self._mask: Mask | None = None
        self._scaler = VideoReformatter()
        self._converter = VideoReformatter()

    def look(self, frame: VideoFrame, width: int) -> tuple[int, int, bytes]:
        """Return `(width, height, luma)` of a look not wider than `width` pixels."""
        w, h = _fit(frame.width, frame.height, width / frame.width)
        small = self._scaler.reformat(
            self._masked(frame),
            width=w,
            height=h,
            format="yuv420p",
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return w, h, _pixels(small.planes[0], w)[:h].tobytes()

    def jpeg(
        self, frame: VideoFrame, max_side: int, crop: Box | None = None, multiple_of: int = 1
    ) -> tuple[int, int, bytes, Box | None]:
        """Return `(width, height, JPEG, shown)` with no side longer than `max_side` pixels.

        A model that would scale the picture to its own grid gets sides that are multiples of that.
        `shown` is the part of the frame that the picture shows: `crop`, moved to whole pixels.
        """
        frame, shown = self._masked(frame), None
        if crop is not None:
            frame, shown = self._cut(frame, crop)
        w, h = _fit(frame.width, frame.height, max_side / max(frame.width, frame.height))
        w, h = _snapped(w, multiple_of), _snapped(h, multiple_of)
        return w, h, _encode_jpeg(_for_jpeg(self._scaler, frame, w, h)), shown

    def video(
        self,
        frame: VideoFrame,
        bounds: tuple[int, int],
        *,
        crop: Box | None = None,
        size: tuple[int, int] | None = None,
    ) -> VideoFrame:
        """Return the frame as H.264 wants it: sides even, the longer and the shorter one within `bounds`.

        With `size` it gets that size, whatever its own: a clip has one.
        """
        frame = self._masked(frame)
        if crop is not None:
            frame, _ = self._cut(frame, crop)
        width, height = size or _fit_even(frame.width, frame.height, bounds)
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="yuv420p",
            src_colorspace=_colorspace(frame),
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA,
            threads=1,
        )

    def _cut(self, frame: VideoFrame, crop: Box) -> tuple[VideoFrame, Box]:
        """Return the part of the frame inside `crop`, on even pixels because chroma has half of them."""
        if frame.format.name not in _LUMA_AND_HALF_CHROMA:
            frame = _for_jpeg(self._converter, frame, frame.width, frame.height)
        left, right = _even_span(crop[0], crop[2], frame.width)
        top, bottom = _even_span(crop[1], crop[3], frame.height)
        part = VideoFrame(right - left, bottom - top, frame.format.name)
        part.colorspace, part.color_range = _colorspace(frame) or frame.colorspace, frame.color_range
        for number, step in ((0, 1), (1, 2), (2, 2)):
            columns, rows = slice(left // step, right // step), slice(top // step, bottom // step)
            source = _pixels(frame.planes[number], right // step)[rows, columns]
            target = _pixels(part.planes[number], source.shape[1])
            target[: source.shape[0]] = source
        shown = (left / frame.width, top / frame.height, right / frame.width, bottom / frame.height)
        return part, shown

    def _masked(self, frame: VideoFrame) -> VideoFrame:
        """Blacken the masked pixels at full size, so that no scaler mixes them into their neighbours."""
        if not self._polygons:
            return frame
        if frame.format.name not in _LUMA_AND_HALF_CHROMA:
            frame = _for_jpeg(self._converter, frame, frame.width, frame.height)
        frame.make_writable()
        if self._mask is None or self._mask.shape != (frame.height, frame.width):
            self._mask = rasterise(self._polygons, frame.width, frame.height)
        _blacken(frame, self._mask)
        return frame


def _even_span(first: float, last: float, pixels: int) -> tuple[int, int]:
    """Return where a span of fractions begins and ends in pixels: even, inside, not too small."""
    usable = pixels - pixels % 2
    begin = min(max(0, int(first * pixels) // 2 * 2), usable)
    end = min(usable, -(-int(last * pixels + 0.999) // 2) * 2)
    least = min(usable, _LEAST_SIDE)
    if end - begin < least:
        begin = max(0, min(begin, usable - least))
        end = begin + least
    return begin, end


def _fit(width: int, height: int, scale: float) -> tuple[int, int]:
    scale = min(1.0, scale)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _snapped(side: int, multiple_of: int) -> int:
    """Return the largest multiple that is not longer than `side`; a side shorter than one stays."""
    return side - side % multiple_of if side >= multiple_of else side


def _fit_even(width: int, height: int, bounds: tuple[int, int]) -> tuple[int, int]:
    short_side, long_side = sorted((width, height))
    scale = min(1.0, bounds[0] / long_side, bounds[1] / short_side)
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _for_jpeg(scaler: VideoReformatter, frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """Scale with the area filter; JPEG is BT.601 at full range (JFIF), whatever the camera sends."""
    return scaler.reformat(
        frame,
        width=width,
        height=height,
        format="yuvj420p",
        src_colorspace=_colorspace(frame),
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.AREA,
        threads=1,
    )


def _colorspace(frame: VideoFrame) -> int | None:
    """Return the frame's matrix; unmarked streams are BT.709 from 720 lines on, as players assume.

    Motion JPEG is marked by its decoder, and what USB cameras send raw is BT.601 (UVC 1.5, 3.9.2.6).
    """
    if frame.format.is_rgb:
        return None
    if frame.colorspace == Colorspace.ITU709:
        return int(Colorspace.ITU709)
    coded_and_unmarked = frame.colorspace == _UNMARKED and frame.format.name not in _RAW
    high = coded_and_unmarked and frame.height >= _BT709_FROM_HEIGHT
    return int(Colorspace.ITU709 if high else Colorspace.ITU601)


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
