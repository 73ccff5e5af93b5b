"""The spool on the event loop: accepting, gathering, and what it does when nothing can be stored."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edgevlm.errors import StateError
from edgevlm.publish import spool_schema
from edgevlm.publish.sink import Message
from edgevlm.publish.spool import TICK_SECS, Spool
from edgevlm.publish.spool_file import SpoolFile
from edgevlm.publish.spool_row import Spooled
from edgevlm.publish.spool_store import SpoolLimits, SpoolStore
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.publish.answers import message, picture
from tests.publish.spools import SMALL, open_spool, store

pytestmark = pytest.mark.usefixtures("loop_guard")


class Listener:
    """A courier that only listens."""

    name = "broker"

    def __init__(self) -> None:
        self.told: list[Spooled] = []
        self.gone: set[int] = set()
        self.refreshed = 0

    def accept_nowait(self, spooled: Spooled) -> None:
        self.told.append(spooled)

    def forget(self, gone: set[int]) -> None:
        self.gone |= gone

    def refresh(self) -> None:
        self.refreshed += 1


async def _put_all(spool: Spool, *messages: Message) -> list[Spooled]:
    return list(await asyncio.gather(*(spool.put(each, ["broker"]) for each in messages)))


async def test_accepted_means_committed_and_only_then_told(tmp_path: Path, clock: FakeClock) -> None:
    async with open_spool(tmp_path, clock) as spool:
        listener = Listener()
        spool.join(listener)
        putting = asyncio.create_task(spool.put(message(1), ["broker"]))
        await asyncio.sleep(0)
        assert listener.told == []
        spooled = await putting
        assert listener.told == [spooled]
        blob = await asyncio.to_thread(_log_and_file, tmp_path)
        assert message(1).id.encode() in blob


def _log_and_file(directory: Path) -> bytes:
    return (directory / "spool.db-wal").read_bytes() + (directory / "spool.db").read_bytes()


async def test_what_comes_during_a_transaction_shares_the_next(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    apply = SpoolStore.apply

    def counted(self: SpoolStore, puts: Any, settled: Any) -> Any:
        sizes.append(len(puts))
        return apply(self, puts, settled)

    monkeypatch.setattr(SpoolStore, "apply", counted)
    async with open_spool(tmp_path, clock) as spool:
        await _put_all(spool, *(message(number) for number in range(150)))
    assert sizes == [64, 64, 22]


async def test_a_message_without_sinks_is_not_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with open_spool(tmp_path, clock) as spool:
        await spool.put(message(1), [])
        assert await spool.by_hand(
            lambda rows: rows._db.execute("SELECT count(*) FROM message").fetchone()
        ) == (0,)


async def test_a_newer_schema_keeps_the_daemon_from_starting(tmp_path: Path, clock: FakeClock) -> None:
    newer = store(tmp_path, clock, migrations=(*spool_schema.MIGRATIONS, "CREATE TABLE extra (x);"))
    await asyncio.to_thread(newer.open)
    await asyncio.to_thread(newer.close)
    with pytest.raises(StateError, match="newer edgevlm"):
        await Spool(tmp_path, clock=clock, counters=Counters(), limits=SMALL).open()


class Broken:
    """Lets transactions fail as a disk does: `error` for the next `times`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.transact = SpoolStore._transact
        self.open_file = SpoolFile._open
        monkeypatch.setattr(SpoolStore, "_transact", self._guarded(self.transact))
        monkeypatch.setattr(SpoolFile, "_open", self._guarded(self.open_file))

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any) -> Any:
            if self.times:
                self.times -= 1
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
                raise error
            return method(*arguments)

        return guarded


