"""Which packets begin a picture, and which only go on with one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.slices import continues

START = b"\x00\x00\x00\x01"
FIRST, LATER = b"\x88\x84", b"\x11\x84"
"""A slice header that begins with macroblock 0, and one that begins further on."""
IDR, INTER, SPS, PPS, AUD = b"\x65", b"\x41", b"\x67\x42", b"\x68\xce", b"\x09\xf0"
HEVC_IDR, HEVC_INTER, HEVC_VPS = b"\x26\x01", b"\x02\x01", b"\x40\x01"


@pytest.mark.parametrize(
    ("units", "rest"),
    [
        ([AUD, SPS, PPS, IDR + FIRST], False),
        ([IDR + FIRST, IDR + LATER], False),
        ([SPS, PPS, IDR + LATER], True),
        ([INTER + LATER], True),
        ([INTER + FIRST], False),
        ([SPS, PPS], False),
        ([], False),
    ],
)
def test_h264_slices_tell_where_they_begin(units: list[bytes], rest: bool) -> None:
    assert continues("h264", b"".join(START + unit for unit in units)) is rest


@pytest.mark.parametrize(
    ("units", "rest"),
    [
        ([HEVC_VPS, HEVC_IDR + b"\xaf"], False),
        ([HEVC_VPS, HEVC_IDR + b"\x2f"], True),
        ([HEVC_INTER + b"\x40"], True),
        ([HEVC_INTER + b"\xc0"], False),
    ],
)
def test_hevc_slices_have_a_flag_for_it(units: list[bytes], rest: bool) -> None:
    assert continues("hevc", b"".join(START + unit for unit in units)) is rest


@given(st.sampled_from(["h264", "hevc", "mjpeg", "av1"]), st.binary(max_size=80))
def test_any_bytes_are_one_or_the_other(codec: str, data: bytes) -> None:
    answer = continues(codec, START[1:] + data)
    assert answer in (True, False)
    assert codec in ("h264", "hevc") or not answer
