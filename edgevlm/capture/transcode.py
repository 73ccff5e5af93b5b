"""Encodes a clip anew as H.264: with the masks, the crop, the size, the rate and the bytes that are wanted.

Frames go through one at a time, so that a clip takes no more memory than a picture does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from edgevlm.capture.decoder import Decoder, StreamParams
from edgevlm.capture.movie import MAX_LONG_SIDE, MAX_SHORT_SIDE, TICKS, Movie, usual_step
from edgevlm.capture.painter import Painter
from edgevlm.capture.ring import Packet
from edgevlm.capture.spec import Polygon
from edgevlm.errors import NoFrame
from edgevlm.records import ClipShot, Instant

_X264 = {"preset": "veryfast", "crf": "23"}
_MAX_BITS_PER_SEC = 8_000_000
_SAFETY = 0.8
"""Of the bytes that are allowed: x264 holds its rate on average only, and the container takes some."""
_MIN_BITS_PER_SEC = 100_000
_KEYFRAME_SECS = 2


@dataclass(frozen=True, slots=True)
class Made:
    """An encoded clip and the instants of its frames."""

    width: int
    height: int
    mp4: bytes
    instants: tuple[Instant, ...]


class Transcoder:
    """Makes one clip; used once."""

    def __init__(
        self, camera: str, params: StreamParams, shot: ClipShot, privacy_masks: Sequence[Polygon]
    ) -> None:
        self._camera = camera
        self._shot = shot
        self._decoder = Decoder(camera, params)
        self._painter = Painter(privacy_masks)

    def transcode(self, packets: Sequence[Packet], from_mono_ns: int, given_up: Callable[[], bool]) -> Made:
        """Return what `packets` show from a moment on.

        Raises:
            NoFrame: they give no picture, or nobody waits any more.

        """
        wanted = chosen([packet.instant for packet in packets], from_mono_ns, self._shot.fps)
        frames = self._frames(packets, {instant.pts_ns: instant for instant in wanted}, given_up)
        try:
            return self._encode(frames, wanted)
        except av.FFmpegError as error:
            raise NoFrame(self._camera, f"the clip cannot be encoded: {type(error).__name__}") from None

    def _frames(
        self, packets: Sequence[Packet], wanted: dict[int, Instant], given_up: Callable[[], bool]
    ) -> Iterator[tuple[VideoFrame, Instant]]:
        """Yield the frames at the wanted instants, in the order in which they are shown."""
        last_ns = -1
        for frame in self._decoder.run(packets):
            if given_up():
                raise NoFrame(self._camera, "the clip took too long")
            if frame.pts in wanted and frame.pts > last_ns:
                last_ns = frame.pts
                yield frame, wanted[frame.pts]

    def _encode(self, frames: Iterator[tuple[VideoFrame, Instant]], wanted: Sequence[Instant]) -> Made:
        movie, instants = Movie(), list[Instant]()
        with movie.container() as container:
            track = _Track(container, _rate(wanted), _bits_per_sec(wanted, self._shot.max_bytes))
            for frame, instant in frames:
                bounds = min(MAX_LONG_SIDE, self._shot.max_side or MAX_LONG_SIDE), MAX_SHORT_SIDE
                picture = self._painter.video(frame, bounds, crop=self._shot.crop, size=track.size)
                track.add(picture, instant.pts_ns)
                instants.append(instant)
            track.end()
        if track.size is None:
            raise NoFrame(self._camera, "the stream cannot be decoded")
        return Made(*track.size, movie.mp4, tuple(instants))


class _Track:
    """The clip's one stream; it begins with the first frame, which tells the size of all."""

    def __init__(self, container: OutputContainer, fps: Fraction, bits_per_sec: int) -> None:
        self.size: tuple[int, int] | None = None
        self._container = container
        self._fps = fps
        self._bits_per_sec = bits_per_sec
        self._stream: VideoStream | None = None
        self._first_ns = 0
        self._last_tick = -1

    def add(self, picture: VideoFrame, pts_ns: int) -> None:
        """Encode the next frame."""
        if self._stream is None:
            self._stream = self._begin(picture.width, picture.height)
            self._first_ns = pts_ns
        tick = round((pts_ns - self._first_ns) * TICKS / 1_000_000_000)
        self._last_tick = max(self._last_tick + 1, tick)
        picture.pts, picture.time_base = self._last_tick, Fraction(1, TICKS)
        picture.duration = round(TICKS / self._fps)
        picture.pict_type = PictureType.NONE  # the encoder, not the camera, says which is a keyframe
        self._container.mux(self._stream.encode(picture))

    def end(self) -> None:
        """Encode what the encoder has kept back."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _begin(self, width: int, height: int) -> VideoStream:
        limit = str(self._bits_per_sec)
        options = {**_X264, "maxrate": limit, "bufsize": limit}
        stream = self._container.add_stream("libx264", rate=self._fps, options=options)
        stream.width, stream.height = self.size = width, height
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.gop_size = max(1, round(self._fps * _KEYFRAME_SECS))
        context.max_b_frames = 0
        context.thread_count, context.thread_type = 1, ThreadType.NONE
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        return stream


def chosen(instants: Sequence[Instant], from_mono_ns: int, fps: float | None) -> list[Instant]:
    """Return the instants to show, in order: from that moment on, and not more a second than `fps`.

    The first is the one that was shown at that moment, where there is one.
    """
    shown = sorted(instants, key=lambda instant: instant.pts_ns)
    begin = max((i for i, instant in enumerate(shown) if instant.captured_mono_ns <= from_mono_ns), default=0)
    shown = shown[begin:]
    if fps is None or not shown:
        return shown
    half_ns = usual_step([instant.pts_ns for instant in shown], 10**9) // 2
    kept: dict[int, Instant] = {}
    for instant in shown:
        kept.setdefault(int((instant.pts_ns - shown[0].pts_ns + half_ns) * fps / 1e9), instant)
    return list(kept.values())


def _rate(shown: Sequence[Instant]) -> Fraction:
    step_ns = usual_step([instant.pts_ns for instant in shown], 1_000_000_000)
    return Fraction(1_000_000_000, step_ns).limit_denominator(1001)


def _bits_per_sec(shown: Sequence[Instant], max_bytes: int) -> int:
    secs = max(1.0, (shown[-1].pts_ns - shown[0].pts_ns) / 1e9)
    return max(_MIN_BITS_PER_SEC, min(_MAX_BITS_PER_SEC, int(max_bytes * 8 * _SAFETY / secs)))
