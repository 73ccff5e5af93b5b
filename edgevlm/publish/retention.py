"""Deletes a file sink's oldest results and pictures, by bytes and by age, and nothing that is not its own.

Its own are regular files named as the sink names them, in the sink's directory and its `evidence/` folder.
Which of them go is decided by a pure function. Blocks: call it in the sink's own thread.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from edgevlm.publish.evidence import FOLDER, OUR_NAME
from edgevlm.publish.journal import number_of, sync_directory

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ROOM = 0.95  # what is left of the bound after a sweep, so that not every new row needs one


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the sink."""

    day: str
    order: tuple[int, int, str]
    """Within the day: pictures before the rows that name them, then by age."""
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has done."""

    files: int = 0
    size_bytes: int = 0
    left_bytes: int = 0


def sweep(directory: Path, *, max_bytes: int | None, oldest: datetime | None, in_use: Path | None) -> Swept:
    """Delete what is over the bounds; a file that cannot be deleted is left.

    Args:
        directory: the sink's.
        max_bytes: bound for all files together.
        oldest: files whose whole day lies before this local time go.
        in_use: the file being written, which stays.

    """
    files = sorted(stored_files(directory), key=lambda file: (file.day, file.order))
    total = sum(file.size_bytes for file in files)
    deletable = [file for file in files if file.path != in_use]
    deleted = [file for file in choose(deletable, total, max_bytes, oldest) if _delete(file.path)]
    for folder in {file.path.parent for file in deleted}:
        _tidy(folder, directory)
    gone = sum(file.size_bytes for file in deleted)
    return Swept(len(deleted), gone, total - gone)


def choose(
    files: Iterable[StoredFile], total: int, max_bytes: int | None, oldest: datetime | None
) -> Iterator[StoredFile]:
    """Yield the files to delete, oldest first; `files` must come in that order."""
    bound = None if max_bytes is None or total <= max_bytes else int(max_bytes * _ROOM)
    for file in files:
        too_many = bound is not None and total > bound
        if not too_many and not _is_before(file.day, oldest):
            return
        total -= file.size_bytes
        yield file


def stored_files(directory: Path) -> Iterator[StoredFile]:
    """Yield every file of the sink, in no order."""
    for entry in _entries(directory):
        found = number_of(entry.name)
        if found is not None and entry.is_file(follow_symlinks=False):
            yield _stored(entry, found[0], (1, found[1], entry.name))
    for folder in _entries(directory / FOLDER):
        if _DAY.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
            yield from _pictures(folder)


def _pictures(folder: os.DirEntry[str]) -> Iterator[StoredFile]:
    for entry in _entries(Path(folder.path)):
        if OUR_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            yield _stored(entry, folder.name, (0, 0, entry.name))


def _stored(entry: os.DirEntry[str], day: str, order: tuple[int, int, str]) -> StoredFile:
    return StoredFile(day, order, Path(entry.path), entry.stat(follow_symlinks=False).st_size)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _is_before(day: str, oldest: datetime | None) -> bool:
    if oldest is None:
        return False
    try:
        end = date.fromisoformat(day) + timedelta(days=1)
    except (ValueError, OverflowError):  # 2026-99-99 is named like a day
        return False
    return end <= oldest.date()


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _tidy(folder: Path, directory: Path) -> None:
    """Remove a day's folder with its last picture."""
    with contextlib.suppress(OSError):
        sync_directory(folder)
        if folder != directory:
            folder.rmdir()  # fails, as it should, while there is anything in it
