"""The messages over the wall between the daemon and a capture host, and their form on the wire.

A message is two lengths (big-endian, 4 bytes each), a JSON head with the message's type and fields, and a
body of raw bytes (luma of a look, JPEG of a picture, MP4 of a clip, else empty). No pickle: a host that a
camera has taken over can send wrong numbers, but nothing that runs. Both lengths are bounded, every field is
checked against its declared type (`shape`), and whatever does not fit is a `LinkError`, after which the host
is replaced.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from edgevlm.capture.shape import build, shaped
from edgevlm.capture.spec import CameraSpec
from edgevlm.errors import LinkError
from edgevlm.records import Box, CameraHealth, Clip, ClipShot, Instant, Look, Picture

LENGTHS = struct.Struct(">II")
BEAT_SECS = 0.5
PICTURE_SECS = 10.0
"""How long a picture is waited for; a host drops what nobody waits for any more."""
CLIP_SECS = 60.0
"""The same for a clip, which may have to be encoded."""
MAX_HEAD_BYTES = 1_000_000
MAX_BODY_BYTES = 64_000_000

# --- to the host ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCamera:
    """Begin to capture; masks are part of it, and no message asks for an unmasked picture."""

    spec: CameraSpec
    not_before_mono_ns: int = 0
    """When to connect at the earliest: a camera that refused our login is not asked again at once."""


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
    """The very frame that is wanted; None for the newest, or for the one at `at_mono_ns`."""
    at_mono_ns: int | None = None
    """The frame that was shown at this moment, as far as the ring reaches."""
    crop: Box | None = None
    """The part of the frame to show; None for all of it."""
    multiple_of: int = 1
    """Width and height are made multiples of this."""
    tolerance_ms: int = 0
    """A keyframe that is so much older than the newest frame will do: cheap, and without smear."""


@dataclass(frozen=True, slots=True)
class AskClip:
    """Answered by a `ClipTaken` or a `ClipFailed` with the same `number`."""

    number: int
    camera: str
    shot: ClipShot
    from_mono_ns: int
    to_mono_ns: int


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
    superseded: int = 0
    """Looks of this camera that were replaced by newer ones before they could be sent."""


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
class ClipTaken:
    """The clip that was asked for."""

    number: int
    clip: Clip


@dataclass(frozen=True, slots=True)
class ClipFailed:
    """Why there is no clip."""

    number: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """State and figures of a camera."""

    health: CameraHealth


ToHost: TypeAlias = OpenCamera | CloseCamera | AskPicture | AskClip
ToDaemon: TypeAlias = Beat | LookTaken | PictureTaken | PictureFailed | ClipTaken | ClipFailed | HealthReport
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
        case ClipTaken(_, clip):
            body = clip.mp4
            del head["clip"]["mp4"]
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
        return _message(fields.pop("type"), fields, body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LinkError(f"a message that does not follow the protocol: {type(error).__name__}") from error


def _message(kind: str, fields: dict[str, Any], body: bytes) -> Link:
    match kind:
        case "LookTaken":
            return _look_taken(fields, body)
        case "PictureTaken":
            return _picture_taken(fields, body)
        case "ClipTaken":
            return _clip_taken(fields, body)
    if body:
        raise ValueError("a body where none belongs")
    return build(_WITHOUT_BODY[kind], fields)


def _look_taken(fields: dict[str, Any], body: bytes) -> LookTaken:
    look = build(Look, fields.pop("look"), luma=body)
    if min(look.width, look.height) < 1 or look.width * look.height != len(body):
        raise ValueError("the luma does not fit its size")
    return LookTaken(look, **_numbers(fields, "superseded"))


def _picture_taken(fields: dict[str, Any], body: bytes) -> PictureTaken:
    picture = build(Picture, fields.pop("picture"), jpeg=body)
    if min(picture.width, picture.height) < 1 or not body.startswith(_JPEG):
        raise ValueError("not a picture")
    return PictureTaken(**_numbers(fields, "number"), picture=picture)


def _clip_taken(fields: dict[str, Any], body: bytes) -> ClipTaken:
    clip = build(Clip, fields.pop("clip"), mp4=body)
    if min(clip.width, clip.height, clip.frames) < 1 or body[4:8] != _MP4:
        raise ValueError("not a clip")
    return ClipTaken(**_numbers(fields, "number"), clip=clip)


def _numbers(fields: dict[str, Any], name: str) -> dict[str, int]:
    """Return the one whole number that is left in `fields`."""
    if fields.keys() != {name}:
        raise ValueError("fields missing or unknown")
    return {name: shaped(int, fields[name])}


_JPEG = b"\xff\xd8"
_MP4 = b"ftyp"
_WITHOUT_BODY: dict[str, type[Link]] = {
    cls.__name__: cls
    for cls in (
        OpenCamera,
        CloseCamera,
        AskPicture,
        AskClip,
        Beat,
        PictureFailed,
        ClipFailed,
        HealthReport,
    )
}
