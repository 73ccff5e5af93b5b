"""USB cameras as far as they can be tested without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm.capture.spec import UsbSpec
from edgevlm.capture.usb import UsbSource
from edgevlm.errors import CameraUnreachable


def test_an_unplugged_device_is_told(tmp_path: Path) -> None:
    with pytest.raises(CameraUnreachable, match=r"unplugged"):
        UsbSource("cam", UsbSpec(str(tmp_path / "usb-ACME_Cam-video-index0"))).open()


def test_a_device_that_is_no_camera_is_told() -> None:
    source = UsbSource("cam", UsbSpec("/dev/null"))
    with pytest.raises(CameraUnreachable, match="cannot open"):
        source.open()
    source.close()


def test_what_the_user_wants_is_asked_of_the_driver_and_nothing_else() -> None:
    spec = UsbSpec("/dev/video0", width=1280, height=720, fps=15, pixel_format="mjpeg")
    wanted = {"video_size": "1280x720", "framerate": "15", "input_format": "mjpeg"}
    assert UsbSource("cam", spec)._container.options == wanted
    assert UsbSource("cam", UsbSpec("/dev/video0"))._container.options == {}
    assert UsbSource("cam", UsbSpec("/dev/video0", width=1280))._container.options == {}
