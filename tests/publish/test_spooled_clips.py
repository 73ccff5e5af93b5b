"""Clips in the spool: kept beside the pictures, and the first to go where there is no room."""

from __future__ import annotations

from pathlib import Path

from edgevlm.publish.spool_store import Put, SpoolLimits
from tests.fakes.clock import FakeClock
from tests.publish.answers import clip, message, picture
from tests.publish.spools import store


def test_a_clip_comes_back_beside_its_pictures(tmp_path: Path, clock: FakeClock) -> None:
    rows = store(tmp_path, clock)
    rows.open()
    told = message(1, pictures=(picture(b"one"), picture(b"two")), clip=clip(b"film"))
    rows.apply([Put(told, ("files",), keep_evidence=True)], [])
    rows.close()
    rows.open()
    (back,), _ = rows.page("files", "dock", 0, 10)
    assert [one.read() for one in back.message.pictures] == [b"one", b"two"]
    assert back.message.clip is not None
    assert back.message.clip.read() == b"film"
    rows.close()


def test_pictures_stay_where_only_the_clip_is_too_large(tmp_path: Path, clock: FakeClock) -> None:
    limits = SpoolLimits(max_bytes=1_000_000, max_evidence_bytes=1000, min_free_bytes=0)
    rows = store(tmp_path, clock, limits=limits)
    rows.open()
    told = message(1, pictures=(picture(b"one"),), clip=clip(b"film" * 1000))
    outcome = rows.apply([Put(told, ("files",), keep_evidence=True)], [])
    kept = outcome.spooled[0].message
    assert (len(kept.pictures), kept.clip, outcome.pictures_refused) == (1, None, 1)
    rows.close()
