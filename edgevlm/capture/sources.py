"""The one list of sources: from what a camera's spec says to what reads it."""

from __future__ import annotations

from edgevlm.capture.file import FileSource
from edgevlm.capture.image import ImageSource
from edgevlm.capture.rtsp import RtspSource
from edgevlm.capture.source import Source
from edgevlm.capture.spec import CameraSpec, FileSpec, ImageSpec, RtspSpec, UsbSpec
from edgevlm.capture.usb import UsbSource


def build_source(spec: CameraSpec) -> Source:
    """Return the source that reads this camera; nothing is opened yet."""
    match spec.source:
        case RtspSpec() as rtsp:
            return RtspSource(spec.name, rtsp)
        case UsbSpec() as usb:
            return UsbSource(spec.name, usb)
        case FileSpec() as file:
            return FileSource(spec.name, file)
        case ImageSpec() as image:
            return ImageSource(spec.name, image)
