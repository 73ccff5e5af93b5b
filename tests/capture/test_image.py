"""Pictures as a camera: one that changes, a folder that grows, and bad ones among them."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from edgevlm.capture.image import ImageSource
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import ImageSpec
from edgevlm.errors import CameraUnreachable


def save(path: Path, shade: int) -> Path:
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(path)
    return path


def source_of(path: Path, *, loop: bool = False) -> ImageSource:
    source = ImageSource("cam", ImageSpec(str(path), every_secs=0.05, loop=loop))
    source.open()
    return source


def read(source: ImageSource) -> RawPacket | None:
    """Read at once, as if the interval had passed."""
    source._due_mono_ns = 0
    return source.read(threading.Event())


def shade(packet: RawPacket | None) -> int | None:
    if packet is None:
        return None
    value = Image.open(io.BytesIO(packet.data)).getpixel((5, 5))
    assert isinstance(value, tuple)
    return int(value[0])


def test_one_picture_is_shown_again_and_read_anew_when_it_changes(tmp_path: Path) -> None:
    path = save(tmp_path / "camera.png", 10)
    source = source_of(path)
    first, second = read(source), read(source)
    assert first is not None
    assert second is not None
    assert first.data is second.data, "not decoded again"
    assert (second.pts_ns or 0) > (first.pts_ns or 0)
    save(path, 20)
    os.utime(path, ns=(1, 1))
    assert shade(read(source)) == 20


def test_it_waits_for_its_interval(tmp_path: Path) -> None:
    source = ImageSource("cam", ImageSpec(str(save(tmp_path / "camera.png", 10)), every_secs=3600))
    source.open()
    stopped = threading.Event()
    assert source.read(stopped) is not None
    stopped.set()
    assert source.read(stopped) is None


def test_a_folder_is_shown_in_the_order_of_names_and_then_waits(tmp_path: Path) -> None:
    for index, name in enumerate(["b.png", "c.JPG", "a.bmp", "notes.txt"]):
        if name != "notes.txt":
            save(tmp_path / name, 10 * index + 10)
    (tmp_path / "notes.txt").write_text("no picture")
    source = source_of(tmp_path)
    assert [shade(read(source)) for _ in range(4)] == [30, 10, 20, None]
    save(tmp_path / "d.png", 99)
    assert shade(read(source)) == 99


def test_a_folder_can_go_round(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"{index}.png", index)
    source = source_of(tmp_path, loop=True)
    assert [shade(read(source)) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_after_a_reconnect_a_folder_goes_on_where_it_was(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"{index}.png", index)
    source = source_of(tmp_path)
    assert shade(read(source)) == 0
    source.close()
    source.open()
    assert shade(read(source)) == 1


def test_bad_pictures_are_told_once_and_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png", "d.png"):
        (tmp_path / name).write_bytes(b"no picture")
    save(tmp_path / "c.png", 33)
    save(tmp_path / "e.png", 55)
    source = source_of(tmp_path, loop=True)
    assert [shade(read(source)) for _ in range(4)] == [33, 55, 33, 55]
    said = capfd.readouterr().err.splitlines()
    assert [line.count(str(tmp_path)) for line in said] == [1, 1, 1]


def test_a_picture_caught_half_written_is_shown_once_it_is_whole(tmp_path: Path) -> None:
    """An upload by FTP takes a while; nothing of it may be lost, and nothing shown half."""
    save(tmp_path / "a.jpg", 10)
    whole = save(tmp_path / "b.jpg", 20).read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:-20])
    source = source_of(tmp_path)
    assert [shade(read(source)) for _ in range(2)] == [10, None]
    (tmp_path / "b.jpg").write_bytes(whole)
    assert shade(read(source)) == 20


def test_nothing_to_show_is_told(tmp_path: Path) -> None:
    with pytest.raises(CameraUnreachable, match="not there"):
        source_of(tmp_path / "none.png")
    with pytest.raises(CameraUnreachable, match="no picture in"):
        read(source_of(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(CameraUnreachable, match="can be read"):
        read(source_of(tmp_path))
    path = save(tmp_path / "b.png", 1)
    source = source_of(path)
    path.unlink()
    with pytest.raises(CameraUnreachable):
        read(source)
