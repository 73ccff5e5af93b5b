"""The spool's rows: against a list as a model, and against damage, full disks, old and new schemas."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgevlm.errors import StateError
from edgevlm.publish import spool_schema
from edgevlm.publish.sink import Message
from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_file import SpoolTrouble
from edgevlm.publish.spool_row import Spooled
from edgevlm.publish.spool_store import Outcome, Put, Settled, SpoolLimits, SpoolStore
from edgevlm.runtime.timesync import ClockState
from tests.fakes.clock import FakeClock
from tests.publish.answers import message, picture
from tests.publish.spools import SMALL, store

DATA = Path(__file__).parents[1] / "data" / "spool"
SINKS = ("broker", "files")


def put(store: SpoolStore, *messages: Message, sinks: tuple[str, ...] = ("broker",)) -> list[int]:
    outcome = store.apply([Put(each, sinks, keep_evidence=True) for each in messages], [])
    store.leases.forget(outcome.gone)
    return [spooled.seq for spooled in outcome.spooled if spooled.seq is not None]


def end(store: SpoolStore, seq: int, sink: str = "broker", error: str | None = None) -> Outcome:
    return store.apply([], [Settled(sink, "dock", seq, error)])


def waiting(store: SpoolStore, sink: str = "broker", camera: str = "dock") -> list[str]:
    found: list[Spooled] = []
    more = True
    while more:
        page, more = store.page(sink, camera, (found[-1].seq or 0) if found else 0, 50)
        found += page
    return [spooled.message.id for spooled in found]


@pytest.fixture
def rows(tmp_path: Path, clock: FakeClock) -> Any:
    opened = store(tmp_path, clock)
    opened.open()
    yield opened
    opened.close()


class SpoolMachine(RuleBasedStateMachine):
    """Every committed message waits for each of its sinks, in order, whatever crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp(prefix="spool-"))
        self.number = 0
        self.count = 0
        self.waiting: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.dead: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()  # id → sinks that still need it
        self.store = self._open()

    def _open(self) -> SpoolStore:
        opened = store(self.root / str(self.number), FakeClock())
        found = opened.open()
        assert found.waiting == {place: len(rows) for place, rows in self.waiting.items() if rows}
        assert found.dead == +self.dead
        assert found.set_aside is None
        return opened

    @rule(camera=st.sampled_from("ab"), sinks=st.sampled_from([("broker",), ("files",), SINKS]))
    def put(self, camera: str, sinks: tuple[str, ...]) -> None:
        self.count += 1
        each = message(self.count, camera=camera, pictures=(picture(b"jpeg %d" % self.count),))
        (seq,) = put(self.store, each, sinks=sinks)
        for sink in sinks:
            self.waiting.setdefault((sink, camera), []).append((seq, each.id))
        self.pictures[each.id] += len(sinks)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(choice=st.randoms(use_true_random=False), refused=st.booleans(), crash=st.booleans())
    def end_the_oldest(self, choice: Any, refused: bool, crash: bool) -> None:
        place = choice.choice([place for place, rows in sorted(self.waiting.items()) if rows])
        seq, id_ = self.waiting[place][0]
        assert self.store.leases.take(seq)
        if crash:  # under way, and nobody knows whether it arrived
            self.crash()
            return
        self.store.apply([], [Settled(place[0], place[1], seq, "no" if refused else None)])
        self.store.leases.release(seq)
        self.waiting[place].pop(0)
        self.dead[place[0]] += refused
        self.pictures[id_] -= not refused

    @precondition(lambda self: self.dead.total() > 0)
    @rule(retry=st.booleans())
    def by_hand(self, retry: bool) -> None:
        letters = self.store.dead_letters()
        if retry:
            assert self.store.revive(None, None) == sum(self.dead.values())
            for letter in letters:
                seqs = dict(self.store._db.execute("SELECT id, seq FROM message"))
                queue = self.waiting.setdefault((letter["sink"], letter["camera"]), [])
                queue.append((seqs[letter["id"]], letter["id"]))
                queue.sort()
        else:
            assert sum(self.store.discard(sink, None, waiting=False) for sink in SINKS) == len(letters)
            self.pictures.subtract(letter["id"] for letter in letters)
        self.dead.clear()

    @rule()
    def crash(self) -> None:
        """Begin again with the files as they are now, as after SIGKILL."""
        before = self.root / str(self.number)
        self.number += 1
        shutil.copytree(before, self.root / str(self.number))
        self.store.close()
        self.store = self._open()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self._open()

    @invariant()
    def what_waits_is_what_was_accepted_in_order(self) -> None:
        for (sink, camera), rows in self.waiting.items():
            page, more = self.store.page(sink, camera, 0, 1000)
            assert [(spooled.seq, spooled.message.id) for spooled in page] == rows
            assert not more
            for spooled in page:
                assert spooled.message.evidence[0].read() == b"jpeg %d" % spooled.message.document["seq"]

    @invariant()
    def pictures_live_as_long_as_their_messages(self) -> None:
        kept = {path.name.removesuffix("-0.jpg") for path in self.store.evidence.directory.iterdir()}
        assert kept == {id_ for id_, needed in self.pictures.items() if needed}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


