"""What both contestants' processes have in common: the job, the beat of the questions, the talk with us.

A contestant is told its `Job` in one line of JSON on its standard input and prints `ready` once it can be
asked. Then each line `ask N` makes it ask N questions, one after another, and print a list of `Asked`; a line
`frames` makes it print how many frames it has received. The end of its input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.cpu import cpu_ns, tree

QUESTION = "Is the gate open?"
ANSWERS = ("yes", "no")
SYSTEM = "You look at pictures from a camera and report what they show."
MAX_SIDE = 1280
EVERY_SECS = 0.31
"""From question to question. 200 of them meet a keyframe interval of 2 s at 200 different places."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a contestant has to do."""

    clip: str
    cameras: int
    model_port: int
    broker_port: int
    directory: str
    """To put files into."""

    @classmethod
    def from_stdin(cls) -> Job:
        """Wait for it."""
        return cls(**json.loads(sys.stdin.readline()))


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as its asker saw it; times are `time.monotonic_ns()`."""

    triggered_ns: int
    pictured_ns: int
    """The JPEG was in hand."""
    confirmed_ns: int
    """The broker had acknowledged all that was published."""
    cpu_triggered_ns: int
    cpu_confirmed_ns: int


class Meter:
    """Makes `Asked`: call it at the edges of a question."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._pids = tree(os.getpid())
        self._triggered_ns = self._pictured_ns = self._cpu_ns = 0

    def triggered(self) -> None:
        """Begin a question."""
        self._cpu_ns = cpu_ns(self._pids)
        self._triggered_ns = time.monotonic_ns()

    def pictured(self) -> None:
        """Note that the JPEG is in hand."""
        self._pictured_ns = time.monotonic_ns()

    def confirmed(self) -> None:
        """End the question."""
        now_ns = time.monotonic_ns()
        times = self._triggered_ns, self._pictured_ns, now_ns
        self.asked.append(Asked(*times, self._cpu_ns, cpu_ns(self._pids)))


class Beat:
    """Says when the next question is due; one that took longer than a beat is followed at once."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def pause_secs(self) -> float:
        """Return how long to wait now."""
        now = time.monotonic()
        pause_secs = max(0.0, self._due - now)
        self._due = max(self._due, now) + EVERY_SECS
        return pause_secs


def tell(what: str | int | Sequence[Asked]) -> None:
    """Print one line for the measuring process."""
    print(json.dumps([asdict(one) for one in what] if isinstance(what, list) else what), flush=True)
