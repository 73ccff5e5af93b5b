"""Network cameras by RTSP and RTSPS."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from edgevlm.capture.container import Container
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import RtspSpec
from edgevlm.errors import CameraUnreachable

_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian; FFmpeg's own default path in the wheel is Red Hat's
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_INVALID_DATA = int.from_bytes(b"INDA", "little")
"""AVERROR_INVALIDDATA: whatever FFmpeg makes of a silent server."""


class RtspSource:
    """An RTSP stream; audio is never asked for, since a live audio track hides a dead video track."""

    live = True

    def __init__(self, camera: str, spec: RtspSpec) -> None:
        self._camera = camera
        self.patience_secs = spec.open_timeout_secs + spec.read_timeout_secs
        self._container = Container(
            camera,
            _with_login(spec),
            format="rtsp",
            options=_options(spec),
            open_words=_words(spec),
            read_words={errno.EIO: "no whole packet in time"},
            open_timeout_secs=spec.open_timeout_secs,
            read_timeout_secs=spec.read_timeout_secs,
        )

    def open(self) -> StreamParams:
        """Connect, log in, play."""
        return self._container.open()

    def read(self, quit_event: threading.Event) -> RawPacket | None:  # noqa: ARG002 - the timeout bounds it
        """Return the next packet; the end of a live stream is a lost connection."""
        packet = self._container.next()
        if packet is None:
            raise CameraUnreachable(self._camera, "the camera ended the stream")
        return packet

    def close(self) -> None:
        """Send TEARDOWN: cameras serve only three or four clients."""
        self._container.close()


def _with_login(spec: RtspSpec) -> str:
    """Return the URL with user name and password, percent-encoded by us: a raw `#` or `@` breaks FFmpeg."""
    if spec.username is None:
        return spec.url
    try:
        parts = urlsplit(spec.url)
    except ValueError:  # half an IPv6 address: FFmpeg refuses it too, where a refusal belongs
        return spec.url
    login = quote(spec.username, safe="")
    if spec.password is not None:
        login += ":" + quote(spec.password, safe="")
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def _options(spec: RtspSpec) -> dict[str, str]:
    options = {
        "rtsp_transport": spec.transport,
        "allowed_media_types": "video",
        "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
        # FFmpeg's own limit holds for reading too and must not undercut ours, which end both sooner.
        "timeout": str(int(1e6 * (spec.open_timeout_secs + spec.read_timeout_secs))),
        # The description names the codec, and packets tell the rest: measuring first would cost a second or
        # two before the first look, and a whole GOP where one joins in its middle.
        "probesize": "32",
        "fpsprobesize": "0",
    }
    if spec.url.startswith("rtsps://"):
        options["tls_verify"] = "1" if spec.verify_tls else "0"
        if certificates := _certificates(spec):
            options["ca_file"] = certificates
    return options


def _words(spec: RtspSpec) -> dict[int, str]:
    no_connection = "no connection: is the host name right?"
    if spec.url.startswith("rtsps://"):
        no_connection = "no connection: is the host name right, and the camera's certificate trusted?"
    return {
        errno.EIO: no_connection,
        errno.EPERM: "the camera does not start the stream",
        errno.EINVAL: "the URL, or the camera's answer, makes no sense",
        _INVALID_DATA: "no answer, or none that is RTSP",
    }


def _certificates(spec: RtspSpec) -> str | None:
    if spec.ca_file is not None:
        return spec.ca_file
    return next((path for path in _SYSTEM_CERTIFICATES if Path(path).exists()), None)
