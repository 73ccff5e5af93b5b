"""The file sink: rows and pictures on disk, in the right order, and what it says when it cannot write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from structlog.testing import capture_logs

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish import file as file_module
from edgevlm.publish.config import FileSinkConfig
from edgevlm.publish.file import FileSink
from edgevlm.publish.result import result_schema
from edgevlm.publish.sink import Message
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.publish.answers import clip, message, picture
from tests.publish.test_journal import files_no_longer_than

pytestmark = pytest.mark.usefixtures("loop_guard")

SCHEMA = result_schema()

NewSink = Callable[..., FileSink]


@pytest.fixture
async def new_sink(tmp_path: Path, clock: FakeClock) -> AsyncIterator[NewSink]:
    sinks: list[FileSink] = []

    def make(directory: Path = tmp_path, counters: Counters | None = None, **config: Any) -> FileSink:
        sink = FileSink(
            "results",
            FileSinkConfig.model_validate({"type": "file", **config}),
            directory=directory,
            timezone=ZoneInfo("Europe/Berlin"),
            clock=clock,
            counters=counters or Counters(),
        )
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        await sink.close()


def stored_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def deliver(sink: FileSink, *messages: Message) -> None:
    await sink.open()
    for each in messages:
        await sink.deliver(each)


async def test_a_result_is_a_row_of_the_schema(tmp_path: Path, new_sink: NewSink) -> None:
    await deliver(new_sink(tmp_path / "deep" / "results"), message(1), message(2))
    rows = documents(tmp_path / "deep" / "results" / "2026-01-01.jsonl")
    assert [row["seq"] for row in rows] == [1, 2]
    for row in rows:
        jsonschema.validate(row, SCHEMA)
    assert not (tmp_path / "deep" / "results" / "evidence").exists()


async def test_days_are_the_sites_not_utc(tmp_path: Path, new_sink: NewSink, clock: FakeClock) -> None:
    clock.step_utc(22.5 * 3600)
    sink = new_sink()
    await deliver(sink, message(1))
    clock.step_utc(3600)  # half past midnight in Berlin, half past eleven in UTC
    await sink.deliver(message(2))
    assert documents(tmp_path / "2026-01-01.jsonl")[0]["seq"] == 1
    assert documents(tmp_path / "2026-01-02.jsonl")[0]["seq"] == 2


async def test_pictures_lie_beside_the_row_that_names_them(tmp_path: Path, new_sink: NewSink) -> None:
    pictures = (picture(b"first"), picture(b"second"))
    told = message(1, pictures=pictures)
    sink = new_sink(evidence=["picture"])
    await deliver(sink, told)
    await sink.deliver(told)  # a redelivery
    rows = documents(tmp_path / "2026-01-01.jsonl")
    paths = [frame["evidence"] for frame in rows[0]["frames"]]
    assert paths == [f"evidence/2026-01-01/{told.id}.jpg", f"evidence/2026-01-01/{told.id}-1.jpg"]
    assert [(tmp_path / path).read_bytes() for path in paths] == [b"first", b"second"]
    assert len(list((tmp_path / "evidence" / "2026-01-01").iterdir())) == 2
    assert rows[0]["id"] == rows[1]["id"]
    assert told.document["frames"][0]["evidence"] is None  # other sinks get the same message
    jsonschema.validate(rows[0], SCHEMA)


async def test_without_room_for_the_picture_there_is_no_row(tmp_path: Path, new_sink: NewSink) -> None:
    sink = new_sink(evidence=["picture"])
    await deliver(sink, message(1))
    with files_no_longer_than(20_000):
        with pytest.raises(SinkUnreachable, match=r"cannot write to .*(No space|File too large)"):
            await sink.deliver(message(2, pictures=(picture(b"x" * 30_000),)))
        assert [row["seq"] for row in documents(tmp_path / "2026-01-01.jsonl")] == [1]
    assert [path.suffix for path in (tmp_path / "evidence" / "2026-01-01").iterdir()] == [".jpg"]
    await sink.deliver(message(2))
    assert [row["seq"] for row in documents(tmp_path / "2026-01-01.jsonl")] == [1, 2]


async def test_a_directory_that_cannot_be_is_said_and_tried_again(tmp_path: Path, new_sink: NewSink) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("a file where the directory should be")
    sink = new_sink(blocked)
    with capture_logs() as logs:
        await sink.open()
    assert logs[0]["event"] == "cannot write results yet"
    with pytest.raises(SinkUnreachable, match=f"cannot write to {blocked}: File exists"):
        await sink.deliver(message(1))
    blocked.unlink()
    await sink.deliver(message(1))
    assert len(documents(blocked / "2026-01-01.jsonl")) == 1


async def test_a_torn_row_is_cut_counted_and_said(tmp_path: Path, new_sink: NewSink) -> None:
    counters = Counters()
    (tmp_path / "2026-01-01.jsonl").write_text('{"seq": 1}\n{"seq": 2, "val')
    with capture_logs() as logs:
        await deliver(new_sink(counters=counters), message(3))
    assert [row["seq"] for row in documents(tmp_path / "2026-01-01.jsonl")] == [1, 3]
    assert counters.dropped("torn_row") == 1
    assert logs[0]["torn_bytes"] == 15


async def test_an_id_that_could_lead_elsewhere_names_no_file(tmp_path: Path, new_sink: NewSink) -> None:
    told = message(1)
    evil = Message("../../etc/passwd", "dock", "plate", told.document, None, None, told.evidence)
    sink = new_sink(evidence=["picture"])
    with pytest.raises(SinkRejected, match="not an id"):
        await deliver(sink, evil)
    assert stored_bytes(tmp_path) == 0


async def test_the_bound_of_bytes_is_kept_while_writing(
    tmp_path: Path, new_sink: NewSink, clock: FakeClock
) -> None:
    counters = Counters()
    sink = new_sink(
        counters=counters,
        evidence=["picture"],
        max_file_bytes=10_000,
        retention={"max_bytes": 1_000_000},
    )
    await sink.open()
    for seq in range(60):
        await sink.deliver(message(seq, pictures=(picture(b"x" * 40_000),)))
        assert stored_bytes(tmp_path) <= 1_000_000
        await clock.advance(60)
    kept = sorted(path.name for path in (tmp_path / "evidence" / "2026-01-01").iterdir())
    assert kept[-1].startswith(message(59).id)  # the newest is there
    assert kept == sorted(f"{message(seq).id}.jpg" for seq in range(60 - len(kept), 60))
    assert counters.total("retention_deleted") >= 60 - len(kept)


async def test_age_counts_only_while_the_clock_is_trusted(
    tmp_path: Path, new_sink: NewSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2025-11-30.jsonl").write_text("{}\n")
    monkeypatch.setattr(file_module, "clock_state", lambda: "unsynchronized")
    with capture_logs() as logs:
        await deliver(new_sink(retention={"max_age_days": 30}), message(1))
    assert logs[0]["event"] == "nothing is deleted by age while the clock is not synchronized"
    assert (tmp_path / "2025-11-30.jsonl").exists()
    monkeypatch.setattr(file_module, "clock_state", lambda: "synchronized")
    await deliver(new_sink(retention={"max_age_days": 30}), message(2))
    assert not (tmp_path / "2025-11-30.jsonl").exists()


async def test_nothing_of_it_runs_on_the_event_loop(
    new_sink: NewSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    write = FileSink._write_now

    def spy(sink: FileSink, *args: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append("own")
        return write(sink, *args)

    monkeypatch.setattr(FileSink, "_write_now", spy)
    await deliver(new_sink(), message(1))
    assert threads == ["own"]


# --- clips ------------------------------------------------------------------------------------------------


async def test_a_clip_lies_beside_the_row_that_names_it(tmp_path: Path, new_sink: NewSink) -> None:
    told = message(1, clip=clip(b"a whole mp4"))
    await deliver(new_sink(evidence=["picture", "clip"]), told)
    row = documents(tmp_path / "2026-01-01.jsonl")[0]
    jsonschema.validate(row, SCHEMA)
    assert row["clip"]["evidence"] == f"evidence/2026-01-01/{told.id}.mp4"
    assert (tmp_path / row["clip"]["evidence"]).read_bytes() == b"a whole mp4"
    assert (row["clip"]["captured_from"], row["clip"]["captured_to"]) == (
        "2026-11-18T11:06:30.123Z",
        "2026-11-18T11:06:40.123Z",
    )
    assert (tmp_path / row["frames"][0]["evidence"]).exists()


@pytest.mark.parametrize(("wanted", "suffixes"), [([], set()), (["picture"], {".jpg"}), (["clip"], {".mp4"})])
async def test_only_the_evidence_that_is_wanted_is_kept(
    tmp_path: Path, new_sink: NewSink, wanted: list[str], suffixes: set[str]
) -> None:
    await deliver(new_sink(evidence=wanted), message(1, clip=clip()))
    row = documents(tmp_path / "2026-01-01.jsonl")[0]
    assert {path.suffix for path in (tmp_path / "evidence").rglob("*") if path.is_file()} == suffixes
    assert (row["clip"]["evidence"] is not None, row["frames"][0]["evidence"] is not None) == (
        "clip" in wanted,
        "picture" in wanted,
    )
