"""A message as the spool keeps it: JSON of everything but the pictures, which are files named in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgevlm.publish.sink import Evidence, Message


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message that was accepted for one sink or several."""

    message: Message
    seq: int | None
    """Its place in the order of acceptance; None when it is in memory only, since nothing can be stored."""


def pack(message: Message, files: tuple[str, ...]) -> bytes:
    """Return the row's body."""
    body = {
        "id": message.id,
        "camera": message.camera,
        "rule": message.rule,
        "document": message.document,
        "state": message.state,
        "value": message.value,
        "files": files,
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def unpack(body: bytes, evidence_directory: Path) -> Message:
    """Return the message again; a field that an older version did not write has its default."""
    fields = json.loads(body)
    return Message(
        id=fields["id"],
        camera=fields["camera"],
        rule=fields["rule"],
        document=fields["document"],
        state=fields.get("state"),
        value=fields.get("value"),
        evidence=tuple(Evidence(path=evidence_directory / name) for name in fields.get("files", ())),
    )