# --- bounds ---------------------------------------------------------------------------------------------


def test_the_file_has_its_whole_size_from_the_beginning_and_never_grows(rows: SpoolStore) -> None:
    def sizes() -> list[int]:
        return [rows.path.stat().st_size, rows.path.with_name("spool.db-wal").stat().st_size]

    before = sizes()
    assert before[0] >= SMALL.max_bytes * 0.97
    for start in range(0, 300, 30):
        put(rows, *(message(number, raw="x" * 5000) for number in range(start, start + 30)))
    assert sizes() == before


def test_a_full_spool_drops_the_oldest_for_all_sinks_and_counts_each(rows: SpoolStore) -> None:
    dropped: Counter[tuple[str, str, str]] = Counter()
    for start in range(0, 400, 8):
        puts = [Put(message(number, raw="x" * 5000), SINKS) for number in range(start, start + 8)]
        outcome = rows.apply(puts, [])
        rows.leases.forget(outcome.gone)
        dropped += outcome.dropped
    left = waiting(rows)
    assert left == [message(number).id for number in range(400 - len(left), 400)]
    assert dropped == {("spool_full", sink, "dock"): 400 - len(left) for sink in SINKS}


def test_what_is_under_way_is_not_dropped(rows: SpoolStore) -> None:
    (first,) = put(rows, message(0))
    assert rows.leases.take(first)
    for start in range(1, 301, 30):
        put(rows, *(message(number, raw="x" * 5000) for number in range(start, start + 30)))
    assert waiting(rows)[0] == message(0).id
    assert waiting(rows)[1] != message(1).id


def test_a_message_that_was_picked_to_be_dropped_can_no_longer_leave(rows: SpoolStore) -> None:
    seqs = put(rows, message(1), message(2))
    assert rows.leases.pick(seqs, 1) == seqs[:1]
    assert [rows.leases.take(seq) for seq in seqs] == [False, True]


def test_pictures_stop_at_their_bound_and_answers_go_on(tmp_path: Path, clock: FakeClock) -> None:
    limits = SpoolLimits(max_bytes=1_000_000, max_evidence_bytes=100_000, min_free_bytes=0)
    opened = store(tmp_path, clock, limits)
    opened.open()
    puts = [
        Put(message(number, pictures=(picture(b"x" * 40_000),)), ("broker",), keep_evidence=True)
        for number in range(4)
    ]
    outcome = opened.apply(puts, [])
    assert outcome.pictures_refused == 2
    assert [len(spooled.message.evidence) for spooled in outcome.spooled] == [1, 1, 0, 0]
    end(opened, 1)
    assert opened.apply([puts[3]], []).pictures_refused == 0, "the room of a delivered picture is free again"
    opened.close()


def test_pictures_are_kept_once_and_go_with_the_last_sink(rows: SpoolStore) -> None:
    (seq,) = put(rows, message(1, pictures=(picture(b"one"), picture(b"two"))), sinks=SINKS)
    names = [f"{message(1).id}-0.jpg", f"{message(1).id}-1.jpg"]
    assert sorted(path.name for path in rows.evidence.directory.iterdir()) == names
    end(rows, seq, "broker")
    assert len(list(rows.evidence.directory.iterdir())) == 2
    end(rows, seq, "files")
    assert list(rows.evidence.directory.iterdir()) == []


def test_orphans_of_a_crash_are_removed_at_the_next_start(tmp_path: Path, clock: FakeClock) -> None:
    opened = store(tmp_path, clock)
    opened.open()
    put(opened, message(1))
    opened.close()
    (tmp_path / "evidence" / f"{message(2).id}-0.jpg").write_bytes(b"committed never")
    (tmp_path / "evidence" / f"{message(3).id}-0.jpg.part").write_bytes(b"hal")
    assert opened.open().orphans == 2
    assert [path.name for path in opened.evidence.directory.iterdir()] == [f"{message(1).id}-0.jpg"]
    opened.close()


