"""Keeps what was asked about: `evidence/YYYY-MM-DD/ID[-k].jpg` and `ID.mp4` below the sink's directory.

A picture or clip is on the disk, under its name, before the row that names it is written. Blocks: call it in
the sink's own thread.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgevlm.publish.journal import sync_directory
from edgevlm.publish.sink import CLIP_SUFFIX, PICTURE_SUFFIX, Evidence

FOLDER = "evidence"
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}-[0-9]{12,20}")
OUR_NAME = re.compile(rf"{SAFE_ID.pattern}(-[0-9]{{1,3}})?\.(jpg|mp4)(\.part)?")
"""A picture, a clip, or what a crash left of one."""

_MODE = 0o640
_FOLDER_MODE = 0o750


def picture_path(day: str, message_id: str, index: int) -> str:
    """Return where the `index`-th picture of a message lies, relative to the sink's directory.

    Raises:
        ValueError: the id cannot be a file name.

    """
    return f"{_stem(day, message_id)}{f'-{index}' if index else ''}{PICTURE_SUFFIX}"


def clip_path(day: str, message_id: str) -> str:
    """Return where the clip of a message lies, relative to the sink's directory.

    Raises:
        ValueError: the id cannot be a file name.

    """
    return f"{_stem(day, message_id)}{CLIP_SUFFIX}"


def _stem(day: str, message_id: str) -> str:
    if not SAFE_ID.fullmatch(message_id):
        raise ValueError(f"not an id that can name a file: {message_id[:100]!r}")
    return f"{FOLDER}/{day}/{message_id}"


def keep_evidence(directory: Path, relative: str, evidence: Evidence) -> int:
    """Link or write a picture or clip so that its name never stands for half of it; return its size.

    The same again changes nothing.
    """
    path = directory / relative
    _make_folder(directory, path.parent)
    part = path.with_name(f"{path.name}.part")
    if not _linked(evidence.path, part):
        _write(part, evidence.read())
    part.replace(path)
    part.unlink(missing_ok=True)  # two names of one file: rename does nothing then
    sync_directory(path.parent)
    return path.stat().st_size


def _linked(source: Path | None, part: Path) -> bool:
    """Give the evidence store's file, which is on the disk already, another name; return whether it works."""
    if source is None:
        return False
    part.unlink(missing_ok=True)
    try:
        os.link(source, part, follow_symlinks=False)
    except OSError:  # on another disk, without links, or gone: reading it tells which
        return False
    return True


def _write(part: Path, content: bytes) -> None:
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        _write_all(fd, content)
        os.fsync(fd)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _make_folder(directory: Path, folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    sync_directory(folder.parent)
    sync_directory(directory)


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]
