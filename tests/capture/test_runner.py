"""One camera's thread: what it says when, and that it says nothing once it was stopped."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgevlm.capture import runner as runner_module
from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.link import AskPicture, HealthReport, LookTaken
from edgevlm.capture.outbox import Outbox
from edgevlm.capture.runner import CameraRunner
from edgevlm.capture.source import RawPacket, Source
from edgevlm.capture.spec import CameraSpec, FileSpec
from edgevlm.errors import CameraUnauthorized, CameraUnreachable, NoFrame, SourceEnded
from edgevlm.records import CameraHealth, CameraState
from tests.capture.recordings import raw_packets, record

SPEC = CameraSpec("yard", FileSpec("unused"))
PARAMS = StreamParams("h264", None, 0, 0, None)
SEC = 1_000_000_000


class ScriptedSource:
    """Blocks in `read` until the test gives it something to return or to raise."""

    live = True
    patience_secs = 1.0

    def __init__(self) -> None:
        self.params = PARAMS
        self.opens: list[Exception | None] = []
        self.opened = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.reading = threading.Semaphore(0)
        self.given: list[RawPacket | Exception] = []
        self.go = threading.Semaphore(0)

    def open(self) -> StreamParams:
        self.opened.release()
        if self.opens and (error := self.opens.pop(0)):
            raise error
        return self.params

    def read(self, quit_event: threading.Event) -> RawPacket | None:
        assert isinstance(quit_event, threading.Event)
        self.reading.release()
        assert self.go.acquire(timeout=10)
        given = self.given.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def close(self) -> None:
        self.closed.release()

    def give(self, what: RawPacket | Exception) -> None:
        self.given.append(what)
        self.go.release()


class Bench:
    """Makes runners of one camera, and hears what they say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outbox = Outbox()
        self.sources: list[ScriptedSource] = []
        self.runners: list[CameraRunner] = []
        self._numbers = itertools.count(1)
        monkeypatch.setattr(runner_module, "build_source", self._build)

    def _build(self, _: CameraSpec) -> Source:
        self.sources.append(ScriptedSource())
        return self.sources[-1]

    def runner(self, **more: object) -> CameraRunner:
        made = CameraRunner(SPEC, self.outbox, numbers=self._numbers, **more)  # type: ignore[arg-type] # by name
        self.runners.append(made)
        return made

    def hear(self) -> CameraHealth:
        """Return the next health that is told."""
        for message in self.outbox.take(10):
            if isinstance(message, HealthReport):
                return message.health
        raise AssertionError("nothing was said")

    def end(self) -> None:
        for made in self.runners:
            made.stop()
        for source in self.sources:
            source.give(CameraUnreachable("yard", "the test is over"))
        for made in self.runners:
            if made.alive:
                made.wait_ended(5)
            assert not made.alive


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.end()


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamParams, list[RawPacket]]:
    return raw_packets(record(tmp_path_factory.mktemp("clips") / "clip.ts"))


@pytest.mark.parametrize(
    ("error", "state", "least", "most"),
    [
        (CameraUnreachable("yard", "no route"), CameraState.OFFLINE, 0.5, 1.0),
        (CameraUnauthorized("yard", "wrong password"), CameraState.UNAUTHORIZED, 300.0, 300.0),
        (ValueError("hunter2"), CameraState.OFFLINE, 0.5, 1.0),
    ],
)
def test_after_a_failure_it_waits_as_the_failure_deserves(
    bench: Bench, error: Exception, state: CameraState, least: float, most: float
) -> None:
    runner = bench.runner()
    bench.sources[0].opens = [error]
    pause_secs = runner._session_and_pause()
    assert pause_secs is not None
    assert least <= pause_secs <= most
    health = bench.hear()
    assert health.state == state
    assert "hunter2" not in health.detail, "a fault of ours may hold anything in its words"
    assert bench.sources[0].closed.acquire(timeout=0)


def test_a_fault_of_ours_is_told_with_its_place(bench: Bench) -> None:
    runner = bench.runner()
    bench.sources[0].opens = [ZeroDivisionError()]
    runner._session_and_pause()
    assert "ZeroDivisionError in " in bench.hear().detail


def test_a_recording_that_is_over_is_not_opened_again(bench: Bench) -> None:
    runner = bench.runner()
    runner.start()
    bench.sources[0].give(SourceEnded("yard", "the recording is over"))
    runner.wait_ended(5)
    assert not runner.alive
    assert bench.hear().state == CameraState.OFFLINE


def test_pauses_grow_and_a_long_session_makes_them_short_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, pauses, now = bench.runner(), list[float](), itertools.accumulate([0, 1, 0, 1, 0, 1, 0, 31, 0, 1])
    monkeypatch.setattr("edgevlm.capture.runner.time.monotonic_ns", lambda: next(now) * SEC)
    monkeypatch.setattr(runner, "_first_pause_secs", lambda: 0.0)

    def session() -> float | None:
        pauses.append(runner._backoff.next_secs())
        return 0.0 if len(pauses) < 5 else None

    monkeypatch.setattr(runner, "_session_and_pause", session)
    runner.run()
    assert pauses[0] <= 1.0 < pauses[2] <= 4.0 <= pauses[3]
    assert pauses[4] <= 1.0


def test_online_is_said_with_the_first_look_and_not_before(
    bench: Bench, packets: tuple[StreamParams, list[RawPacket]]
) -> None:
    params, raws = packets
    runner = bench.runner()
    bench.sources[0].params = params
    runner.start()
    bench.sources[0].give(raws[3])
    for _ in range(2):
        assert bench.sources[0].reading.acquire(timeout=5)
    assert bench.outbox.take(0) == [], "nothing can be seen of a picture without its keyframe"
    bench.sources[0].give(raws[0])
    said = bench.outbox.take(5) + bench.outbox.take(0.5)
    assert [type(message) for message in said] == [HealthReport, LookTaken]
    assert runner.vitals.state == CameraState.ONLINE


