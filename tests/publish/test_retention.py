"""Retention: the oldest go first, by bytes and age, and nothing that is not the sink's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.publish.retention import StoredFile, choose, sweep
from tests.publish.answers import BOOT_ID

ID = f"{BOOT_ID}-000000000001"


def put(path: Path, size: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_the_oldest_go_first_pictures_before_the_rows_that_name_them(tmp_path: Path) -> None:
    old_picture = put(tmp_path / "evidence" / "2026-01-01" / f"{ID}.jpg")
    old_rows = put(tmp_path / "2026-01-01.jsonl")
    old_rows_2 = put(tmp_path / "2026-01-01.2.jsonl")
    old_rows_10 = put(tmp_path / "2026-01-01.10.jsonl")
    new_rows = put(tmp_path / "2026-01-02.jsonl")
    swept = sweep(tmp_path, max_bytes=3200, oldest=None, in_use=None)
    assert (swept.files, swept.size_bytes, swept.left_bytes) == (2, 2000, 3000)
    assert not old_picture.exists()
    assert not old_picture.parent.exists()
    assert not old_rows.exists()
    assert all(path.exists() for path in (old_rows_2, old_rows_10, new_rows))


def test_clips_count_and_go_like_pictures(tmp_path: Path) -> None:
    old_clip = put(tmp_path / "evidence" / "2026-01-01" / f"{ID}.mp4")
    foreign = put(tmp_path / "evidence" / "2026-01-01" / "holiday.mp4")
    rows = put(tmp_path / "2026-01-02.jsonl")
    assert sweep(tmp_path, max_bytes=1500, oldest=None, in_use=None).files == 1
    assert (old_clip.exists(), foreign.exists(), rows.exists()) == (False, True, True)


def test_nothing_goes_while_the_bounds_are_kept(tmp_path: Path) -> None:
    put(tmp_path / "2026-01-01.jsonl")
    assert sweep(tmp_path, max_bytes=1000, oldest=None, in_use=None).files == 0
    assert sweep(tmp_path, max_bytes=None, oldest=None, in_use=None).files == 0


def test_the_file_in_use_stays(tmp_path: Path) -> None:
    used = put(tmp_path / "2026-01-01.jsonl", 5000)
    assert sweep(tmp_path, max_bytes=1000, oldest=datetime(2030, 1, 1), in_use=used).files == 0  # noqa: DTZ001
    assert used.exists()


def test_age_counts_whole_days(tmp_path: Path) -> None:
    gone = put(tmp_path / "2026-01-01.jsonl")
    partly_old = put(tmp_path / "2026-01-02.jsonl")
    oldest = datetime(2026, 1, 2, 12)  # noqa: DTZ001  # local time, as the days in the names are
    sweep(tmp_path, max_bytes=None, oldest=oldest, in_use=None)
    assert (gone.exists(), partly_old.exists()) == (False, True)


def test_what_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    others = [
        put(tmp_path / "notes.txt"),
        put(tmp_path / "2020-01-01.jsonl.gz"),
        put(tmp_path / "2020-01-01.csv"),
        put(tmp_path / "backup" / "2020-01-01.jsonl"),
        put(tmp_path / "evidence" / "2020-01-01" / "holiday.jpg"),
        put(tmp_path / "evidence" / "2020-01-01" / "deeper" / f"{ID}.jpg"),
        put(tmp_path / "evidence" / "albums" / f"{ID}.jpg"),
        put(tmp_path / "evidence" / f"{ID}.jpg"),
    ]
    target = put(tmp_path / "elsewhere" / "target")
    link = tmp_path / "2020-01-02.jsonl"
    link.symlink_to(target)
    outside = tmp_path / "evidence" / "2020-01-03"
    outside.symlink_to(target.parent)
    put(target.parent / f"{ID}.jpg")
    ours = put(tmp_path / "evidence" / "2020-01-01" / f"{ID}-1.jpg")
    leftover = put(tmp_path / "evidence" / "2020-01-01" / f"{ID}.jpg.part")
    sweep(tmp_path, max_bytes=0, oldest=datetime(2030, 1, 1), in_use=None)  # noqa: DTZ001
    assert all(path.exists() for path in (*others, target, link, outside, outside / f"{ID}.jpg"))
    assert not ours.exists()
    assert not leftover.exists()


DAYS = st.integers(0, 30).map(lambda day: f"2026-01-{day + 1:02}")
FILES = st.lists(st.tuples(DAYS, st.integers(0, 1000)), max_size=30)


@given(FILES, st.none() | st.integers(0, 20_000), st.none() | st.integers(0, 40))
def test_what_is_chosen_is_oldest_enough_and_no_more(
    sizes: list[tuple[str, int]], max_bytes: int | None, age_days: int | None
) -> None:
    files = [StoredFile(day, (1, 0, ""), Path(day), size) for day, size in sorted(sizes)]
    oldest = datetime(2026, 1, 1) + timedelta(days=age_days) if age_days is not None else None  # noqa: DTZ001
    total = sum(size for _, size in sizes)
    chosen = list(choose(files, total, max_bytes, oldest))
    assert chosen == files[: len(chosen)]  # the oldest, without a gap
    kept = files[len(chosen) :]
    if max_bytes is not None:
        assert sum(file.size_bytes for file in kept) <= max_bytes
    if oldest is not None:
        assert all(file.day >= oldest.date().isoformat() for file in kept)
    if max_bytes is None and oldest is None:
        assert chosen == []
