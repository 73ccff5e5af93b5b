"""Runs one contestant from its start to its end, and measures it from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestant import Asked, Job
from benchmarks.cpu import cpu_ns, pss_bytes, tree
from benchmarks.servers import ROOT, Stub
from benchmarks.stub_vlm import Seen

CONTESTANTS = {"edgevlm": "benchmarks.edgevlm_loop", "naive": "benchmarks.naive_loop"}
WARM_UP = 5
"""Questions before anything is counted: connections are made, code is loaded."""
RINGS_SECS = 12.0
"""After this time each camera's ring of packets (`ring_secs`, 10 by default) is full."""
END_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much."""

    cameras: int
    questions: int
    standing_secs: float


@dataclass(frozen=True, slots=True)
class Question:
    """One question, all clocks together; milliseconds."""

    to_request_ms: float
    """From the trigger until the server had read the whole request."""
    to_picture_ms: float
    """Of it, until the JPEG was in hand."""
    to_confirmed_ms: float
    """From the answer's leaving the server until the broker had acknowledged the result."""
    cpu_to_request_ms: float
    """What its processes used in that time, less what they use without questions; so for the next."""
    cpu_to_confirmed_ms: float
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Lap:
    """What one run of one contestant has shown."""

    contestant: str
    cameras: int
    questions: tuple[Question, ...]
    cpu_ms: float
    """Processor time a question: all that was used while asking, less what is used without questions."""
    standing_share: float
    """Of one processor, without questions."""
    fps: float
    """Frames that it received of each camera in a second."""
    memory_bytes: int
    """Proportional set size of all its processes, rings full."""


class _Running:
    """A contestant's process, and what it tells."""

    def __init__(self, contestant: str, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", CONTESTANTS[contestant]],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(asdict(job)))
        self._hear()  # ready
        self.pids = tree(self._process.pid)

    def ask(self, count: int) -> list[Asked]:
        """Let it ask `count` questions."""
        self._say(f"ask {count}")
        return [Asked(**one) for one in self._hear()]

    def frames(self) -> int:
        """Return how many frames it has received from all cameras."""
        self._say("frames")
        count: int = self._hear()
        return count

    def stop(self) -> None:
        """Let it end by itself."""
        self._process.communicate(timeout=END_SECS)

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the contestant has ended; see what it printed above")
        return json.loads(line)


def lap(contestant: str, plan: Plan, *, clip: Path, broker_port: int) -> Lap:
    """Run `contestant` once."""
    with _started(contestant, plan, clip, broker_port) as (running, stub):
        began = time.monotonic()
        stub.watch(running.pids)
        running.ask(WARM_UP)
        standing_ns, fps = _standing(running, plan)
        before_ns, before = cpu_ns(running.pids), time.monotonic()
        asked = running.ask(plan.questions)
        used_ns, took_secs = cpu_ns(running.pids) - before_ns, time.monotonic() - before
        time.sleep(max(0.0, RINGS_SECS - (time.monotonic() - began)))
        memory_bytes = pss_bytes(running.pids)
        running.stop()
        seen = stub.stop()[WARM_UP:]
    questions = [_question(*both, standing_ns) for both in zip(asked, seen, strict=True)]
    cpu_ms = (used_ns - standing_ns * took_secs) / 1e6 / plan.questions
    return Lap(contestant, plan.cameras, tuple(questions), cpu_ms, standing_ns / 1e9, fps, memory_bytes)


@contextmanager
def _started(contestant: str, plan: Plan, clip: Path, broker_port: int) -> Iterator[tuple[_Running, Stub]]:
    # beside the recording, on a disk: what is stored for safety costs nothing in a memory file system
    with TemporaryDirectory(prefix="state-", dir=clip.parent) as directory:
        stub = Stub()
        try:
            running = _Running(
                contestant, Job(str(clip.resolve()), plan.cameras, stub.port, broker_port, directory)
            )
            try:
                yield running, stub
            finally:
                running.kill()
        finally:
            stub.kill()


def _standing(running: _Running, plan: Plan) -> tuple[float, float]:
    """Return the processor time a second, in nanoseconds, and the frames a second and camera."""
    frames, before_ns, before = running.frames(), cpu_ns(running.pids), time.monotonic()
    time.sleep(plan.standing_secs)
    secs = time.monotonic() - before
    standing_ns = (cpu_ns(running.pids) - before_ns) / secs
    return standing_ns, (running.frames() - frames) / secs / plan.cameras


def _question(asked: Asked, seen: Seen, standing_ns: float) -> Question:
    """Put both clocks together; `standing_ns` is what a second costs without questions."""
    assert asked.triggered_ns < asked.pictured_ns < seen.read_ns < seen.answered_ns < asked.confirmed_ns
    to_request_ns = seen.read_ns - asked.triggered_ns
    to_confirmed_ns = asked.confirmed_ns - seen.answered_ns
    cpu_to_request_ns = seen.cpu_read_ns - asked.cpu_triggered_ns
    cpu_to_confirmed_ns = asked.cpu_confirmed_ns - seen.cpu_answered_ns
    return Question(
        to_request_ms=to_request_ns / 1e6,
        to_picture_ms=(asked.pictured_ns - asked.triggered_ns) / 1e6,
        to_confirmed_ms=to_confirmed_ns / 1e6,
        cpu_to_request_ms=(cpu_to_request_ns - standing_ns * to_request_ns / 1e9) / 1e6,
        cpu_to_confirmed_ms=(cpu_to_confirmed_ns - standing_ns * to_confirmed_ns / 1e9) / 1e6,
        body_bytes=seen.body_bytes,
    )
