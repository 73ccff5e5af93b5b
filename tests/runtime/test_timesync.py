"""Whether the clock is known to be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm.runtime import timesync
from edgevlm.runtime.timesync import clock_state


@pytest.mark.parametrize(
    ("status", "mark", "state"),
    [
        (0x0001, False, "synchronized"),  # STA_PLL
        (0x2041, True, "unsynchronized"),  # STA_UNSYNC is among the bits: the kernel knows better
        (None, False, "unsynchronized"),
        (None, True, "synchronized"),
    ],
)
def test_the_kernel_is_asked_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int | None, mark: bool, state: str
) -> None:
    monkeypatch.setattr(timesync, "_kernel_status", lambda: status)
    monkeypatch.setattr(timesync, "_TIMESYNCD_MARK", tmp_path / "synchronized")
    if mark:
        (tmp_path / "synchronized").touch()
    assert clock_state() == state


def test_this_kernel_answers() -> None:
    assert clock_state() in ("synchronized", "unsynchronized")
