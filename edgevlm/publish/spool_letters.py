"""What an operator does with deliveries by hand: sees, retries, deletes; each in one transaction.

Everything blocks and belongs to the spool's own thread.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from edgevlm.publish.result import rfc3339

_WHICH = (
    "dead = ? AND sink = coalesce(?, sink) AND (? IS NULL OR seq = (SELECT seq FROM message WHERE id = ?))"
)


def newest(db: sqlite3.Connection, sink: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest dead letters, the newest first."""
    rows = db.execute(
        "SELECT sink, message.camera, rule, id, utc_ns, synchronized, error"
        " FROM delivery JOIN message USING (seq)"
        " WHERE dead = 1 AND sink = coalesce(?, sink) ORDER BY seq DESC LIMIT ?",
        (sink, limit),
    )
    return [
        {
            "sink": name,
            "camera": camera,
            "rule": rule,
            "id": id_,
            "accepted_at": rfc3339(utc_ns),
            "clock": "synchronized" if synchronized else "unsynchronized",
            "error": error,
        }
        for name, camera, rule, id_, utc_ns, synchronized, error in rows
    ]


def revive(db: sqlite3.Connection, sink: str | None, id_: str | None) -> int:
    """Let dead letters wait again; return how many."""
    what = f"UPDATE delivery SET dead = 0, error = NULL WHERE {_WHICH}"  # noqa: S608 - a constant
    return db.execute(what, (1, sink, id_, id_)).rowcount


def discard(
    db: sqlite3.Connection, sink: str | None, id_: str | None, *, waiting: bool
) -> tuple[int, list[str]]:
    """Delete dead letters, or what waits; return how many, and the files that nobody needs any more."""
    db.execute("BEGIN IMMEDIATE")
    what = f"DELETE FROM delivery WHERE {_WHICH}"  # noqa: S608 - a constant
    count = db.execute(what, (int(not waiting), sink, id_, id_)).rowcount
    rows = db.execute(
        "DELETE FROM message WHERE seq NOT IN (SELECT seq FROM delivery) RETURNING files"
    ).fetchall()
    db.execute("COMMIT")
    return count, [name for (names,) in rows for name in json.loads(names)]
