"""The spool's rows: what is put, settled, read, dropped; one transaction for each batch of it.

Invariants:
- `apply` returns after its one COMMIT, with everything of the batch in it; or raises, and nothing counts.
- After a failed write or fsync the handle is closed. The file is opened anew, checked, and all that its log
  holds written again, before anything counts as committed: an operating system may say "written" the second
  time about pages that it has thrown away (https://wiki.postgresql.org/wiki/Fsync_Errors).
- Nothing that is under way to a receiver is dropped, so that each message is counted under one end only.

Everything blocks and belongs to the spool's own thread, save `lease` and `release`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edgevlm.errors import StateError
from edgevlm.publish import spool_letters, spool_schema
from edgevlm.publish.evidence_store import EvidenceStore
from edgevlm.publish.sink import Evidence, Message
from edgevlm.publish.spool_age import Age, Stamp
from edgevlm.publish.spool_file import SpoolFile, SpoolTrouble, words_of
from edgevlm.publish.spool_leases import Leases
from edgevlm.publish.spool_row import Spooled, pack, unpack
from edgevlm.publish.spool_schema import PAGE_BYTES

_RESERVE_PAGES = 32  # what deleting and splitting may need
_ROW_PAGES = 4  # indexes and tables, beside the body
_LOOK_AT = 1
_PAGE_OF_ROWS_BYTES = 262_144

T = TypeVar("T")
Place = tuple[str, str]
"""Sink, camera."""


_FAILURES = (sqlite3.Error, OSError, SpoolTrouble)


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much the spool may hold."""

    max_bytes: int = 64_000_000
    max_age_secs: float | None = 30 * 86_400.0
    max_evidence_bytes: int = 500_000_000
    min_free_bytes: int = 50_000_000
    """Pictures are not kept when the disk has less left."""


