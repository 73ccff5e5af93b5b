"""The journal: whole lines only, whatever was cut off where."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.publish.journal import Journal, cut_torn_tail, file_name, newest_number, number_of

DAY = "2026-11-21"


def row(number: int, size: int = 0) -> bytes:
    return json.dumps({"n": number, "fill": "x" * size}).encode() + b"\n"


def rows(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()]


@contextmanager
def files_no_longer_than(size_bytes: int) -> Iterator[None]:
    """Make the kernel refuse what goes beyond, after writing what fits: as a disk that fills up does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_go_to_the_file_of_the_day(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000_000)
    journal.append(DAY, row(1))
    journal.append(DAY, row(2))
    journal.append("2026-11-22", row(3))
    journal.close()
    assert rows(tmp_path / "2026-11-21.jsonl") == [1, 2]
    assert rows(tmp_path / "2026-11-22.jsonl") == [3]


def test_a_full_file_is_followed_by_the_next_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 10_000)
    for number in range(25):
        journal.append(DAY, row(number, 990))
    journal.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{DAY}.1.jsonl", f"{DAY}.2.jsonl", f"{DAY}.jsonl"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())
    assert rows(tmp_path / f"{DAY}.jsonl") + rows(tmp_path / f"{DAY}.1.jsonl") == list(range(18))


def test_a_new_run_goes_on_in_the_newest_file(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.jsonl").write_bytes(row(0))
    (tmp_path / f"{DAY}.9.jsonl").write_bytes(row(1))
    (tmp_path / f"{DAY}.10.jsonl").write_bytes(row(2))
    (tmp_path / f"{DAY}.x.jsonl").write_bytes(b"not ours")
    journal = Journal(tmp_path, 1_000_000)
    journal.append(DAY, row(3))
    journal.close()
    assert rows(tmp_path / f"{DAY}.10.jsonl") == [2, 3]


def test_a_row_larger_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 10_000)
    for number in range(3):
        journal.append(DAY, row(number, 20_000))
    journal.close()
    assert [rows(tmp_path / file_name(DAY, number)) for number in range(3)] == [[0], [1], [2]]


def test_a_full_disk_leaves_no_half_row(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000_000)
    journal.append(DAY, row(1, 1000))
    with files_no_longer_than(1500), pytest.raises(OSError, match=r"No space left|File too large"):
        journal.append(DAY, row(2, 1000))
    assert rows(tmp_path / f"{DAY}.jsonl") == [1]
    journal.append(DAY, row(2, 1000))
    journal.close()
    assert rows(tmp_path / f"{DAY}.jsonl") == [1, 2]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / f"{DAY}.jsonl").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        Journal(tmp_path, 1_000_000).append(DAY, row(1))
    assert precious.read_text() == "keep me"


WHOLE = [row(number, size) for number, size in enumerate([0, 10, 70_000, 5])]


@given(st.integers(0, sum(map(len, WHOLE))), st.integers(0, 5000))
def test_a_tail_torn_at_any_byte_is_cut_and_earlier_lines_stay(cut: int, zeros: int) -> None:
    content = b"".join(WHOLE)[:cut] + bytes(zeros)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{DAY}.jsonl"
        path.write_bytes(content)
        journal = Journal(Path(directory), 1_000_000)
        torn = journal.append(DAY, row(99))
        journal.close()
        ends = [sum(map(len, WHOLE[:count])) for count in range(5)]
        whole = max(count for count, end in enumerate(ends) if end <= cut)
        assert rows(path) == [*range(whole), 99]
        assert torn == len(content) - ends[whole]


@pytest.mark.parametrize("tail", [b"\x00" * 100 + b"\n", b"[1]\n", b"{broken\n", b"\xff\n", b"\n\n\n"])
def test_a_line_that_is_no_row_is_cut_too(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(row(1) + tail)
    fd = os.open(path, os.O_RDWR)
    assert cut_torn_tail(fd) == len(tail)
    os.close(fd)
    assert path.read_bytes() == row(1)


@given(st.text(max_size=40))
def test_only_our_names_are_ours(name: str) -> None:
    found = number_of(name)
    assert found is None or file_name(*found) == name or name.startswith(f"{found[0]}.")


def test_numbers_of_names(tmp_path: Path) -> None:
    assert number_of(f"{DAY}.jsonl") == (DAY, 0)
    assert number_of(f"{DAY}.12.jsonl") == (DAY, 12)
    for other in (f"{DAY}.jsonl.gz", f"x{DAY}.jsonl", f"{DAY}.-1.jsonl", "notes.jsonl", f"{DAY}..jsonl"):
        assert number_of(other) is None
    assert newest_number(tmp_path, DAY) == 0