async def test_one_failed_write_is_tried_again_on_a_file_opened_anew(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    async with open_spool(tmp_path, clock) as spool:
        broken.times = 1
        (spooled,) = await _put_all(spool, message(1))
        assert spooled.seq == 1
        assert spool.statistics().not_durable == 0


async def test_answers_go_straight_and_marked_while_nothing_can_be_stored_and_it_recovers_alone(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    told: list[str | None] = []
    async with open_spool(tmp_path, clock) as spool:
        spool.on_trouble = told.append
        listener = Listener()
        spool.join(listener)
        (first,) = await _put_all(spool, message(1))
        broken.times = 1000
        with capture_logs() as logs:
            spool.settle("broker", "dock", first.seq or 0)
            straight = await _put_all(spool, message(2), message(3))
            assert [spooled.seq for spooled in straight] == [None, None]
            assert [spooled.message.document["durable"] for spooled in straight] == [False, False]
            assert listener.told[1:] == straight
            assert spool.statistics().durable is False
            broken.times = 0
            await clock.advance(TICK_SECS)
            await spool.wait_idle()
            (again,) = await _put_all(spool, message(4))
        assert again.seq == 2
        assert again.message.document["durable"] is True
        assert listener.refreshed == 1
        assert [line["event"] for line in logs] == [
            "answers cannot be stored: they go straight to the sinks, not durable",
            "messages wait from before",
            "answers can be stored again",
        ]
        assert told == [told[0], None]
        assert "SQLITE_IOERR_FSYNC" in (told[0] or "")
        await spool.wait_idle()
        page, _ = await spool.page("broker", "dock", 0, 10)
        assert [spooled.message.id for spooled in page] == [message(4).id], (
            "the confirmation was not forgotten"
        )


async def test_a_start_on_a_full_disk_is_degraded_and_no_more(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    broken.times = 1000
    with capture_logs() as logs:
        async with open_spool(tmp_path, clock) as spool:
            assert (await spool.put(message(1), ["broker"])).seq is None
    assert logs[0]["log_level"] == "critical"


async def test_pictures_are_kept_only_where_somebody_wants_them(tmp_path: Path, clock: FakeClock) -> None:
    told = message(1, pictures=(picture(b"jpeg"),))
    async with open_spool(tmp_path, clock) as spool:
        without = await spool.put(told, ["broker"])
        assert without.message.evidence == ()
        kept = await spool.put(message(2, pictures=(picture(b"jpeg"),)), ["broker"], keep_evidence=True)
        (evidence,) = kept.message.evidence
        assert (await asyncio.to_thread(evidence.read), evidence.jpeg) == (b"jpeg", None)


async def test_pictures_without_room_are_counted_and_said(tmp_path: Path, clock: FakeClock) -> None:
    counters = Counters()
    limits = SpoolLimits(max_bytes=1_000_000, max_evidence_bytes=0)
    with capture_logs() as logs:
        async with open_spool(tmp_path, clock, counters, limits) as spool:
            for number in range(3):
                spooled = await spool.put(message(number), ["broker"], keep_evidence=True)
                assert spooled.message.evidence == ()
    assert counters.dropped("evidence_no_room") == 3
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [
        "there is no room for pictures: answers go without"
    ]


async def test_the_writer_beats_while_idle_and_not_while_it_hangs(tmp_path: Path, clock: FakeClock) -> None:
    beats: list[int] = []
    beaten = asyncio.Event()

    def beat() -> None:
        beats.append(1)
        beaten.set()

    async with open_spool(tmp_path, clock, beat=beat) as spool:
        await clock.advance(TICK_SECS)
        await asyncio.wait_for(beaten.wait(), 5)
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang(_: SpoolStore) -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        hanging = asyncio.create_task(spool.by_hand(hang))
        await clock.settle()
        hung = len(beats)
        await clock.advance(10 * TICK_SECS)
        assert len(beats) == hung
        release.set()
        await hanging


async def test_a_put_that_nobody_waits_for_any_more_is_accepted_all_the_same(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with open_spool(tmp_path, clock) as spool:
        putting = asyncio.create_task(spool.put(message(1), ["broker"]))
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.wait({putting})
        await spool.wait_idle()
        assert spool.waiting("broker") == 1


async def test_closing_writes_what_is_still_to_be_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, clock=SystemClock(), counters=Counters(), limits=SMALL)
    await spool.open()
    (first,) = await _put_all(spool, message(1))
    spool.settle("broker", "dock", first.seq or 0)
    putting = asyncio.create_task(spool.put(message(2), ["broker"]))
    await asyncio.sleep(0)
    await spool.close()
    assert (await putting).seq == 2
    rows = store(tmp_path, FakeClock())
    assert (await asyncio.to_thread(rows.open)).waiting == {("broker", "dock"): 1}
    await asyncio.to_thread(rows.close)