# --- age ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boot", "trusted", "step_secs", "dropped"),
    [
        ("boot-1", True, 0, 0),
        ("boot-1", False, 3600 * 24 * 3650, 0),  # the clock was set: within a boot it does not matter
        ("boot-1", True, -3600 * 24 * 3650, 0),
        ("boot-2", True, 3600 * 24 * 31, 1),
        ("boot-2", False, 3600 * 24 * 3650, 0),  # nobody knows how old it is
        ("boot-2", True, -3600, 0),
    ],
)
def test_only_a_known_age_drops(
    tmp_path: Path, clock: FakeClock, boot: str, trusted: bool, step_secs: float, dropped: int
) -> None:
    opened = store(tmp_path, clock)
    opened.open()
    put(opened, message(1))
    opened.close()
    clock.step_utc(step_secs)
    state: ClockState = "synchronized" if trusted else "unsynchronized"
    later = store(tmp_path, clock, age=Age(clock, kernel_boot=boot, clock_state=lambda: state))
    later.open()
    assert later.sweep().dropped.total() == dropped
    later.close()


async def test_within_a_boot_the_monotonic_clock_tells_the_age(tmp_path: Path, clock: FakeClock) -> None:
    opened = store(tmp_path, clock)
    opened.open()
    put(opened, message(1))
    await clock.advance(29 * 86_400)
    put(opened, message(2))
    await clock.advance(2 * 86_400)
    assert opened.sweep().dropped == {("spool_age", "broker", "dock"): 1}
    assert waiting(opened) == [message(2).id]
    opened.close()


# --- damage ---------------------------------------------------------------------------------------------


def _filled(directory: Path, clock: FakeClock, count: int = 60) -> SpoolStore:
    opened = store(directory, clock)
    opened.open()
    for number in range(count):
        put(opened, message(number, raw="x" * 3000))
    return opened


def _crash(opened: SpoolStore, to: Path) -> None:
    """Leave the files as SIGKILL leaves them: the log not written back."""
    shutil.copytree(opened.path.parent, to)
    opened.close()


@pytest.mark.parametrize("position", [0, 16, 0.02, 0.1, 0.3])
def test_a_flipped_kilobyte_is_noticed_or_harmless(tmp_path: Path, clock: FakeClock, position: float) -> None:
    opened = _filled(tmp_path, clock)
    opened.close()
    blob = bytearray(opened.path.read_bytes())
    start = int(position * len(blob)) if position < 1 else int(position)
    blob[start : start + 1024] = bytes(byte ^ 0xFF for byte in blob[start : start + 1024])
    opened.path.write_bytes(blob)
    found = opened.open()
    put(opened, message(1000))
    assert waiting(opened)[-1] == message(1000).id
    if found.set_aside is not None:
        assert found.set_aside.read_bytes() == bytes(blob)
        assert found.waiting == {}
    opened.close()


@pytest.mark.parametrize("what", ["zero-length", "text", "half"])
def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, clock: FakeClock, what: str) -> None:
    opened = _filled(tmp_path, clock)
    opened.close()
    content = {"zero-length": b"", "text": b"hello " * 1000, "half": opened.path.read_bytes()[:70_000]}[what]
    opened.path.write_bytes(content)
    found = opened.open()
    assert found.set_aside is not None
    assert found.set_aside.read_bytes() == content
    put(opened, message(1000))
    assert waiting(opened) == [message(1000).id]
    opened.close()


def test_a_log_that_is_cut_anywhere_costs_its_end_and_never_a_start(tmp_path: Path, clock: FakeClock) -> None:
    _crash(_filled(tmp_path / "full", clock), tmp_path / "crashed")
    log = (tmp_path / "crashed" / "spool.db-wal").read_bytes()
    for number, cut in enumerate(range(0, 64 * 4120, 16_384)):
        directory = tmp_path / f"cut-{number}"
        shutil.copytree(tmp_path / "crashed", directory)
        (directory / "spool.db-wal").write_bytes(log[:cut])
        opened = store(directory, clock)
        assert opened.open().set_aside is None
        left = waiting(opened)
        assert left == [message(number).id for number in range(len(left))]
        opened.close()
        shutil.rmtree(directory)


def test_damage_while_running_is_set_aside_and_the_batch_is_accepted(
    rows: SpoolStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rows, message(1))
    rows._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    rows._db.execute("PRAGMA cache_size = 0")
    rows._db.execute("PRAGMA shrink_memory")
    with rows.path.open("r+b") as file:
        file.write(b"\0" * 200_000)
    outcome = rows.apply([Put(message(2), ("broker",))], [])
    assert outcome.set_aside is not None
    assert waiting(rows) == [message(2).id]


