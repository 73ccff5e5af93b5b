"""Says whether the wall clock is kept right by somebody (NTP, PTP, GPS), so that results can tell.

The kernel knows it (`STA_UNSYNC` of adjtimex(2), reading needs no privilege). Where a sandbox forbids the
call, the mark that systemd-timesyncd leaves is looked for; when in doubt it is `unsynchronized`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Literal

ClockState = Literal["synchronized", "unsynchronized"]

_STA_UNSYNC = 0x0040
_TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the rest is room that the kernel may write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def _kernel_status() -> int | None:
    """Return the kernel's clock status bits, None where it does not say."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):  # no such function in this libc
        return None
    timex = _Timex(modes=0)
    if adjtimex(ctypes.byref(timex)) < 0:  # EPERM under systemd's ProtectClock=
        return None
    return int(timex.status)


def clock_state() -> ClockState:
    """Return `synchronized` when the wall clock is known to be right."""
    status = _kernel_status()
    right = _TIMESYNCD_MARK.exists() if status is None else not status & _STA_UNSYNC
    return "synchronized" if right else "unsynchronized"
