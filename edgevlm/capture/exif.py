"""How a still picture wants to be turned: the EXIF orientation out of JPEG, PNG, WebP and TIFF files.

Any bytes are taken; whatever is cut short or makes no sense has no orientation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_JPEG, _PNG, _TIFF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", (b"II*\x00", b"MM\x00*")
_EXIF = b"Exif\x00\x00"
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_ORIENTATION = 0x0112
_UPRIGHT = 1


def exif_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a picture file, 1 to 8; 1 where it has none."""
    try:
        return _tiff_orientation(_tiff(data))
    except struct.error:
        return _UPRIGHT


def is_cut_short(data: bytes) -> bool:
    """Return whether a JPEG lacks its end: decoders fill the rest with grey and call it a picture."""
    if not data.startswith(_JPEG):
        return False
    try:
        scan = next((at for marker, at, _ in _jpeg_segments(data) if marker == _START_OF_SCAN), None)
    except struct.error:
        return True
    return scan is None or data.find(b"\xff\xd9", scan) < 0


def _tiff(data: bytes) -> bytes:
    """Return the TIFF structure that holds the tags, wherever this kind of file keeps it."""
    if data.startswith(_JPEG):
        parts = (data[at:end] for marker, at, end in _jpeg_segments(data) if marker == _APP1)
        return next((part[len(_EXIF) :] for part in parts if part.startswith(_EXIF)), b"")
    if data.startswith(_PNG):
        return next((data[at:end] for name, at, end in _png_chunks(data) if name == b"eXIf"), b"")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        tags = next((data[at:end] for name, at, end in _riff_chunks(data) if name == b"EXIF"), b"")
        return tags.removeprefix(_EXIF)
    return data


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield `(marker, begin, end)` of each segment up to the first scan (ITU T.81, annex B)."""
    at, marker = 2, 0
    while marker != _START_OF_SCAN:
        escape, marker = struct.unpack_from(">BB", data, at)
        if escape != 0xFF:
            return
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, at + 2 + length
        at += 2 + max(2, length)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = len(_PNG)
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + 8 + length
        at += 12 + length


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while True:
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, at + 8 + length
        at += 8 + length + length % 2


def _tiff_orientation(tiff: bytes) -> int:
    """Read the tag from the first directory (TIFF 6.0, section 2)."""
    if not tiff.startswith(_TIFF):
        return _UPRIGHT
    order = "<" if tiff.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for index in range(entries):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * index)
        if tag == _ORIENTATION:
            return int(value) if 1 <= value <= 8 else _UPRIGHT
    return _UPRIGHT