def test_the_first_picture_right_after_the_start_is_refused_with_words(bench: Bench) -> None:
    with pytest.raises(NoFrame, match="the camera is starting"):
        bench.runner().picture(AskPicture(1, "cam", 640))


def test_a_stopped_runner_is_silent(bench: Bench, packets: tuple[StreamParams, list[RawPacket]]) -> None:
    """Its thread is still blocked in a read, and what that brings must not reach anybody any more."""
    params, raws = packets
    runner = bench.runner()
    bench.sources[0].params = params
    runner.start()
    assert bench.sources[0].reading.acquire(timeout=5)
    runner.stop()
    runner.report(time.monotonic_ns())
    bench.sources[0].give(raws[0])
    runner.wait_ended(5)
    assert not runner.alive
    assert bench.outbox.take(0) == []
    assert bench.sources[0].closed.acquire(timeout=0)


def test_the_next_runner_waits_until_the_last_connection_is_closed(bench: Bench) -> None:
    """USB devices open only once, and cameras serve few clients. A third may come before the second began."""
    first = bench.runner()
    first.start()
    assert bench.sources[0].reading.acquire(timeout=5)
    first.stop()
    second = bench.runner(after=[first])
    second.start()
    second.stop()
    second.wait_ended(5)
    assert not second.alive
    third = bench.runner(after=[first, second])
    third.start()
    assert not bench.sources[2].opened.acquire(timeout=0.3)
    assert not bench.sources[1].opened.acquire(timeout=0)
    bench.sources[0].give(CameraUnreachable("yard", "too late"))
    assert bench.sources[2].opened.acquire(timeout=5)


def test_sessions_go_on_counting_over_runners(bench: Bench) -> None:
    """Or an instant of the one would name a frame of the other."""
    numbers = []
    for index in range(2):
        runner = bench.runner(after=bench.runners[:index])
        runner.start()
        assert bench.sources[index].reading.acquire(timeout=5)
        assert runner._session is not None
        numbers.append(runner._session.number)
        runner.stop()
        bench.sources[index].give(CameraUnreachable("yard", "closed"))
    assert numbers == [1, 2]


def test_a_locked_out_camera_is_left_alone_until_its_time(bench: Bench) -> None:
    runner = bench.runner(not_before_mono_ns=time.monotonic_ns() + 60 * SEC)
    runner.start()
    assert bench.hear().state == CameraState.UNAUTHORIZED
    assert not bench.sources[0].opened.acquire(timeout=0.1)
    runner.stop()
    runner.wait_ended(1)
    assert not runner.alive


def test_a_stream_that_cannot_be_decoded_is_told_and_opened_anew(bench: Bench) -> None:
    """A change of codec, or parameter sets that were missed, are cured by a new description."""
    runner, trouble = bench.runner(), NoFrame("yard", "the stream cannot be decoded")
    for count in range(1, 8):
        runner._count_bad_keyframe(trouble, count * SEC)
    assert bench.hear().detail == "the stream cannot be decoded"
    with pytest.raises(CameraUnreachable, match="cannot be decoded"):
        runner._count_bad_keyframe(trouble, 11 * SEC)
    runner._bad_keyframes = 0
    runner._count_bad_keyframe(trouble, 100 * SEC)
    assert runner.vitals.health().decode_errors == 9


def test_a_stream_without_a_keyframe_says_so(
    bench: Bench, packets: tuple[StreamParams, list[RawPacket]]
) -> None:
    params, raws = packets
    runner = bench.runner()
    bench.sources[0].params = params
    runner.start()
    assert bench.sources[0].reading.acquire(timeout=5)
    runner._good_mono_ns -= 6 * SEC
    bench.sources[0].give(raws[3])
    assert bench.hear().detail == "the stream has brought no keyframe yet"


def wait_until(so: Callable[[], bool]) -> None:
    pause = threading.Event()
    assert any(so() or pause.wait(0.01) for _ in range(500))


def test_a_thread_that_blocks_beyond_its_timeouts_is_stuck_and_one_that_waits_is_not(bench: Bench) -> None:
    runner = bench.runner()
    bench.sources[0].opens = [None, CameraUnreachable("yard", "gone")]
    runner.start()
    assert bench.sources[0].reading.acquire(timeout=5)
    now_ns = time.monotonic_ns()
    assert not runner.stuck(now_ns + 6 * SEC)
    assert runner.stuck(now_ns + 8 * SEC)
    bench.sources[0].give(CameraUnreachable("yard", "gone"))
    wait_until(lambda: not runner.stuck(now_ns + 3600 * SEC))
    assert runner.alive, "it waits for its next try"


def test_silence_becomes_a_stall_and_a_packet_ends_it(
    bench: Bench, packets: tuple[StreamParams, list[RawPacket]], tmp_path: Path
) -> None:
    params, raws = packets
    runner = bench.runner()
    bench.sources[0].params = params
    runner.start()
    bench.sources[0].give(raws[0])
    wait_until(lambda: runner.vitals.state == CameraState.ONLINE)
    bench.outbox.take(0)
    runner.report(time.monotonic_ns() + 4 * SEC)
    assert bench.hear().state == CameraState.STALLED
    bench.sources[0].give(raws[1])
    assert bench.hear().state == CameraState.ONLINE
