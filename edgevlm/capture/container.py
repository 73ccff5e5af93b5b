"""What all FFmpeg demuxers share: opening with timeouts, packets copied out, errors translated.

Facts that shaped it (PyAV 18.1 and 19, FFmpeg 8.1): the open timeout counts anew for connecting and for
probing, and the read timeout fires after twice its value, hence the halves; a live stream that ends does so
without an exception; exceptions print the URL with its password, so only the error's own words are kept; an
option that FFmpeg does not know is silently ignored, hence the short fixed list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.errors import CameraUnauthorized, CameraUnreachable

_NS = 1_000_000_000
_INTRA_ONLY = frozenset(
    {"mjpeg", "rawvideo", "png", "webp", "bmp", "tiff", "gif", "jpeg2000", "prores", "dvvideo"}
)
_LENIENT: dict[str, Any] = {} if av.__version__ >= "19" else {"metadata_errors": "replace"}
"""PyAV 18 refuses a camera whose session name is not UTF-8; PyAV 19 takes any."""


@dataclass(slots=True)
class Container:
    """An open demuxer of one video stream."""

    camera: str
    url: str = field(repr=False)
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)
    open_words: Mapping[int, str] = field(default_factory=dict)
    """What an error number means when this kind of source is opened, where FFmpeg's own words mislead."""
    read_words: Mapping[int, str] = field(default_factory=dict)
    """The same for reading."""
    open_timeout_secs: float = 15.0
    read_timeout_secs: float = 10.0
    _container: InputContainer | None = None
    _packets: Iterator[av.Packet[VideoStream]] | None = None
    _tick_ns: tuple[int, int] = (1, 1)
    _intra_only: bool = False

    def open(self) -> StreamParams:
        """Connect and choose the first video stream."""
        try:
            self._container = av.open(
                self.url,
                mode="r",
                format=self.format,
                options=self.options,
                timeout=(self.open_timeout_secs / 2, self.read_timeout_secs / 2),
                **_LENIENT,
            )
            return self._choose(self._container)
        except (av.HTTPUnauthorizedError, av.HTTPForbiddenError):
            raise CameraUnauthorized(self.camera, "the camera refuses the user name or password") from None
        except (av.FFmpegError, OSError, ValueError) as error:
            why = reason(error, self.open_words)
            raise CameraUnreachable(self.camera, f"cannot open: {why}") from None

    def _choose(self, container: InputContainer) -> StreamParams:
        stream = next(iter(container.streams.video), None)
        context = stream.codec_context if stream else None
        if stream is None or context is None:
            raise CameraUnreachable(self.camera, "no video stream that can be decoded")
        base = stream.time_base
        self._tick_ns = (base.numerator * _NS, base.denominator) if base else (1, 1)
        self._packets = container.demux(stream)
        self._intra_only = context.name in _INTRA_ONLY
        return StreamParams(
            codec=context.name,
            extradata=context.extradata,
            width=context.width,
            height=context.height,
            pixel_format=context.pix_fmt,
        )

    def next(self) -> RawPacket | None:
        """Return the next packet; None at the end of the stream.

        Raises:
            CameraUnreachable: the connection broke or fell silent.

        """
        if self._packets is None:
            return None
        try:
            for packet in self._packets:
                if packet.size:
                    return self._raw(packet)
        except (av.FFmpegError, OSError) as error:
            why = reason(error, self.read_words)
            raise CameraUnreachable(self.camera, f"the stream broke off: {why}") from None
        return None

    def _raw(self, packet: av.Packet[VideoStream]) -> RawPacket:
        return RawPacket(
            data=bytes(packet),
            pts_ns=self._nanoseconds(packet.pts),
            dts_ns=self._nanoseconds(packet.dts),
            keyframe=packet.is_keyframe or self._intra_only,
        )

    def _nanoseconds(self, ticks: int | None) -> int | None:
        tick_ns, parts = self._tick_ns
        return None if ticks is None else ticks * tick_ns // parts

    def close(self) -> None:
        """Close the demuxer; without this PyAV leaks threads and memory."""
        self._packets = None
        container, self._container = self._container, None
        if container is not None:
            container.close()


def reason(error: Exception, words: Mapping[int, str] = MappingProxyType({})) -> str:
    """Return better words or the error's own, without the URL that FFmpeg's exceptions carry."""
    if isinstance(error, av.error.ExitError):
        return "no data in time"
    own = getattr(error, "strerror", None) or type(error).__name__
    return words.get(getattr(error, "errno", None) or 0, str(own))
