"""The state directory: where it is, and that only one daemon uses it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgevlm.errors import StateError


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return systemd's `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/edgevlm`, else `~/.local/state/edgevlm`."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local" / "state")
    return Path(base) / "edgevlm"


@contextmanager
def locked(directory: Path) -> Iterator[Path]:
    """Create `directory` for us alone and hold its lock.

    Raises:
        StateError: it cannot be written to, or another daemon holds it.

    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"state directory {directory}: {error.strerror}; name another by STATE_DIRECTORY"
        ) from None
    try:
        _lock(lock, directory)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield directory
    finally:
        os.close(lock)


def _lock(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 32, 0).decode(errors="replace") or "unknown"
        raise StateError(
            f"state directory {directory} is in use by another edgevlm (process {holder})"
        ) from None
