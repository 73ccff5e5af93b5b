"""Let a chooser see a stream as a camera would show it, and note what it asks, when, and at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.material import Stream
from edgevlm.choose.change import ChangeSettings, ChangeTrigger
from edgevlm.choose.scene import Scene
from edgevlm.records import Instant, Look

Cadence = Literal["keyframes", "adaptive", "every"]
ORIGIN_SECS = 1000.0


@dataclass(frozen=True)
class Asked:
    """A question: the time of its frame, the time it was asked at, and why."""

    frame_secs: float
    asked_secs: float
    reason: str


class Chooser(Protocol):
    """Something that decides which frames to ask about."""

    cadence: Cadence
    every_secs: float

    def see(self, at_secs: float, luma: NDArray[np.uint8], *, keyframe: bool) -> list[Asked]:
        """Take one look; return the questions it leads to."""
        ...

    def wanted_secs(self) -> float | None:
        """Return how soon another look would help."""
        ...


@dataclass(frozen=True)
class Run:
    """One chooser over one stream."""

    stream: Stream
    asked: list[Asked]
    looks: int
    cpu_secs: float


Maker = Callable[[], Chooser]


def run(make: Maker, stream: Stream) -> Run:
    """Show the stream to a new chooser."""
    chooser, looks = make(), 0
    asked: list[Asked] = []
    began = time.process_time()
    for index in _shown(chooser, stream):
        asked += chooser.see(
            float(stream.times[index]), stream.luma[index], keyframe=bool(stream.keys[index])
        )
        looks += 1
    return Run(stream, asked, looks, time.process_time() - began)


def _shown(chooser: Chooser, stream: Stream) -> Iterator[int]:
    """Yield the frames that the chooser gets to see."""
    due = 0.0
    for index, (at, key) in enumerate(zip(stream.times, stream.keys, strict=True)):
        wanted = chooser.wanted_secs()
        by_key = key and chooser.cadence != "every"
        by_time = at >= due - 1e-3 and (chooser.cadence == "every" or wanted is not None)
        if chooser.cadence == "keyframes":
            by_time = False
        if index == 0 or by_key or by_time:
            yield index
            step = chooser.every_secs if chooser.cadence == "every" else chooser.wanted_secs() or 0.0
            due = at + step


class Ours:
    """The `change` trigger as the daemon runs it."""

    every_secs = 0.0

    def __init__(self, cadence: Cadence = "adaptive", settings: ChangeSettings | None = None) -> None:
        self.cadence = cadence
        self.scene, self.trigger = Scene(), ChangeTrigger(settings or ChangeSettings())
        self.trace: list[tuple[float, str]] = []
        self._wanted: float | None = None

    def see(self, at_secs: float, luma: NDArray[np.uint8], *, keyframe: bool) -> list[Asked]:
        """Take one look; return the questions it leads to."""
        view = self.scene.observe(as_look(at_secs, luma, keyframe=keyframe))
        if view is None:
            return []
        step = self.trigger.see(view)
        self._wanted = step.wanted_secs
        self.trace.append((at_secs, f"{view.kind} {step.state} {step.activity:.4f}"))
        return [Asked(fired.instants[0].pts_ns / 1e9, at_secs, fired.reason) for fired in step.fired]

    def wanted_secs(self) -> float | None:
        """Return how soon another look would help."""
        return self._wanted


def as_look(at_secs: float, luma: NDArray[np.uint8], *, keyframe: bool = True) -> Look:
    """Wrap a luma picture as a capture host would send it."""
    mono = round((ORIGIN_SECS + at_secs) * 1e9)
    instant = Instant(1, round(at_secs * 1e9), mono, mono)
    height, width = luma.shape
    return Look("camera", instant, keyframe, width, height, luma.tobytes())
