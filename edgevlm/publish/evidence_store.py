"""The one place of pictures and clips that belong to undelivered messages: `STATE/evidence/ID-k.jpg`, `.mp4`.

Invariants:
- A picture is on the disk, under its name, before the row that names it is committed.
- It is removed after the commit that removed the last row which names it. What a crash between the two leaves
  behind is removed at the next start.
- Pictures stop before answers do: none is kept when they would take the room that answers need.

Everything blocks: call it in the spool's own thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from edgevlm.publish.evidence import SAFE_ID
from edgevlm.publish.journal import sync_directory
from edgevlm.publish.sink import Message

_MODE = 0o640
_FOLDER_MODE = 0o700


class EvidenceStore:
    """Owns the directory."""

    def __init__(self, directory: Path, *, max_bytes: int, min_free_bytes: int) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._kept_bytes = 0

    def open(self, needed: Iterable[str]) -> int:
        """Make the directory, remove what no row needs, and return how many files that were."""
        self.directory.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        wanted, orphans, self._kept_bytes = set(needed), 0, 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name not in wanted:
                    self._unlink(entry.name)
                    orphans += 1
                else:
                    self._kept_bytes += entry.stat(follow_symlinks=False).st_size
        return orphans

    def keep(self, message: Message) -> tuple[str, ...]:
        """Write the message's pictures and return their names; all or none. `sync` makes the names last.

        Raises:
            OSError: they cannot be kept; nothing is left of them.
            ValueError: the id cannot be a file name.

        """
        if not SAFE_ID.fullmatch(message.id):
            raise ValueError(f"not an id that can name a file: {message.id[:100]!r}")
        names = tuple(f"{message.id}-{index}{one.suffix}" for index, one in enumerate(message.evidence))
        try:
            for name, evidence in zip(names, message.evidence, strict=True):
                self._write(name, evidence.read())
        except OSError:
            self.remove(names)
            raise
        return names

    def has_room_for(self, message: Message) -> bool:
        """Return whether the message's pictures may be kept: by the bound, and by what the disk has left."""
        more = sum(evidence.held_bytes for evidence in message.evidence)
        state = os.statvfs(self.directory)
        free = state.f_bavail * state.f_frsize
        return self._kept_bytes + more <= self._max_bytes and free - more >= self._min_free_bytes

    def sync(self) -> None:
        """Make the names that were written so far survive a power cut."""
        sync_directory(self.directory)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; one that is gone already is as good."""
        for name in names:
            self._unlink(name)

    def _write(self, name: str, jpeg: bytes) -> None:
        path = self.directory / name
        part = path.with_name(f"{name}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        try:
            rest = memoryview(jpeg)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self._kept_bytes += len(jpeg)

    def _unlink(self, name: str) -> None:
        path = self.directory / name
        with contextlib.suppress(OSError):
            size = path.stat(follow_symlinks=False).st_size
            path.unlink()
            self._kept_bytes = max(0, self._kept_bytes - size)
