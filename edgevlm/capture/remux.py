"""Puts a stream's own packets into an MP4: nothing is decoded and nothing encoded.

FFmpeg's muxer needs a stream to copy codec and parameter sets from. The camera's own is not at hand (its
thread reads it, or the connection has gone), so one is made of the first keyframe by the raw demuxer.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import av
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from edgevlm.capture.annexb import Misshapen, length_size, parameter_sets, with_start_codes
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.movie import TICKS, Movie, clip_times, usual_step
from edgevlm.capture.ring import Packet

CODECS = ("h264", "hevc")
"""Those that an MP4 takes as they are; others are encoded anew."""
_APPLE_HEVC = "hvc1"
"""The tag by which all players know H.265; FFmpeg's own choice plays nowhere on Apple's."""
_PROBE_BYTES = 8_000_000


class CannotRemux(ValueError):
    """The packets do not make an MP4."""


def remux(packets: Sequence[Packet], params: StreamParams) -> tuple[int, int, bytes]:
    """Return `(width, height, MP4)` of packets in decode order that begin with a keyframe.

    Raises:
        CannotRemux: the codec or the bytes are not what an MP4 can hold.

    """
    if params.codec not in CODECS:
        raise CannotRemux(f"MP4 does not take {params.codec} as it is")
    try:
        return _remux(packets, params)
    except (av.FFmpegError, Misshapen, OSError) as error:
        raise CannotRemux(type(error).__name__) from None


def _remux(packets: Sequence[Packet], params: StreamParams) -> tuple[int, int, bytes]:
    units = _with_start_codes(packets, params)
    head = parameter_sets(params.codec, params.extradata or b"") + units[0]
    movie = Movie()
    options = {"probesize": str(_PROBE_BYTES)}
    with av.open(io.BytesIO(head), format=params.codec, options=options) as raw:
        model = raw.streams.video[0]
        width, height = model.width, model.height
        if not width or not height:
            raise CannotRemux("the first keyframe does not tell the size")
        with movie.container() as container:
            stream = container.add_stream_from_template(model)
            if params.codec == "hevc":
                stream.codec_context.codec_tag = _APPLE_HEVC
            _mux(container, stream, packets, units)
    return width, height, movie.mp4


def _with_start_codes(packets: Sequence[Packet], params: StreamParams) -> list[bytes]:
    if params.annex_b:
        return [packet.data for packet in packets]
    size = length_size(params.codec, params.extradata or b"")
    return [with_start_codes(packet.data, size) for packet in packets]


def _mux(
    container: OutputContainer, stream: VideoStream, packets: Sequence[Packet], units: Sequence[bytes]
) -> None:
    times = clip_times([packet.instant.pts_ns for packet in packets])
    last_shown = usual_step([pts for pts, _ in times])
    decoded = [dts for _, dts in times]
    steps = [later - earlier for earlier, later in pairwise(decoded)]
    for packet, unit, (pts, dts), step in zip(packets, units, times, [*steps, last_shown], strict=True):
        out: av.Packet[Stream] = av.Packet(len(unit))
        out.update(unit)
        out.pts, out.dts, out.duration = pts, dts, step
        out.time_base = Fraction(1, TICKS)  # after the times: setting it converts what is there
        out.is_keyframe, out.stream = packet.keyframe, stream
        container.mux_one(out)
