"""The contract of a source: blocking, used by one camera's thread, everything with a timeout.

A source opens, is read until it raises or ends, and is closed; whether and when it is opened again is the
runner's business. It raises `CaptureError`s only, and none of its messages holds a secret.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from edgevlm.capture.decoder import StreamParams


@dataclass(frozen=True, slots=True)
class RawPacket:
    """An encoded unit with the stream's own times, in nanoseconds."""

    data: bytes = field(repr=False)
    pts_ns: int | None
    dts_ns: int | None
    keyframe: bool


class Source(Protocol):
    """One stream of one camera."""

    live: bool
    """Whether silence means trouble (a camera) or just the end (a recording)."""
    patience_secs: float
    """Longest time that `open` or `read` may block; beyond it the thread counts as stuck."""

    def open(self) -> StreamParams:
        """Connect and return how to decode what `read` gives.

        Raises:
            CameraUnreachable: no connection, or no video in it.
            CameraUnauthorized: the login was refused.

        """

    def read(self, quit_event: threading.Event) -> RawPacket | None:
        """Return the next packet, or None when it is time to look at `quit_event` again.

        Raises:
            CameraUnreachable: the connection broke or fell silent.
            SourceEnded: a recording is over.

        """

    def close(self) -> None:
        """Release everything; also after a failed `open`."""
