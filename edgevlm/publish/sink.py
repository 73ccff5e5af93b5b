"""The contract between a courier and a sink, and what is handed over.

The courier takes the burden (queue, retry, back-off, drops, statistics), so that a sink stays small: it
delivers one message or raises. `deliver` is never called before `open` has returned, never after `close`, and
never twice at the same time, save for a `Windowed` sink: that gets as many at once as it declares, but never
two of one camera.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

PICTURE_SUFFIX, CLIP_SUFFIX = ".jpg", ".mp4"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A picture or the clip of a message: a file of the evidence store, or in memory until it is accepted."""

    path: Path | None = None
    """Whole and on the disk for as long as the message waits; link it or read it, never change it."""
    jpeg: bytes | None = field(default=None, repr=False)
    mp4: bytes | None = field(default=None, repr=False)

    @property
    def suffix(self) -> str:
        """How its file's name ends."""
        if self.path is not None:
            return self.path.suffix
        return CLIP_SUFFIX if self.mp4 is not None else PICTURE_SUFFIX

    @property
    def held_bytes(self) -> int:
        """How much of it is in memory."""
        return len(self.jpeg or self.mp4 or b"")

    def read(self) -> bytes:
        """Return the JPEG or MP4; blocks.

        Raises:
            OSError: the file has gone.

        """
        if (held := self.jpeg or self.mp4) is not None:
            return held
        return self.path.read_bytes() if self.path is not None else b""


@dataclass(frozen=True, slots=True)
class Message:
    """An answer on its way to the sinks."""

    id: str
    """The result's `id`: the same on redelivery, the only name for it."""
    camera: str
    rule: str
    document: dict[str, Any]
    """The result JSON (`docs/result.schema.json`), its `frames[].evidence` still null."""
    state: str | None
    """The short current value for the `state` topic; None leaves the topic unchanged."""
    value: dict[str, Any] | None
    """The payload of the `value` topic; None leaves the topic unchanged."""
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    """The pictures that were asked about, in the order of the document's `frames`, and then the clip; none
    where nobody wants them, or where there was no room for them."""

    @property
    def pictures(self) -> tuple[Evidence, ...]:
        """The pictures of `evidence`."""
        return tuple(one for one in self.evidence if one.suffix != CLIP_SUFFIX)

    @property
    def clip(self) -> Evidence | None:
        """The clip of `evidence`."""
        return next((one for one in self.evidence if one.suffix == CLIP_SUFFIX), None)


@dataclass(frozen=True, slots=True)
class Notice:
    """A fact about the daemon itself for subscribers: camera status, rule status, info, stats."""

    topic: str
    """Below `PREFIX/NODE/`."""
    payload: str
    retained: bool = True


class Sink(Protocol):
    """One named destination of the configuration's `sinks`."""

    name: str

    async def open(self) -> None:
        """Prepare; a receiver that is away now is no error."""

    async def deliver(self, message: Message) -> None:
        """Hand `message` over and return when the receiver has confirmed it.

        Raises:
            SinkUnreachable: try the same message again later.
            SinkRejected: the receiver will never accept it.

        """

    async def close(self) -> None:
        """Say goodbye and release everything."""


@runtime_checkable
class Windowed(Protocol):
    """A sink whose receiver confirms so late that several messages should be on their way at once."""

    window: int
    """How many."""


@runtime_checkable
class NoticeBoard(Protocol):
    """A sink that also shows notices (MQTT does, files do not)."""

    def post(self, notice: Notice) -> None:
        """Show `notice` now and, when retained, again after every reconnect; never blocks, never raises."""


@runtime_checkable
class TakesEvidence(Protocol):
    """A sink that can hand on pictures; where none of a rule's sinks wants them, they are not kept."""

    @property
    def takes_evidence(self) -> bool:
        """Whether it is configured to."""
