"""Remembers over a crash how many questions were in flight: a number in a file, never synced.

It survives the death of the process, which is what it is for. After a power cut it may be a little old: what
it counts is lost either way, and an fsync for each question would wear out a card.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_DIGITS = 10


class Ledger:
    """The file `in-flight` of a state directory; one small write for each change."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "in-flight"
        self._fd = -1

    def open(self) -> int:
        """Begin at nought; return how many were in flight when the last run ended."""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            left = os.pread(self._fd, _DIGITS, 0)
        except OSError:  # a disk that cannot be written: the spool says so
            return 0
        self.note(0)
        return int(left) if left.isdigit() else 0

    def note(self, in_flight: int) -> None:
        """Take down how many are in flight now."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, f"{in_flight:0{_DIGITS}d}".encode(), 0)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
