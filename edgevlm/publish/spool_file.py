"""The spool's file: opened, found damaged, set aside, made anew; its rows are `spool_store`'s business.

Everything blocks and belongs to the spool's own thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from edgevlm.errors import StateError
from edgevlm.publish import spool_schema
from edgevlm.publish.result import rfc3339
from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_schema import PAGE_BYTES

FILE_NAME = "spool.db"
_KEPT_SET_ASIDE = 2


class SpoolTrouble(StateError):
    """Nothing can be stored now; the message says why."""


class SpoolFile:
    """Owns the one connection."""

    def __init__(self, directory: Path, max_bytes: int, age: Age, migrations: tuple[str, ...]) -> None:
        self.path = directory / FILE_NAME
        self.migrated_from: int | None = None
        """The schema that was found, where it was an older one."""
        self.set_aside: Path | None = None
        """Where a damaged file went, until `take_set_aside`."""
        self._max_bytes = max_bytes
        self._age = age
        self._migrations = migrations
        self._link: sqlite3.Connection | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection.

        Raises:
            SpoolTrouble: there is none.

        """
        if self._link is None:
            raise SpoolTrouble("the spool is not open")
        return self._link

    def pragma(self, name: str) -> int:
        """Return a number that SQLite knows of the file."""
        value: int = self.db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def free_pages(self) -> int:
        """Return how many pages are still to be used."""
        return self.pragma("freelist_count") + self.pragma("max_page_count") - self.pragma("page_count")

    def take_set_aside(self) -> Path | None:
        """Return where a damaged file went, once."""
        path, self.set_aside = self.set_aside, None
        return path

    def close(self) -> None:
        """Write the log back and close."""
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                link.close()
                spool_schema.take_room_for_log(self.path)

    def open(self) -> None:
        """Open the file, or begin a new one where there is none or a damaged one.

        Raises:
            StateError: a newer edgevlm wrote it.
            SpoolTrouble: the disk is full, read-only or broken.

        """
        try:
            self._open()
        except (sqlite3.Error, OSError) as err:
            self.close()
            raise SpoolTrouble(words_of(err)) from err
        except StateError:
            self.close()
            raise

    def _open(self) -> None:
        if not self.path.exists():
            self._create()
        try:
            self._link = self._connect()
        except sqlite3.DatabaseError as err:
            if not spool_schema.is_damage(err):
                raise
            self._begin_anew()
        found = spool_schema.migrate(self.db, self.path, self._migrations)
        self.migrated_from = found if found < len(self._migrations) else None
        self._fit()
        self.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def _connect(self) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise _damaged()
        link = spool_schema.connect(self.path, self._max_bytes)
        try:
            if spool_schema.is_sound(link):
                return link
        except sqlite3.Error:
            link.close()
            raise
        link.close()
        raise _damaged()

    def _begin_anew(self) -> None:
        """Set the damaged file aside for whoever wants to look into it, and make a new one."""
        stamp = rfc3339(self._age.now().utc_ns).replace(":", "").replace(".", "")
        aside = self.path.with_name(f"spool.corrupt-{stamp}")
        for ending in ("-wal", "-shm", ""):
            source = self.path.with_name(self.path.name + ending)
            if source.exists():
                source.replace(aside.with_name(aside.name + ending))
        self.set_aside = aside
        for older in sorted(self.path.parent.glob("spool.corrupt-*Z"))[:-_KEPT_SET_ASIDE]:
            for part in self.path.parent.glob(f"{older.name}*"):
                part.unlink()
        self._create()
        self._link = self._connect()

    def _create(self) -> None:
        for ending in ("-wal", "-shm"):  # of a file that is gone: it would be read into the new one
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        free = os.statvfs(self.path.parent)
        if free.f_bavail * free.f_frsize < self._max_bytes + spool_schema.WAL_BYTES:
            # Not found out by filling the disk up, every few seconds.
            raise OSError(errno.ENOSPC, "no room for a new spool", str(self.path))
        spool_schema.create(self.path, self._max_bytes)

    def _fit(self) -> None:
        """Make an empty spool anew when its quota was changed; a full one is left as it is."""
        pages = self.pragma("page_count")
        wanted = self._max_bytes // PAGE_BYTES
        if abs(pages - wanted) <= 16 + wanted // 100 or self.db.execute("SELECT 1 FROM message").fetchone():
            return
        self.close()
        self.path.unlink()
        self._create()
        self._link = self._connect()


def _damaged() -> sqlite3.DatabaseError:
    err = sqlite3.DatabaseError("the file's content is damaged")
    err.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return err


def words_of(err: Exception) -> str:
    """Return what went wrong with the disk or the file, for people."""
    if isinstance(err, OSError):
        return f"{err.filename or 'disk'}: {err.strerror or err}"
    name = getattr(err, "sqlite_errorname", None)
    return f"{err} ({name})" if name else str(err)
