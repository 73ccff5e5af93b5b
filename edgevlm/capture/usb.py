"""USB cameras by V4L2.

The device is opened wholly anew after every failure: buffers of an unplugged one must never be used again.
"""

from __future__ import annotations

import threading
from pathlib import Path

from edgevlm.capture.container import Container
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import UsbSpec
from edgevlm.errors import CameraUnreachable


class UsbSource:
    """A V4L2 capture device."""

    live = True

    def __init__(self, camera: str, spec: UsbSpec) -> None:
        self._camera = camera
        self._spec = spec
        self.patience_secs = spec.open_timeout_secs + spec.read_timeout_secs
        self._container = Container(
            camera,
            spec.device,
            format="video4linux2",
            options=_options(spec),
            open_timeout_secs=spec.open_timeout_secs,
            read_timeout_secs=spec.read_timeout_secs,
        )

    def open(self) -> StreamParams:
        """Open the device by its name, which udev may have pointed elsewhere since."""
        if not Path(self._spec.device).exists():
            raise CameraUnreachable(self._camera, f"{self._spec.device} is not there (unplugged?)")
        return self._container.open()

    def read(self, quit_event: threading.Event) -> RawPacket | None:  # noqa: ARG002 - the timeout bounds it
        """Return the next packet."""
        packet = self._container.next()
        if packet is None:
            raise CameraUnreachable(self._camera, "the device gives no more pictures")
        return packet

    def close(self) -> None:
        """Give the device back."""
        self._container.close()


def _options(spec: UsbSpec) -> dict[str, str]:
    options: dict[str, str] = {}
    if spec.width and spec.height:
        options["video_size"] = f"{spec.width}x{spec.height}"
    if spec.fps:
        options["framerate"] = str(spec.fps)
    if spec.pixel_format:
        options["input_format"] = spec.pixel_format
    return options