def test_of_files_set_aside_the_newest_two_stay(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(4):
        (tmp_path / "spool.db").write_bytes(b"rubbish")
        opened = store(tmp_path, clock)
        opened.open()
        opened.close()
        clock.step_utc(60)
    assert len(list(tmp_path.glob("spool.corrupt-*"))) == 2


def test_a_row_whose_body_is_unreadable_becomes_a_dead_letter(rows: SpoolStore) -> None:
    first, _ = put(rows, message(1), message(2))
    rows._db.execute("UPDATE message SET body = ? WHERE seq = ?", (b"{half", first))
    assert waiting(rows) == [message(2).id]
    (letter,) = rows.dead_letters()
    assert "cannot be read" in letter["error"]


# --- schemas --------------------------------------------------------------------------------------------


def _load(path: Path, dump: Path) -> None:
    with sqlite3.connect(path) as link:
        link.executescript(dump.read_text(encoding="utf-8"))
    link.close()


def test_a_spool_of_schema_1_is_read(tmp_path: Path, clock: FakeClock) -> None:
    """`v1.sql` was written by version 0.1.0: three messages, one of them a dead letter of `broker`."""
    _load(tmp_path / "spool.db", DATA / "v1.sql")
    opened = store(tmp_path, clock)
    found = opened.open()
    assert found.waiting == {("broker", "dock"): 2, ("files", "dock"): 3}
    assert found.dead == {"broker": 1}
    assert waiting(opened, "files") == [message(number).id for number in (1, 2, 3)]
    opened.close()


NEXT = (*spool_schema.MIGRATIONS, "ALTER TABLE delivery ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;")


def test_an_older_schema_is_migrated_and_a_copy_kept(tmp_path: Path, clock: FakeClock) -> None:
    _load(tmp_path / "spool.db", DATA / "v1.sql")
    opened = store(tmp_path, clock, migrations=NEXT)
    assert opened.open().migrated_from == 1
    assert waiting(opened, "files") == [message(number).id for number in (1, 2, 3)]
    assert opened._db.execute("SELECT sum(tries) FROM delivery").fetchone() == (0,)
    with sqlite3.connect(tmp_path / "spool.db.schema-1") as copy:
        assert copy.execute("SELECT count(*) FROM delivery").fetchone() == (6,)
        assert copy.execute("PRAGMA user_version").fetchone() == (1,)
    copy.close()
    opened.close()
    assert opened.open().migrated_from is None


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    _load(tmp_path / "spool.db", DATA / "v1.sql")
    broken = (*NEXT, "ALTER TABLE nowhere ADD COLUMN x;")
    with pytest.raises(SpoolTrouble):
        store(tmp_path, clock, migrations=broken).open()
    opened = store(tmp_path, clock)
    opened.open()
    assert waiting(opened, "files") == [message(number).id for number in (1, 2, 3)]
    opened.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    newer = store(tmp_path, clock, migrations=NEXT)
    newer.open()
    put(newer, message(1))
    newer.close()
    with pytest.raises(StateError, match=r"newer edgevlm \(schema 2, this one knows 1\)"):
        store(tmp_path, clock).open()
    newer.open()
    assert waiting(newer) == [message(1).id]
    newer.close()


# --- by hand --------------------------------------------------------------------------------------------


def test_dead_letters_can_be_told_apart_retried_and_dropped(rows: SpoolStore) -> None:
    for seq in put(rows, *(message(number) for number in range(3)), sinks=SINKS)[:2]:
        end(rows, seq, error="not allowed")
    assert [(letter["sink"], letter["error"]) for letter in rows.dead_letters()] == [
        ("broker", "not allowed")
    ] * 2
    assert rows.discard("files", None, waiting=False) == 0
    assert rows.revive("broker", message(0).id) == 1
    assert rows.discard("broker", message(1).id, waiting=False) == 1
    assert waiting(rows) == [message(0).id, message(2).id]
    assert rows.discard("files", None, waiting=True) == 3
    assert rows.counts() == ({("broker", "dock"): 2}, {})


def test_a_changed_quota_is_taken_up_once_the_spool_is_empty(tmp_path: Path, clock: FakeClock) -> None:
    opened = store(tmp_path, clock)
    opened.open()
    (seq,) = put(opened, message(1))
    opened.close()
    bigger = store(tmp_path, clock, SpoolLimits(max_bytes=2_000_000, min_free_bytes=0))
    bigger.open()
    assert waiting(bigger) == [message(1).id]
    assert bigger.path.stat().st_size < 1_100_000
    end(bigger, seq)
    bigger.close()
    bigger.open()
    assert bigger.path.stat().st_size > 1_900_000
    bigger.close()
