"""Tells whether a packet only continues the picture of the one before it.

FFmpeg's parser cuts a picture in two where a camera repeats its parameter sets before each slice (GStreamer's
RTSP server does). Half a keyframe decodes to a half grey picture, and the other half would begin a GOP.
"""

from __future__ import annotations

_START_CODE = b"\x00\x00\x01"
_H264_SLICES = (1, 2, 5)
_LAST_HEVC_SLICE = 31


def continues(codec: str, data: bytes) -> bool:
    """Return whether the first slice in these Annex B bytes is not the first one of its picture.

    H.264 (7.3.3) begins a slice with the number of its first macroblock, 0 being a single 1 bit; H.265
    (7.3.6.1) with a flag for the first slice of a picture.
    """
    at = data.find(_START_CODE)
    while at >= 0:
        unit = data[at + 3 : at + 6]
        if (first_bit := _slice_bit(codec, unit)) is not None:
            return not first_bit
        at = data.find(_START_CODE, at + 3)
    return False


def _slice_bit(codec: str, unit: bytes) -> bool | None:
    """Return the first bit of a slice's header; None where the unit is no slice."""
    if codec == "h264" and len(unit) >= 2 and unit[0] & 0x1F in _H264_SLICES:
        return bool(unit[1] & 0x80)
    if codec == "hevc" and len(unit) >= 3 and unit[0] >> 1 & 0x3F <= _LAST_HEVC_SLICE:
        return bool(unit[2] & 0x80)
    return None
