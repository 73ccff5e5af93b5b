"""Orientation and wholeness of still pictures, as their own bytes tell them."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgevlm.capture.exif import exif_orientation, is_cut_short

ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")


def picture(form: str, orientation: int | None = None, *, extra_exif: int = 0) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    if extra_exif:
        exif[0x010E] = "x" * extra_exif
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(out, form, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_found_in_each_form(form: str, orientation: int) -> None:
    assert exif_orientation(picture(form, orientation)) == orientation


@pytest.mark.parametrize("form", FORMATS)
def test_without_a_tag_a_picture_stands_upright(form: str) -> None:
    assert exif_orientation(picture(form)) == 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_value_that_does_not_exist_means_upright(value: int) -> None:
    assert exif_orientation(picture("JPEG", value)) == 1


def test_big_endian_tags_behind_another_segment_are_found() -> None:
    """Some cameras write an APP0 or a comment first, and Motorola byte order."""
    tiff = b"MM\0*" + struct.pack(">IHHHIH", 8, 1, ORIENTATION, 3, 1, 6) + b"\0\0"
    exif = b"Exif\0\0" + tiff
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 30_000) + b"c" * 30_000
    segment = b"\xff\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif
    assert exif_orientation(b"\xff\xd8" + comment + segment + b"\xff\xd9") == 6


@given(st.binary(max_size=400))
def test_any_bytes_have_some_orientation(data: bytes) -> None:
    for head in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*"):
        assert 1 <= exif_orientation(head + data) <= 8
        is_cut_short(head + data)


@given(st.sampled_from(FORMATS), st.integers(0, 2000), st.binary(min_size=1, max_size=4))
def test_damaged_tags_never_raise(form: str, at: int, damage: bytes) -> None:
    whole = picture(form, 6, extra_exif=50)
    at %= len(whole)
    assert 1 <= exif_orientation(whole[:at] + damage + whole[at + len(damage) :]) <= 8
    assert 1 <= exif_orientation(whole[:at]) <= 8


@given(st.data())
def test_a_jpeg_is_whole_only_to_its_last_byte(data: st.DataObject) -> None:
    """Also when the thumbnail in its EXIF has an end of its own."""
    whole = picture("JPEG", 6)
    thumbnail = b"\xff\xe2" + struct.pack(">H", 2 + len(whole)) + whole
    nested = whole[:2] + thumbnail + whole[2:]
    assert not is_cut_short(nested)
    assert is_cut_short(nested[: data.draw(st.integers(2, len(nested) - 1))])
