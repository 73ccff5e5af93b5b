"""What the YAML says of cameras' sources, on the daemon's side of the wall."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from edgevlm.capture.spec import FileSpec, ImageSpec, RtspSpec, SourceSpec, UsbSpec
from edgevlm.runtime.section import Secret, Section

Fraction = Annotated[float, Field(ge=0, le=1)]
Corner = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
PolygonConfig = Annotated[list[Corner], Field(min_length=3, max_length=100)]
"""At least three [x, y] corners, as fractions of width and height."""


class RtspSourceConfig(Section):
    """A network camera by RTSP."""

    type: Literal["rtsp"]
    url: str = Field(examples=["rtsp://10.0.0.21/stream1"])
    """`rtsp://` or `rtsps://`, as the camera's manual gives it."""
    username: str | None = None
    """Login, kept apart from the URL so that any character may stand in it."""
    password: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; plain text works and is warned of."""
    transport: Literal["tcp", "udp"] = "tcp"
    """TCP loses nothing and passes firewalls; UDP where a camera offers nothing else."""
    open_timeout_secs: float = Field(default=15.0, ge=1, le=120)
    """Longest time from connecting to the first packet."""
    read_timeout_secs: float = Field(default=10.0, ge=1, le=300)
    """Longest silence of a running stream before it counts as stalled and is opened anew."""
    verify_tls: bool = True
    """`rtsps` only: check the camera's certificate."""
    ca_file: str | None = None
    """`rtsps` only: certificates to trust instead of the system's."""

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: str) -> str:
        if not url.startswith(("rtsp://", "rtsps://")) or not url.split("://", 1)[1].strip("/"):
            raise ValueError("must be an rtsp:// or rtsps:// URL with a host, e.g. rtsp://10.0.0.21/stream1")
        return url

    def spec(self) -> SourceSpec:
        """Return what a capture host needs."""
        return RtspSpec(
            url=self.url,
            username=self.username,
            password=self.password.reveal() if self.password else None,
            transport=self.transport,
            open_timeout_secs=self.open_timeout_secs,
            read_timeout_secs=self.read_timeout_secs,
            ca_file=self.ca_file,
            verify_tls=self.verify_tls,
        )


class UsbSourceConfig(Section):
    """A USB camera by V4L2."""

    type: Literal["usb"]
    device: str = Field(examples=["/dev/v4l/by-id/usb-ACME_Cam-video-index0"])
    """Take the name below `/dev/v4l/by-id`: it survives replugging and renumbering."""
    width: int | None = Field(default=None, ge=16, le=16384)
    """Pixels; the driver's default when absent."""
    height: int | None = Field(default=None, ge=16, le=16384)
    """Pixels; the driver's default when absent."""
    fps: float | None = Field(default=None, gt=0, le=240)
    """Frames a second; the driver's default when absent."""
    pixel_format: Literal["mjpeg", "h264", "yuyv422"] | None = None
    """The driver's default when absent."""
    open_timeout_secs: float = Field(default=15.0, ge=1, le=120)
    """Longest time from opening to the first packet."""
    read_timeout_secs: float = Field(default=10.0, ge=1, le=300)
    """Longest silence before the device is opened anew."""

    def spec(self) -> SourceSpec:
        """Return what a capture host needs."""
        return UsbSpec(**self.model_dump())


class FileSourceConfig(Section):
    """A recording, played at its own speed as if it were live."""

    type: Literal["file"]
    path: str
    """Any container that FFmpeg reads; relative to the configuration file."""
    loop: bool = False
    """Begin again at the end."""

    def spec(self) -> SourceSpec:
        """Return what a capture host needs."""
        return FileSpec(**self.model_dump())


class ImageSourceConfig(Section):
    """One picture, or a folder of pictures in the order of their names."""

    type: Literal["image"]
    path: str
    """PNG, JPEG, WebP, GIF (first frame), BMP or TIFF; relative to the configuration file."""
    every_secs: float = Field(default=1.0, ge=0.05, le=86400)
    """One picture is read again this often; in a folder, the next one comes after this time."""
    loop: bool = False
    """Folder only: begin again after the last; otherwise wait for new pictures."""

    def spec(self) -> SourceSpec:
        """Return what a capture host needs."""
        return ImageSpec(**self.model_dump())


SourceConfig = Annotated[
    RtspSourceConfig | UsbSourceConfig | FileSourceConfig | ImageSourceConfig,
    Field(discriminator="type"),
]
