"""Looks and pictures out of frames: sizes, colours, and masks that nothing shines through."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

from edgevlm.capture.painter import Painter
from tests.capture.recordings import pixels_of, record

COLOURS = [(200, 40, 60), (40, 180, 70), (50, 70, 200), (210, 200, 40), (128, 128, 128)]
UNMARKED = 2
CORNER = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))


def stripes(
    height: int, pixel_format: str, *, space: Colorspace, full_range: bool, marked: bool
) -> VideoFrame:
    """Draw five coloured stripes, converted as a camera does that may not say how."""
    pixels = np.zeros((height, 640, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        pixels[:, index * 128 : (index + 1) * 128] = colour
    frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format=pixel_format,
        dst_colorspace=space,
        dst_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
    )
    if not marked:
        frame.colorspace = UNMARKED
    return frame


def worst_error(frame: VideoFrame, painter: Painter) -> int:
    _, height, jpeg, _ = painter.jpeg(frame, 720)
    pixels = pixels_of(jpeg).astype(int)
    return max(
        int(np.abs(pixels[height * 3 // 4, 64 + 128 * index] - colour).max())
        for index, colour in enumerate(COLOURS)
    )


CAMERAS = [
    (480, "yuv420p", Colorspace.ITU601, False, False),
    (480, "yuv420p", Colorspace.ITU601, False, True),
    (480, "yuv420p", Colorspace.ITU709, False, True),
    (720, "yuv420p", Colorspace.ITU709, False, False),
    (720, "yuv420p", Colorspace.ITU709, True, True),
    (720, "yuvj420p", Colorspace.ITU709, True, False),
    (720, "yuvj422p", Colorspace.ITU601, True, True),
    (720, "yuyv422", Colorspace.ITU601, False, False),
    (720, "yuv420p10le", Colorspace.ITU709, False, True),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("height", "pixel_format", "space", "full_range", "marked"), CAMERAS)
def test_colours_come_out_as_they_went_in(
    height: int, pixel_format: str, space: Colorspace, full_range: bool, marked: bool, masked: bool
) -> None:
    """BT.601 and BT.709, both ranges, told or guessed; a mask in a corner changes nothing elsewhere."""
    frame = stripes(height, pixel_format, space=space, full_range=full_range, marked=marked)
    assert worst_error(frame, Painter([CORNER] if masked else [])) <= 5


@pytest.mark.parametrize("masked", [False, True])
def test_a_still_keeps_its_colours(masked: bool) -> None:
    pixels = np.zeros((720, 640, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        pixels[:, index * 128 : (index + 1) * 128] = colour
    frame = VideoFrame.from_ndarray(pixels, format="rgb24")
    assert worst_error(frame, Painter([CORNER] if masked else [])) <= 3


def white(width: int, height: int, pixel_format: str = "yuv420p") -> VideoFrame:
    pixels = np.full((height, width, 3), 255, np.uint8)
    return VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)


def luma(look: tuple[int, int, bytes]) -> NDArray[np.uint8]:
    width, height, data = look
    return np.frombuffer(data, np.uint8).reshape(height, width)


MASKS = [((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))]
FORMATS = ["yuv420p", "yuvj420p", "yuvj422p", "yuyv422", "rgb24", "gray", "yuv420p10le", "nv12"]


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_masks_are_black_in_looks_and_pictures_and_the_rest_is_not(pixel_format: str) -> None:
    painter, frame = Painter(MASKS), white(1280, 720, pixel_format)
    look = luma(painter.look(frame, 320))
    assert look.shape == (180, 320)
    assert look[46:134, 81:239].max() <= 16
    assert look[:44].min() >= 225
    assert look[:, :78].min() >= 225
    _, _, jpeg, _ = painter.jpeg(frame, 640)
    picture = pixels_of(jpeg)
    assert picture[92:268, 162:478].max() <= 12
    assert picture[:86].min() >= 240
    assert picture[:, :156].min() >= 240


def test_nothing_bright_beside_a_mask_bleeds_into_it_nor_out_of_it() -> None:
    """It is drawn before scaling: what is under it must not colour its neighbours."""
    pixels = np.full((360, 640, 3), 30, np.uint8)
    pixels[90:270, 160:480] = (255, 0, 0)
    frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    _, _, jpeg, _ = Painter(MASKS).jpeg(frame, 200)
    assert pixels_of(jpeg).astype(int).max() <= 60


def test_the_mask_follows_a_change_of_size() -> None:
    painter = Painter(MASKS)
    for size in ((640, 360), (320, 240), (641, 361), (640, 360)):
        look = luma(painter.look(white(*size), size[0]))
        assert look[size[1] // 2, size[0] // 2] <= 16
        assert look[2, 2] >= 225


def test_masking_leaves_the_decoders_own_picture_alone(tmp_path: Path) -> None:
    """The decoder still refers to it: the next frame would be built upon the mask."""
    with av.open(str(record(tmp_path / "clip.mp4", count=2)), mode="r") as container:
        frames = container.decode(video=0)
        first = next(frames)
        before = luma(Painter([]).look(first, 320)).copy()
        Painter(MASKS).look(first, 320)
        after = luma(Painter([]).look(next(frames), 320))
    assert np.abs(after[60:90, 100:220].astype(int) - before[60:90, 100:220]).mean() < 8


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((1920, 1080), 1280, (1280, 720)),
        ((1080, 1920), 1280, (720, 1280)),
        ((640, 360), 1280, (640, 360)),
        ((641, 361), 320, (320, 180)),
        ((4000, 30), 100, (100, 2)),
        ((16, 16), 0, (2, 2)),
    ],
)
def test_pictures_are_never_enlarged_and_keep_their_shape(
    size: tuple[int, int], max_side: int, expected: tuple[int, int]
) -> None:
    width, height, jpeg, _ = Painter([]).jpeg(white(*size), max_side)
    assert (width, height) == expected
    assert Image.open(io.BytesIO(jpeg)).size == expected


@pytest.mark.parametrize(
    ("size", "multiple_of", "expected"),
    [
        ((1280, 720), 28, (1260, 700)),
        ((1280, 720), 32, (1280, 704)),
        ((640, 20), 32, (640, 20)),
        ((641, 361), 1, (641, 361)),
    ],
)
def test_a_picture_fits_a_model_s_grid(
    size: tuple[int, int], multiple_of: int, expected: tuple[int, int]
) -> None:
    width, height, jpeg, shown = Painter([]).jpeg(white(*size), 1280, None, multiple_of)
    assert (width, height, shown) == (*expected, None)
    assert Image.open(io.BytesIO(jpeg)).size == expected


def test_a_picture_is_a_baseline_jpeg_of_good_quality_without_tags() -> None:
    frame = stripes(480, "yuv420p", space=Colorspace.ITU601, full_range=False, marked=True)
    jpeg = Painter([]).jpeg(frame, 640)[2]
    assert jpeg.startswith(b"\xff\xd8")
    assert jpeg.endswith(b"\xff\xd9")
    assert b"\xff\xc0" in jpeg, "SOF0: baseline"
    assert b"Exif" not in jpeg
    opened = Image.open(io.BytesIO(jpeg))
    assert isinstance(opened, Image.Image)
    assert max(opened.quantization[0]) <= 40  # type: ignore[attr-defined] # only JPEG images have it


def test_looks_of_odd_sizes_have_exactly_their_pixels() -> None:
    for size in ((641, 361), (321, 181), (17, 3)):
        width, height, data = Painter([]).look(white(*size), 320)
        assert len(data) == width * height
        assert width <= 320


def test_frames_of_motion_jpeg_are_marked_by_their_decoder() -> None:
    """So that a 720p one is not taken for BT.709."""
    out = io.BytesIO()
    Image.new("RGB", (1280, 720), COLOURS[0]).save(out, "JPEG", quality=95)
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    (frame,) = decoder.decode(av.Packet(out.getvalue()))
    pixels = pixels_of(Painter([]).jpeg(frame, 1280)[2]).astype(int)
    assert np.abs(pixels[360, 640] - COLOURS[0]).max() <= 4
