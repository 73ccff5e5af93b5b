"""From the form that MP4 keeps H.264 and H.265 in to the form with start codes, which every muxer takes.

MP4 puts the parameter sets into a record beside the stream (ISO/IEC 14496-15: avcC 5.3.3, hvcC 8.3.3) and a
length before each unit; over RTP and in raw streams each unit has a start code, parameter sets included.
"""

from __future__ import annotations

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x00\x01"
_HVCC_ARRAYS_AT = 22
_AVCC_SETS_AT = 5
_LENGTH_SIZE_AT = {"h264": 4, "hevc": 21}


class Misshapen(ValueError):
    """Bytes that do not follow their own lengths."""


def parameter_sets(codec: str, record: bytes) -> bytes:
    """Return the parameter sets of an avcC or hvcC record with start codes; of other extradata itself.

    Raises:
        Misshapen: the record ends before it should.

    """
    if not record.startswith(b"\x01"):
        return record
    sets = _avcc_sets(record) if codec == "h264" else _hvcc_sets(record)
    return b"".join(_START_CODE + unit for unit in sets)


def length_size(codec: str, record: bytes) -> int:
    """Return how many bytes stand before each unit of a stream with this record.

    Raises:
        Misshapen: the record ends before it says.

    """
    return _number(record, _LENGTH_SIZE_AT[codec], 1)[0] % 4 + 1


def with_start_codes(data: bytes, size: int) -> bytes:
    """Return a packet with a start code before each unit, in place of `size` bytes of length.

    Raises:
        Misshapen: a length reaches beyond the packet.

    """
    out, at = [], 0
    while at < len(data):
        unit, at = _unit(data, at, size)
        out += [_START_CODE, unit]
    return b"".join(out)


def _avcc_sets(record: bytes) -> Iterator[bytes]:
    at = _AVCC_SETS_AT
    for mask in (0x1F, 0xFF):  # sequence parameter sets, then picture parameter sets
        count, at = _number(record, at, 1)
        for _ in range(count & mask):
            unit, at = _unit(record, at, 2)
            yield unit


def _hvcc_sets(record: bytes) -> Iterator[bytes]:
    arrays, at = _number(record, _HVCC_ARRAYS_AT, 1)
    for _ in range(arrays):
        count, at = _number(record, at + 1, 2)
        for _ in range(count):
            unit, at = _unit(record, at, 2)
            yield unit


def _unit(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    count, at = _number(data, at, size)
    if at + count > len(data):
        raise Misshapen("a unit ends beyond its packet")
    return data[at : at + count], at + count


def _number(data: bytes, at: int, size: int) -> tuple[int, int]:
    if at + size > len(data):
        raise Misshapen("a length is missing")
    return int.from_bytes(data[at : at + size], "big"), at + size
