"""A camera as it is told over the wall: frozen dataclasses, plain JSON types, no defaults from the YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Polygon = tuple[tuple[float, float], ...]
"""Corners as fractions of width and height, 0 to 1."""


@dataclass(frozen=True, slots=True)
class RtspSpec:
    """An RTSP or RTSPS stream."""

    url: str
    """Without user name and password."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_secs: float = 15.0
    read_timeout_secs: float = 10.0
    ca_file: str | None = None
    verify_tls: bool = True
    type: Literal["rtsp"] = "rtsp"


@dataclass(frozen=True, slots=True)
class UsbSpec:
    """A V4L2 device."""

    device: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: Literal["mjpeg", "h264", "yuyv422"] | None = None
    open_timeout_secs: float = 15.0
    read_timeout_secs: float = 10.0
    type: Literal["usb"] = "usb"


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A recording, played at its own speed."""

    path: str
    loop: bool = False
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One picture, or a folder of them in the order of their names."""

    path: str
    every_secs: float = 1.0
    loop: bool = False
    type: Literal["image"] = "image"


SourceSpec = RtspSpec | UsbSpec | FileSpec | ImageSpec


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """Everything that a capture host has to know of a camera."""

    name: str
    source: SourceSpec
    privacy_masks: tuple[Polygon, ...] = ()
    look_interval_ms: int = 1000
    """Not more than one look in this time, though keyframes may come more often."""
    look_width: int = 320
    ring_secs: float = 10.0
    ring_bytes: int = 16_000_000
