"""Appends lines to `DIRECTORY/YYYY-MM-DD[.n].jsonl`; a power cut costs at most the line being written.

Invariants:
- A line is one write and one fsync; `append` returns when it is on the disk.
- A file ends with a whole line: what a crash or a full disk left behind is cut off before anything is added.
- A new file's name is on the disk before its first line counts.

Everything blocks: call it in the sink's own thread. Only one process may write to a directory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from pathlib import Path

_NUMBER = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.(\d{1,6}))?\.jsonl")
_CHUNK_BYTES = 65_536
_MODE = 0o640


class Journal:
    """The file that is written to now."""

    def __init__(self, directory: Path, max_file_bytes: int) -> None:
        self._directory = directory
        self._max_file_bytes = max_file_bytes
        self._fd = -1
        self._day = ""
        self._number = 0
        self._size = 0
        self.path: Path | None = None
        """The file in use."""

    def append(self, day: str, line: bytes) -> int:
        """Write `line` (with its newline) to the file of `day`; return how many torn bytes were cut off.

        Raises:
            OSError: nothing of the line counts; it may be tried again.

        """
        try:
            torn = self._prepare(day, len(line))
            self._write(line)
        except OSError:
            self.close()  # the next try begins with a new look at the file
            raise
        return torn

    def close(self) -> None:
        """Close the file."""
        fd, self._fd, self.path = self._fd, -1, None
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _prepare(self, day: str, more_bytes: int) -> int:
        torn = 0
        if self._fd < 0 or day != self._day:
            torn = self._open(day, newest_number(self._directory, day))
        if self._size and self._size + more_bytes > self._max_file_bytes:
            torn += self._open(day, self._number + 1)
        return torn

    def _open(self, day: str, number: int) -> int:
        """Open a file for appending; return how many torn bytes were cut off."""
        self.close()
        self.path = self._directory / file_name(day, number)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, _MODE)
        self._day, self._number = day, number
        sync_directory(self._directory)
        torn = cut_torn_tail(self._fd)
        self._size = os.fstat(self._fd).st_size
        return torn

    def _write(self, line: bytes) -> None:
        try:
            _write_whole(self._fd, line)
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):  # take back what may have been written
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)


def _write_whole(fd: int, line: bytes) -> None:
    if os.write(fd, line) != len(line):  # the disk filled up half-way
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def file_name(day: str, number: int) -> str:
    """Return the name of a day's n-th file."""
    return f"{day}.{number}.jsonl" if number else f"{day}.jsonl"


def number_of(name: str) -> tuple[str, int] | None:
    """Return day and number of a file that is named as ours are, None for others."""
    match = _NUMBER.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match else None


def newest_number(directory: Path, day: str) -> int:
    """Return the highest number that a file of `day` has; 0 when there is none."""
    numbers = [number_of(path.name) for path in directory.glob(f"{day}*.jsonl")]
    return max((found[1] for found in numbers if found and found[0] == day), default=0)


def cut_torn_tail(fd: int) -> int:
    """Cut the open file after its last whole line; return how many bytes went.

    Whole is what ends with a newline and is JSON: a power cut may leave zeros of the right length.
    """
    size = end = os.fstat(fd).st_size
    while end:
        start = _line_start(fd, end)
        if _is_whole(os.pread(fd, end - start, start)):
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
        os.fsync(fd)
    return size - end


def _line_start(fd: int, end: int) -> int:
    """Return where the line that ends at `end` begins: after the newline before it."""
    position = end - 1
    while position > 0:
        start = max(0, position - _CHUNK_BYTES)
        found = os.pread(fd, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
