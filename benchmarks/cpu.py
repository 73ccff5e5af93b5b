"""What processes have used of the processors, to the nanosecond, read from outside."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

_ALL_THREADS = 2
"""CPUCLOCK_SCHED in Linux's clock numbers (clock_getcpuclockid(3)): a process with all its threads."""


def tree(pid: int) -> list[int]:
    """Return the process and all that it started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cpu_ns(pids: Sequence[int]) -> int:
    """Return the processor time that living processes have used together, in user mode and in the kernel."""
    return sum(time.clock_gettime_ns(~pid << 3 | _ALL_THREADS) for pid in pids)


def pss_bytes(pids: Sequence[int]) -> int:
    """Return their memory; pages that several processes share are divided among those."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)
