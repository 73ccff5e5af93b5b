"""Still pictures: every form, upright, bounded, and refused with words when they are none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgevlm.capture.still import read_png, upright
from edgevlm.errors import CameraUnreachable

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 40), (30, 40, 210)


def three_colours(size: tuple[int, int] = (90, 60)) -> Image.Image:
    """Red, green, blue from left to right, white below."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    third = size[0] // 3
    for index, colour in enumerate((RED, GREEN, BLUE)):
        pixels[: size[1] // 2, index * third : (index + 1) * third] = colour
    return Image.fromarray(pixels)


def read(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(read_png("cam", path))).convert("RGB")).astype(int)


FORMS = [
    ("png", {}),
    ("jpg", {"quality": 95}),
    ("jpg", {"quality": 95, "progressive": True}),
    ("webp", {"quality": 95}),
    ("webp", {"lossless": True}),
    ("gif", {}),
    ("bmp", {}),
    ("tif", {}),
    ("tif", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize(("suffix", "how"), FORMS)
def test_every_form_keeps_its_colours(tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
    path = tmp_path / f"picture.{suffix}"
    three_colours().save(path, **how)
    pixels = read(path)
    assert pixels.shape == (60, 90, 3)
    for index, colour in enumerate((RED, GREEN, BLUE)):
        assert np.abs(pixels[15, 15 + 30 * index] - colour).max() <= 8, (suffix, how)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16", "CMYK"])
def test_other_kinds_of_pixels_are_read(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    path = tmp_path / f"picture.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.full((60, 90), 40_000, np.uint16)).save(path)
    else:
        three_colours().convert(mode).save(path)
    assert read(path).shape == (60, 90, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    three_colours().save(path, quality=95, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path))).astype(int)
    pixels = read(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_opencv(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    three_colours((64, 40)).save(path)
    raw = cv2.imread(str(path))
    three_colours((64, 40)).save(tmp_path / "turned.jpg", quality=100, subsampling=0, exif=exif)
    turned = cv2.imread(str(tmp_path / "turned.jpg"))
    assert raw is not None
    assert turned is not None
    ours = upright(raw.astype(np.uint8), orientation)
    assert ours.shape == turned.shape
    assert np.abs(ours.astype(int) - turned.astype(int)).mean() < 3


def test_only_the_first_picture_of_an_animation_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    later = Image.new("RGB", (90, 60), (0, 0, 0))
    three_colours().save(path, save_all=True, append_images=[later], duration=100)
    assert np.abs(read(path)[15, 15] - RED).max() <= 8


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), RED).save(path)
    assert read(path).shape == (1, 1, 3)


def test_names_that_mean_something_to_ffmpeg_are_just_names(tmp_path: Path) -> None:
    """`%d` is a sequence of files, a colon ends a protocol."""
    for name in ("a%03d.png", "12:30.png", "odd [name] ü.png"):
        three_colours().save(tmp_path / name, "PNG")
        assert read(tmp_path / name).shape == (60, 90, 3)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "camera.png"
    three_colours().save(path, "JPEG")
    assert read(path).shape == (60, 90, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_half_a_picture_is_none(tmp_path: Path, suffix: str, part: float) -> None:
    """An upload that is still on its way must not be shown half grey."""
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise.astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(CameraUnreachable):
        read_png("cam", path)


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=300),
    head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]),
)
def test_any_file_is_a_picture_or_refused(
    data: bytes, head: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(head + data)
    try:
        read_png("cam", path)
    except CameraUnreachable as refusal:
        assert str(path) in refusal.message  # noqa: PT017 - a picture by chance is no failure


def test_what_is_missing_or_no_picture_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(CameraUnreachable, match=r"none\.png|Is a directory"):
            read_png("cam", path)


def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    """109 KB that claim 900 million pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(30_000 * 3_751), 1)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(CameraUnreachable):
        read_png("cam", path)


def test_forty_megapixels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (8000, 5000), BLUE).save(path)
    png = read_png("cam", path)
    assert struct.unpack(">II", png[16:24]) == (8000, 5000)
