"""The count of questions in flight."""

from __future__ import annotations

from pathlib import Path

from edgevlm.runtime.ledger import Ledger


def test_a_crash_leaves_the_count_and_the_next_start_begins_at_nought(tmp_path: Path) -> None:
    crashed = Ledger(tmp_path)
    assert crashed.open() == 0
    for in_flight in (1, 2, 3, 2):
        crashed.note(in_flight)
    following = Ledger(tmp_path)
    assert following.open() == 2
    following.close()
    assert Ledger(tmp_path).open() == 0


def test_a_file_of_rubbish_or_a_missing_directory_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "in-flight").write_text("rubbish")
    assert Ledger(tmp_path).open() == 0
    nowhere = Ledger(tmp_path / "nowhere")
    assert nowhere.open() == 0
    nowhere.note(5)
    nowhere.close()
