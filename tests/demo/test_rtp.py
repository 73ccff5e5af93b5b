"""What the packetiser puts on the wire is what was fed, for any size of NAL unit."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.demo.rtp import AccessUnit, RtpSender, interleaved, payloads, split_annex_b
from tests.servers.rtsp_client import join_payloads, parse_packet

HEADERS = st.sampled_from([0x06, 0x41, 0x61, 0x65, 0x67, 0x68])
NALS = st.builds(lambda header, body: bytes([header]) + body + b"\x80", HEADERS, st.binary(max_size=300))


def nal_of(size: int) -> bytes:
    return bytes([0x65]) + bytes(1 + i % 255 for i in range(size - 1))


@given(nal=NALS, max_bytes=st.integers(min_value=3, max_value=400))
def test_payloads_join_to_the_same_unit(nal: bytes, max_bytes: int) -> None:
    parts = payloads(nal, max_bytes)
    assert max(map(len, parts)) <= max_bytes
    assert join_payloads(parts) == [nal]


@given(size=st.integers(min_value=1, max_value=1400 * 4))
def test_every_size_survives_the_usual_packet_size(size: int) -> None:
    assert join_payloads(payloads(nal_of(size))) == [nal_of(size)]


@given(nals=st.lists(NALS, min_size=1, max_size=6))
def test_an_access_unit_is_numbered_marked_and_whole(nals: list[bytes]) -> None:
    sender = RtpSender()
    packets = [parse_packet(packet) for packet in sender.packets(AccessUnit(tuple(nals), 4711))]
    packets += [parse_packet(packet) for packet in sender.packets(AccessUnit((b"\x41\x80",), 8311))]
    numbers = [(packet.sequence - packets[0].sequence) & 0xFFFF for packet in packets]
    assert numbers == list(range(len(packets)))
    assert [packet.marker for packet in packets] == [False] * (len(packets) - 2) + [True, True]
    assert join_payloads(packet.payload for packet in packets[:-1]) == nals
    assert {packet.timestamp for packet in packets[:-1]} == {4711}


@given(nals=st.lists(st.binary(min_size=1, max_size=40), max_size=6), long_code=st.booleans())
def test_annex_b_is_split_at_start_codes(nals: list[bytes], long_code: bool) -> None:
    # Emulation prevention keeps 0, 0, 0..3 out of real units, and none ends with a zero.
    whole = tuple(nal.replace(b"\0", b"\x03") for nal in nals)
    code = b"\0\0\0\1" if long_code else b"\0\0\1"
    assert split_annex_b(b"".join(code + nal for nal in whole)) == whole


def test_timestamps_wrap_at_32_bits() -> None:
    packet = RtpSender().packets(AccessUnit((b"\x65\x80",), (1 << 32) + 90))[0]
    assert parse_packet(packet).timestamp == 90


def test_only_an_idr_is_a_keyframe() -> None:
    assert AccessUnit((b"\x67", b"\x68", b"\x65"), 0).keyframe
    assert not AccessUnit((b"\x67", b"\x68", b"\x41"), 0).keyframe


def test_a_report_ties_the_timestamp_to_utc_and_counts() -> None:
    sender = RtpSender("somebody@somewhere")
    packets = sender.packets(AccessUnit((nal_of(3000),), 0))
    report = sender.report((1 << 32) + 5, 1_767_225_600_250_000_000)
    version, kind, words, ssrc, secs, part, timestamp, sent, octets = struct.unpack(">BBHI5I", report[:28])
    assert (version, kind, words) == (0x80, 200, 6)
    assert ssrc == parse_packet(packets[0]).ssrc
    assert secs - 2_208_988_800 == 1_767_225_600
    assert part == 1 << 30  # a quarter of 2^32
    assert timestamp == 5
    assert sent == len(packets)
    assert octets == sum(len(packet) - 12 for packet in packets)
    version, kind, words, source, item, length = struct.unpack(">BBHIBB", report[28:38])
    assert (version, kind, source, item) == (0x81, 202, ssrc, 1)
    assert report[38 : 38 + length] == b"somebody@somewhere"
    assert len(report) == 28 + 4 * (words + 1)
    assert report[38 + length] == 0


def test_a_frame_tells_channel_and_length() -> None:
    assert interleaved(3, b"abc") == b"$\x03\x00\x03abc"
