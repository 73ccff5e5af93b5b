"""The spool's file: made with all its room taken, its schema, and the way over from older ones.

A file appears under its name only when it is whole: preallocated to its quota, with all tables, on the disk.
So a file without tables is a damaged one, never a half-made one. Everything blocks: call it in the spool's
own thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from edgevlm.errors import StateError
from edgevlm.publish.journal import sync_directory

PAGE_BYTES = 4096
WAL_BYTES = 2_097_152
"""Taken beforehand too: a transaction of the size that we make fits, checkpoints included."""
_AUTOCHECKPOINT_PAGES = 64
_FILLER_BYTES = 16_000_000

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY,       -- the order of acceptance
        id TEXT NOT NULL UNIQUE,
        camera TEXT NOT NULL,
        rule TEXT NOT NULL,
        kernel_boot TEXT NOT NULL,     -- with mono_ns: an age that no clock step changes
        mono_ns INTEGER NOT NULL,
        utc_ns INTEGER NOT NULL,
        synchronized INTEGER NOT NULL, -- whether utc_ns can be trusted
        files TEXT NOT NULL,           -- names in the evidence store, a JSON list
        body BLOB NOT NULL             -- the message, JSON
    );
    CREATE TABLE delivery (
        sink TEXT NOT NULL,
        dead INTEGER NOT NULL DEFAULT 0,
        camera TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES message (seq),
        error TEXT,                    -- why it is dead
        PRIMARY KEY (sink, dead, camera, seq)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_by_message ON delivery (seq);
    """,
)
"""The n-th brings schema n to schema n + 1; schema 0 is an empty file. Never change one that was released."""


def create(path: Path, max_bytes: int) -> None:
    """Make an empty spool of `max_bytes` at `path`.

    Raises:
        sqlite3.Error, OSError: there is no room, or the disk is bad.

    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as link:
            link.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            link.execute("PRAGMA journal_mode = OFF")
            link.execute("PRAGMA synchronous = OFF")
            _fill(link, max_bytes)
            _apply(link, 0, MIGRATIONS)
        _sync(part)
        part.replace(path)
    except (sqlite3.Error, OSError):
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _fill(link: sqlite3.Connection, max_bytes: int) -> None:
    """Take the room: on a full disk SQLite cannot even delete, unless all pages that it needs are there."""
    link.execute("CREATE TABLE filler (zeros BLOB)")
    for start in range(0, max_bytes, _FILLER_BYTES):
        size = min(_FILLER_BYTES, max_bytes - start)
        link.execute("INSERT INTO filler VALUES (zeroblob(?))", (max(1, size - 2 * PAGE_BYTES),))
    link.execute("DROP TABLE filler")  # its pages stay in the file, free


def connect(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the spool at `path`, its write-ahead log preallocated.

    A log of zeros is one that SQLite finds empty and writes over in place. It is not truncated, so the room
    stays taken. One connection and exclusive locking: no shared memory file, no second checkpointer.
    """
    take_room_for_log(path)
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        link.execute("PRAGMA locking_mode = EXCLUSIVE")
        link.execute("PRAGMA journal_mode = WAL")
        link.execute("PRAGMA synchronous = FULL")
        link.execute(f"PRAGMA wal_autocheckpoint = {_AUTOCHECKPOINT_PAGES}")
        link.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
        link.execute("PRAGMA foreign_keys = OFF")  # the two tables are kept in step by one module
    except sqlite3.Error:
        link.close()
        raise
    return link


def take_room_for_log(path: Path) -> None:
    """Give the write-ahead log its full size; what it holds stays as it is.

    Also after closing, when SQLite has deleted it: the room must not be gone at the next start.
    """
    with path.with_name(f"{path.name}-wal").open("ab") as log:
        os.posix_fallocate(log.fileno(), 0, WAL_BYTES)


def is_sound(link: sqlite3.Connection) -> bool:
    """Return whether the file holds what SQLite says it holds, and our tables."""
    try:
        checked = link.execute("PRAGMA quick_check(1)").fetchone()
        version = link.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as err:
        if is_damage(err):
            return False
        raise
    return bool(checked == ("ok",) and version[0] > 0)


def is_damage(err: sqlite3.Error) -> bool:
    """Return whether `err` says that the file's content is bad (not the disk, not the room)."""
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def migrate(link: sqlite3.Connection, path: Path, migrations: tuple[str, ...] = MIGRATIONS) -> int:
    """Bring the file to the newest schema in one transaction, a copy of the old one kept; return the old one.

    Raises:
        StateError: a newer edgevlm wrote it.

    """
    found: int = link.execute("PRAGMA user_version").fetchone()[0]
    if found > len(migrations):
        raise StateError(
            f"{path} was written by a newer edgevlm (schema {found}, this one knows {len(migrations)}): "
            f"install that version again, or move the file away to begin with an empty spool"
        )
    if found < len(migrations):
        _back_up(link, path.with_name(f"{path.name}.schema-{found}"))
        _apply(link, found, migrations)
    return found


def _back_up(link: sqlite3.Connection, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    link.execute("VACUUM INTO ?", (str(copy),))
    _sync(copy)


def _apply(link: sqlite3.Connection, found: int, migrations: tuple[str, ...]) -> None:
    link.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[found:]:
            for statement in _statements(script):
                link.execute(statement)
        link.execute(f"PRAGMA user_version = {len(migrations)}")
        link.execute("COMMIT")
    except sqlite3.Error:
        if link.in_transaction:
            link.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """Split at statements' ends: `executescript` would commit before it begins."""
    statements, pending = [], ""
    for line in script.splitlines():
        pending += f"{line}\n"
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)
        os.fsync(fd)
    finally:
        os.close(fd)
