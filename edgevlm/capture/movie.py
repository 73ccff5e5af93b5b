"""An MP4 file in memory: opened by a name that only this process has, never on a disk.

The index stands in front (`faststart`), so that a player can begin before it has read everything; for that
the muxer reads its own file again by name, which is why the memory has one (memfd).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import av
from av.container import OutputContainer

TICKS = 90_000
"""A second, in the clock that video uses."""
MAX_LONG_SIDE, MAX_SHORT_SIDE = 2048, 1080
"""Pixels: what every model that takes video takes."""


class Movie:
    """The bytes of one MP4, once its container is closed."""

    def __init__(self) -> None:
        self.mp4 = b""

    @contextmanager
    def container(self) -> Iterator[OutputContainer]:
        """Yield a muxer; what it wrote is in `mp4` afterwards."""
        fd = os.memfd_create("edgevlm-clip", os.MFD_CLOEXEC)
        try:
            options = {"movflags": "faststart"}
            with av.open(f"/proc/self/fd/{fd}", "w", format="mp4", options=options) as container:
                yield container
            self.mp4 = os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)


def clip_times(pts_ns: Sequence[int]) -> list[tuple[int, int]]:
    """Return presentation and decode time, in ticks, of packets in decode order; the first shown is at 0.

    The decode times are made anew from the presentation times, for streams do not always tell them: they
    rise from packet to packet, and none is later than its packet's presentation.
    """
    order = sorted(range(len(pts_ns)), key=lambda index: pts_ns[index])
    shown: list[int] = []
    for index in order:
        tick = round((pts_ns[index] - pts_ns[order[0]]) * TICKS / 1_000_000_000)
        shown.append(max(tick, shown[-1] + 1) if shown else 0)
    at = dict(zip(order, shown, strict=True))
    delay = max((tick - at[index] for index, tick in enumerate(shown)), default=0)
    return [(at[index], tick - delay) for index, tick in enumerate(shown)]


def usual_step(times: Sequence[int], a_sec: int = TICKS) -> int:
    """Return the usual distance between frames, in the unit of `times`: so long the last one is shown."""
    shown = sorted(times)
    steps = sorted(later - earlier for earlier, later in pairwise(shown))
    return max(1, steps[len(steps) // 2]) if steps else a_sec // 25
