"""The last seconds of a stream as one MP4: the camera's own packets where they will do, else encoded anew.

They will do when nothing has to be changed in the picture (privacy masks, a crop) and when whoever gets the
clip can take them. There is never any sound: only video is in the ring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.movie import MAX_LONG_SIDE, MAX_SHORT_SIDE, usual_step
from edgevlm.capture.remux import CODECS, CannotRemux, remux
from edgevlm.capture.ring import Packet
from edgevlm.capture.spec import Polygon
from edgevlm.capture.transcode import Transcoder
from edgevlm.errors import NoFrame
from edgevlm.records import Clip, ClipShot, Instant

_MAX_LEAD_NS = 2_500_000_000
"""How much earlier than asked a clip for a model may begin: a GOP of 2 s, and a little."""
_FPS_TOLERANCE = 1.05
_MODEL_CODEC = "h264"
_MAX_REORDERED = 16
"""Frames that a stream may hold back: H.264 and H.265 allow no more."""
_HEAD_BYTES, _INDEX_BYTES = 1500, 32
"""What MP4 adds: once, and for each frame."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut out of a ring, in decode order, and what shall become of it."""

    camera: str
    packets: Sequence[Packet]
    params: StreamParams
    shot: ClipShot
    from_mono_ns: int
    privacy_masks: tuple[Polygon, ...] = ()


def make_clip(cut: Cut, given_up: Callable[[], bool]) -> Clip:
    """Return the clip, in whichever way it can be had; see `as_it_came` and `encoded`."""
    return as_it_came(cut) or encoded(cut, given_up)


def as_it_came(cut: Cut) -> Clip | None:
    """Return the clip out of the camera's own packets, in milliseconds; None where they will not do.

    Raises:
        NoFrame: nothing of that time is here, or it is too large.

    """
    if not cut.packets:
        raise NoFrame(cut.camera, "nothing of that time is in the ring")
    packets = without_loose_end(cut.packets)
    if not cut.shot.asked:
        packets = newest_within(packets, cut.shot.max_bytes)
    try:
        return _remuxed(cut, packets) if will_do(cut, packets) else None
    except CannotRemux:  # what the muxer cannot read may still be decoded
        return None


def encoded(cut: Cut, given_up: Callable[[], bool]) -> Clip:
    """Return the clip encoded anew; `given_up` tells meanwhile that nobody waits for it any more.

    Raises:
        NoFrame: it cannot be decoded, it is too large, or it was given up.

    """
    transcoder = Transcoder(cut.camera, cut.params, cut.shot, cut.privacy_masks)
    made = transcoder.transcode(cut.packets, cut.from_mono_ns, given_up)
    return _clip(cut, made.instants, (made.width, made.height), made.mp4, codec=None)


def will_do(cut: Cut, packets: Sequence[Packet]) -> bool:
    """Return whether the packets may be handed over as they are."""
    if cut.privacy_masks or cut.shot.crop is not None or cut.params.codec not in CODECS:
        return False
    if _size(packets) > cut.shot.max_bytes:
        return False
    return not cut.shot.asked or _suits_a_model(cut, packets)


def _suits_a_model(cut: Cut, packets: Sequence[Packet]) -> bool:
    shot, params = cut.shot, cut.params
    short_side, long_side = sorted((params.width, params.height))
    return (
        params.codec == _MODEL_CODEC
        and 0 < short_side <= MAX_SHORT_SIDE
        and long_side <= min(MAX_LONG_SIDE, shot.max_side or MAX_LONG_SIDE)
        and (shot.fps is None or _frames_per_sec(packets) <= shot.fps * _FPS_TOLERANCE)
        and cut.from_mono_ns - packets[0].instant.captured_mono_ns <= _MAX_LEAD_NS
    )


def without_loose_end(packets: Sequence[Packet]) -> Sequence[Packet]:
    """Leave out the last packets where frames that are shown between them have not come yet.

    With B-frames the later picture comes first. Whatever is still to come is decoded after the last packet,
    and so shown after that moment: a gap beyond it is one that would have been filled.
    """
    step_ns = usual_step([packet.dts_ns for packet in packets], 10**9)
    for _ in range(_MAX_REORDERED):
        shown = sorted(packet.instant.pts_ns for packet in packets)
        gaps = (later for earlier, later in pairwise(shown) if later - earlier > 1.5 * step_ns)
        if not any(later > packets[-1].dts_ns for later in gaps):
            break
        packets = packets[:-1]
    return packets


def newest_within(packets: Sequence[Packet], max_bytes: int) -> Sequence[Packet]:
    """Leave out the oldest GOPs until the rest is not larger than `max_bytes`; the newest always stays."""
    starts = [index for index, packet in enumerate(packets) if packet.keyframe]
    return next((packets[at:] for at in starts if _size(packets[at:]) <= max_bytes), packets[starts[-1] :])


def _remuxed(cut: Cut, packets: Sequence[Packet]) -> Clip:
    width, height, mp4 = remux(packets, cut.params)
    instants = sorted((packet.instant for packet in packets), key=lambda instant: instant.pts_ns)
    return _clip(cut, instants, (width, height), mp4, codec=cut.params.codec)


def _clip(cut: Cut, shown: Sequence[Instant], size: tuple[int, int], mp4: bytes, codec: str | None) -> Clip:
    """Return the record; `codec` is the camera's own, None where it was encoded here."""
    if len(mp4) > cut.shot.max_bytes:
        raise NoFrame(
            cut.camera, f"the clip has {len(mp4)} bytes, more than the {cut.shot.max_bytes} allowed"
        )
    return Clip(
        camera=cut.camera,
        captured_from_ns=shown[0].captured_at_ns,
        captured_to_ns=shown[-1].captured_at_ns,
        width=size[0],
        height=size[1],
        frames=len(shown),
        codec=codec or _MODEL_CODEC,
        remuxed=codec is not None,
        mp4=mp4,
    )


def _size(packets: Sequence[Packet]) -> int:
    """Return about how large an MP4 they make."""
    return sum(len(packet.data) + _INDEX_BYTES for packet in packets) + _HEAD_BYTES


def _frames_per_sec(packets: Sequence[Packet]) -> float:
    return 1e9 / usual_step([packet.instant.pts_ns for packet in packets], 10**9)
