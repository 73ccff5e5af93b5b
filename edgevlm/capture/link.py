"""The messages over the wall between the daemon and a capture host, and their form on the wire.

A message is two lengths (big-endian, 4 bytes each), a JSON head with the message's type and fields, and a
body of raw bytes (luma of a look, JPEG of a picture, else empty). No pickle: a host that a camera has
taken over can send wrong numbers, but nothing that runs. Both lengths are bounded, and whatever does not
parse is a `LinkError`, after which the host is replaced.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from edgevlm.capture.spec import CameraSpec, FileSpec, ImageSpec, RtspSpec, UsbSpec
from edgevlm.errors import LinkError
from edgevlm.records import CameraHealth, CameraState, Instant, Look, Picture

LENGTHS = struct.Struct(">II")
BEAT_SECS = 0.5
MAX_HEAD_BYTES = 1_000_000
MAX_BODY_BYTES = 64_000_000

# --- to the host ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCamera:
    """Begin to capture; masks are part of it, and no message asks for an unmasked picture."""

    spec: CameraSpec


@dataclass(frozen=True, slots=True)
class CloseCamera:
    """Stop capturing."""

    camera: str


@dataclass(frozen=True, slots=True)
class AskPicture:
    """Answered by a `PictureTaken` or a `PictureFailed` with the same `number`."""

    number: int
    camera: str
    max_side: int
    instant: Instant | None = None
    """None for the newest frame."""


# --- to the daemon ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """The host lives; sent twice a second."""

    stuck: tuple[str, ...] = ()
    """Cameras whose thread has blocked beyond all its timeouts: only killing the host frees them."""


@dataclass(frozen=True, slots=True)
class LookTaken:
    """A look."""

    look: Look


@dataclass(frozen=True, slots=True)
class PictureTaken:
    """The picture that was asked for."""

    number: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class PictureFailed:
    """Why there is no picture."""

    number: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """State and figures of a camera."""

    health: CameraHealth


ToHost: TypeAlias = OpenCamera | CloseCamera | AskPicture
ToDaemon: TypeAlias = Beat | LookTaken | PictureTaken | PictureFailed | HealthReport
Link: TypeAlias = ToHost | ToDaemon

# --- on the wire ------------------------------------------------------------------------------------------


def encode(message: Link) -> bytes:
    """Return the message's bytes."""
    head, body = asdict(message), b""
    match message:
        case LookTaken(look):
            body = look.luma
            del head["look"]["luma"]
        case PictureTaken(_, picture):
            body = picture.jpeg
            del head["picture"]["jpeg"]
    text = json.dumps({"type": type(message).__name__, **head}, separators=(",", ":")).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def lengths(prefix: bytes) -> tuple[int, int]:
    """Return the lengths of head and body.

    Raises:
        LinkError: one of them is beyond its bound.

    """
    head, body = LENGTHS.unpack(prefix)
    if head > MAX_HEAD_BYTES or body > MAX_BODY_BYTES:
        raise LinkError(f"a message of {head} + {body} bytes exceeds the link's bounds")
    return head, body


def decode(head: bytes, body: bytes) -> Link:
    """Return the message.

    Raises:
        LinkError: it does not follow the protocol.

    """
    try:
        fields = json.loads(head)
        return _BUILDERS[fields.pop("type")](fields, body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LinkError(f"a message that does not follow the protocol: {type(error).__name__}") from error


def _instant(fields: dict[str, Any] | None) -> Instant | None:
    return None if fields is None else Instant(**{key: int(value) for key, value in fields.items()})


def _open_camera(fields: dict[str, Any], _: bytes) -> Link:
    spec = fields["spec"]
    kinds = {"rtsp": RtspSpec, "usb": UsbSpec, "file": FileSpec, "image": ImageSpec}
    source = kinds[spec["source"]["type"]](**spec["source"])
    masks = tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in spec["privacy_masks"])
    return OpenCamera(CameraSpec(**(spec | {"source": source, "privacy_masks": masks})))


def _ask_picture(fields: dict[str, Any], _: bytes) -> Link:
    return AskPicture(**(fields | {"instant": _instant(fields["instant"])}))


def _look_taken(fields: dict[str, Any], body: bytes) -> Link:
    look = Look(**(fields["look"] | {"instant": _instant(fields["look"]["instant"]), "luma": body}))
    if look.width * look.height != len(body):
        raise ValueError("the luma does not fit its size")
    return LookTaken(look)


def _picture_taken(fields: dict[str, Any], body: bytes) -> Link:
    picture = fields["picture"] | {"instant": _instant(fields["picture"]["instant"]), "jpeg": body}
    return PictureTaken(int(fields["number"]), Picture(**picture))


def _health_report(fields: dict[str, Any], _: bytes) -> Link:
    health = fields["health"]
    return HealthReport(CameraHealth(**(health | {"state": CameraState(health["state"])})))


_BUILDERS: dict[str, Callable[[dict[str, Any], bytes], Link]] = {
    "OpenCamera": _open_camera,
    "CloseCamera": lambda fields, _: CloseCamera(**fields),
    "AskPicture": _ask_picture,
    "Beat": lambda fields, _: Beat(tuple(fields["stuck"])),
    "LookTaken": _look_taken,
    "PictureTaken": _picture_taken,
    "PictureFailed": lambda fields, _: PictureFailed(**fields),
    "HealthReport": _health_report,
}