@dataclass(frozen=True, slots=True)
class Put:
    """A message to accept."""

    message: Message
    sinks: tuple[str, ...]
    keep_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of one delivery: confirmed, or refused for good."""

    sink: str
    camera: str
    seq: int
    error: str | None = None


@dataclass(slots=True)
class Outcome:
    """What a transaction has done."""

    spooled: list[Spooled] = field(default_factory=list)
    """One for each put, in their order."""
    dropped: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(reason, sink, camera) → deliveries that were still waiting."""
    dropped_dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reason, sink) → dead letters."""
    gone: list[int] = field(default_factory=list)
    """The messages that were dropped; the leases remember them until `forget`."""
    pictures_refused: int = 0
    """Messages whose pictures could not be kept."""
    set_aside: Path | None = None
    """Where a damaged file went, if this batch found one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found at the start."""

    waiting: dict[Place, int]
    dead: dict[str, int]
    set_aside: Path | None
    orphans: int
    migrated_from: int | None


class SpoolStore:
    """Owns the database and the evidence store in `directory`."""

    def __init__(
        self,
        directory: Path,
        limits: SpoolLimits,
        age: Age,
        *,
        migrations: tuple[str, ...] = spool_schema.MIGRATIONS,
    ) -> None:
        self._file = SpoolFile(directory, limits.max_bytes, age, migrations)
        self.path = self._file.path
        self.evidence = EvidenceStore(
            directory / "evidence",
            max_bytes=limits.max_evidence_bytes,
            min_free_bytes=limits.min_free_bytes,
        )
        self.leases = Leases()
        self._limits = limits
        self._age = age
        self._next_seq = 1

    # --- life -------------------------------------------------------------------------------------------

    def open(self) -> Opened:
        """Open the file and the evidence store.

        Raises:
            StateError: a newer edgevlm wrote it.
            SpoolTrouble: the disk is full, read-only or broken.

        """
        self._file.open()
        try:
            self._find_next_seq()
            orphans = self.evidence.open(self._files())
            waiting, dead = self._waiting(), self._dead()
        except (sqlite3.Error, OSError) as err:
            self.close()
            raise SpoolTrouble(words_of(err)) from err
        return Opened(waiting, dead, self._file.take_set_aside(), orphans, self._file.migrated_from)

    def close(self) -> None:
        """Write the log back and close."""
        self._file.close()

    def _reopen(self) -> None:
        """Close the handle, open the file anew and check it, before anything counts again."""
        self._file.close()
        try:
            self._file.open()
            self._find_next_seq()
        except (sqlite3.Error, OSError, StateError) as err:
            self._file.close()
            raise SpoolTrouble(words_of(err)) from err

    def _find_next_seq(self) -> None:
        newest = self._db.execute("SELECT max(seq) FROM message").fetchone()[0]
        self._next_seq = max(self._next_seq, (newest or 0) + 1)

    @property
    def _db(self) -> sqlite3.Connection:
        return self._file.db

    # --- the writer's work ------------------------------------------------------------------------------

    def apply(self, puts: Sequence[Put], settled: Sequence[Settled]) -> Outcome:
        """Commit everything in one transaction.

        Raises:
            SpoolTrouble: nothing of it counts.

        """
        files, refused = self._keep_evidence(puts)
        outcome = self._tried_twice(partial(self._transact, puts, files, settled))
        outcome.pictures_refused = refused
        outcome.set_aside = self._file.take_set_aside()
        return outcome

    def _tried_twice(self, work: Callable[[Outcome], T]) -> T:
        """Do `work`; after a failure once more, on a file opened anew and checked."""
        outcome = Outcome()
        try:
            return work(outcome)
        except _FAILURES:
            self.leases.forget(outcome.gone)
            self._reopen()
        outcome = Outcome()
        try:
            return work(outcome)
        except _FAILURES as err:
            self.leases.forget(outcome.gone)
            self.close()
            raise SpoolTrouble(words_of(err)) from err

    def _transact(
        self,
        puts: Sequence[Put],
        files: Sequence[tuple[str, ...]],
        settled: Sequence[Settled],
        outcome: Outcome,
    ) -> Outcome:
        unneeded: list[str] = []
        self._db.execute("BEGIN IMMEDIATE")
        for each in settled:
            unneeded += self._settle(each)
        stamp = self._age.now()
        for put, names in zip(puts, files, strict=True):
            body = pack(put.message, names)
            unneeded += self._make_room(len(body), outcome)
            outcome.spooled.append(self._insert(put, names, body, stamp))
        self._db.execute("COMMIT")
        self.evidence.remove(unneeded)
        return outcome

    def _insert(self, put: Put, names: tuple[str, ...], body: bytes, stamp: Stamp) -> Spooled:
        message = replace(put.message, evidence=self._references(names))
        if len(body) > self._limits.max_bytes // 4:
            return Spooled(message, None)
        row = (self._next_seq, message.id, message.camera, message.rule, *stamp.columns(), json.dumps(names))
        cursor = self._db.execute("INSERT OR IGNORE INTO message VALUES (?,?,?,?,?,?,?,?,?,?)", (*row, body))
        seq = self._next_seq
        if cursor.rowcount == 0:  # the commit that failed had arrived after all
            seq = self._db.execute("SELECT seq FROM message WHERE id = ?", (message.id,)).fetchone()[0]
        self._next_seq = max(self._next_seq, seq + 1)
        self._db.executemany(
            "INSERT OR IGNORE INTO delivery (sink, camera, seq) VALUES (?,?,?)",
            [(sink, message.camera, seq) for sink in put.sinks],
        )
        return Spooled(message, seq)

    def _settle(self, each: Settled) -> list[str]:
        """End one delivery; return the files that nobody needs any more."""
        where = "WHERE sink = ? AND dead = 0 AND camera = ? AND seq = ?"
        which = (each.sink, each.camera, each.seq)
        if each.error is not None:
            self._db.execute(f"UPDATE delivery SET dead = 1, error = ? {where}", (each.error[:1000], *which))  # noqa: S608 - a constant
            return []
        self._db.execute(f"DELETE FROM delivery {where}", which)  # noqa: S608 - a constant
        return self._forget(each.seq)

    def _forget(self, seq: int) -> list[str]:
        """Delete a message that no delivery needs; return its files."""
        unneeded = self._db.execute(
            "DELETE FROM message WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = ?1)"
            " RETURNING files",
            (seq,),
        ).fetchall()
        return [name for (names,) in unneeded for name in json.loads(names)]

    # --- evidence ---------------------------------------------------------------------------------------

    def _keep_evidence(self, puts: Sequence[Put]) -> tuple[list[tuple[str, ...]], int]:
        """Write the pictures first; return their names for each put, and how many messages go without."""
        files: list[tuple[str, ...]] = []
        refused = 0
        for put in puts:
            names = self._kept(put) if put.keep_evidence and put.message.evidence else ()
            refused += names is None or (bool(names) and len(names) < len(put.message.evidence))
            files.append(names or ())
        if any(files):
            self.evidence.sync()
        return files, refused

    def _kept(self, put: Put) -> tuple[str, ...] | None:
        """Return the names; without the clip where only the pictures have room, None where they have none."""
        message = put.message
        if message.clip is not None and not self.evidence.has_room_for(message):
            message = replace(message, evidence=message.pictures)
        try:
            return self.evidence.keep(message) if self.evidence.has_room_for(message) else None
        except (OSError, ValueError):
            return None

    def _references(self, names: tuple[str, ...]) -> tuple[Evidence, ...]:
        return tuple(Evidence(path=self.evidence.directory / name) for name in names)

    def _files(self) -> list[str]:
        rows = self._db.execute("SELECT files FROM message WHERE files != '[]'")
        return [name for (names,) in rows for name in json.loads(names)]

    # --- bounds -----------------------------------------------------------------------------------------

    def _make_room(self, body_bytes: int, outcome: Outcome) -> list[str]:
        """Drop the oldest messages until a body fits; return the files that nobody needs any more."""
        needed = body_bytes // PAGE_BYTES + _ROW_PAGES + _RESERVE_PAGES
        unneeded: list[str] = []
        while self._file.free_pages() < needed:
            look_at = self.leases.under_way() + _LOOK_AT
            rows = self._db.execute("SELECT seq FROM message ORDER BY seq LIMIT ?", (look_at,))
            victims = self.leases.pick([seq for (seq,) in rows], 1)
            if not victims:
                raise SpoolTrouble("the spool is full of messages that are under way")
            for seq in victims:
                unneeded += self._drop(seq, "spool_full", outcome)
        return unneeded

    def _drop(self, seq: int, reason: str, outcome: Outcome) -> list[str]:
        outcome.gone.append(seq)
        rows = self._db.execute("DELETE FROM delivery WHERE seq = ? RETURNING sink, camera, dead", (seq,))
        for sink, camera, dead in rows.fetchall():
            if dead:
                outcome.dropped_dead[reason, sink] += 1
            else:
                outcome.dropped[reason, sink, camera] += 1
        return self._forget(seq)

    def sweep(self) -> Outcome:
        """Drop what is too old, where its age is known.

        Raises:
            SpoolTrouble: nothing was dropped.

        """
        if self._limits.max_age_secs is None:
            return Outcome()
        limit_secs = self._limits.max_age_secs
        return self._tried_twice(partial(self._drop_older_than, limit_secs))

    def _drop_older_than(self, limit_secs: float, outcome: Outcome) -> Outcome:
        unneeded: list[str] = []
        now = self._age.now()
        self._db.execute("BEGIN IMMEDIATE")
        rows = self._db.execute("SELECT seq, kernel_boot, mono_ns, utc_ns, synchronized FROM message")
        too_old = [seq for seq, *stamp in rows if (now.secs_since(Stamp(*stamp)) or 0.0) > limit_secs]
        for seq in self.leases.pick(too_old):
            unneeded += self._drop(seq, "spool_age", outcome)
        self._db.execute("COMMIT")
        self.evidence.remove(unneeded)
        return outcome

    # --- reading ----------------------------------------------------------------------------------------

    def page(self, sink: str, camera: str, after_seq: int, limit: int) -> tuple[list[Spooled], bool]:
        """Return the oldest messages that wait after `after_seq`, and whether there are more.

        Raises:
            SpoolTrouble: nothing can be read.

        """
        return self._tried_twice(lambda _: self._page(sink, camera, after_seq, limit))

    def _page(self, sink: str, camera: str, after_seq: int, limit: int) -> tuple[list[Spooled], bool]:
        rows = self._db.execute(
            "SELECT seq, body FROM delivery JOIN message USING (seq)"
            " WHERE sink = ? AND dead = 0 AND delivery.camera = ? AND seq > ? ORDER BY seq LIMIT ?",
            (sink, camera, after_seq, limit),
        )
        page: list[Spooled] = []
        unreadable: list[Settled] = []
        size = count = 0
        for seq, body in rows:
            if page and size + len(body) > _PAGE_OF_ROWS_BYTES:
                count = limit
                break
            try:
                page.append(Spooled(unpack(body, self.evidence.directory), seq))
            except (ValueError, KeyError, TypeError):
                unreadable.append(Settled(sink, camera, seq, "its row in the spool cannot be read"))
            size += len(body)
            count += 1
        for each in unreadable:
            self._settle(each)  # in a transaction of its own; left there it would stop the camera's queue
        return page, count == limit

    def _waiting(self) -> dict[Place, int]:
        rows = self._db.execute("SELECT sink, camera, count(*) FROM delivery WHERE dead = 0 GROUP BY 1, 2")
        return {(sink, camera): count for sink, camera, count in rows}

    def _dead(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT sink, count(*) FROM delivery WHERE dead = 1 GROUP BY sink"))

    # --- what an operator asks for ----------------------------------------------------------------------

    def counts(self) -> tuple[dict[Place, int], dict[str, int]]:
        """Return how many wait for each sink and camera, and each sink's dead letters."""
        return self._tried_twice(lambda _: (self._waiting(), self._dead()))

    def dead_letters(self, sink: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest dead letters, the newest first."""
        return self._tried_twice(lambda _: spool_letters.newest(self._db, sink, limit))

    def revive(self, sink: str | None, id_: str | None) -> int:
        """Let dead letters wait again; return how many."""
        return self._tried_twice(lambda _: spool_letters.revive(self._db, sink, id_))

    def discard(self, sink: str | None, id_: str | None, *, waiting: bool) -> int:
        """Delete dead letters, or what waits; return how many."""
        count, unneeded = self._tried_twice(
            lambda _: spool_letters.discard(self._db, sink, id_, waiting=waiting)
        )
        self.evidence.remove(unneeded)
        return count
