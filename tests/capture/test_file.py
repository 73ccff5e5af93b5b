"""Recordings played as if they were live: pace, loop, end, and odd names."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from edgevlm.capture.file import FileSource
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import FileSpec
from edgevlm.errors import CameraUnreachable, SourceEnded
from tests.capture.recordings import number_of, play, raw_packets, record, session_for

SUFFIXES = ["mp4", "mov", "mkv", "avi", "ts", "flv", "mpg", "3gp", "wmv", "webm", "h264"]
ENCODERS = {"mpg": "mpeg2video", "wmv": "wmv2", "webm": "libvpx-vp9"}


class Hurried(FileSource):
    """Moves its own clock instead of waiting, and notes how long each wait would have been."""

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        super().__init__("cam", FileSpec(str(path), loop=loop))
        self.waits_ms: list[float] = []

    def next_packet(self) -> RawPacket:
        self.waits_ms.append(0.0)
        while (packet := self.read(_Hurry(self))) is None:
            pass
        return packet


class _Hurry(threading.Event):
    def __init__(self, source: Hurried) -> None:
        super().__init__()
        self._source = source

    def wait(self, timeout: float | None = None) -> bool:
        self._source.waits_ms[-1] += 1000 * (timeout or 0)
        self._source._pace.due_mono_ns -= int((timeout or 0) * 1e9)
        return False


@pytest.fixture(scope="module", params=SUFFIXES)
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / f"clip.{request.param}"
    return record(path, ENCODERS.get(request.param, "libx264"))


def test_every_container_is_played_again_and_again_from_its_first_keyframe(recording: Path) -> None:
    """PTS keep rising over the seam, and each frame is the right one in the second round too."""
    source = Hurried(recording, loop=True)
    params = source.open()
    session = session_for(params)
    packets = [packet for packet, _ in play(session, [source.next_packet() for _ in range(60)])]
    pts = sorted(packet.instant.pts_ns for packet in packets)
    assert len(set(pts)) == 60
    assert max(b - a for a, b in pairwise(pts)) < 200_000_000
    assert packets[25].keyframe
    assert packets[50].keyframe
    assert number_of(session.frame(packets[55].instant)[0]) == 5
    source.close()


def waits(path: Path, count: int) -> list[float]:
    """Return how long each packet is waited for, in milliseconds."""
    source = Hurried(path, loop=True)
    source.open()
    for _ in range(count):
        source.next_packet()
    source.close()
    return source.waits_ms


def test_packets_come_at_the_pace_of_the_recording_also_over_the_seam(tmp_path: Path) -> None:
    pauses = waits(record(tmp_path / "clip.mp4"), 60)
    assert sum(pauses) / 1000 == pytest.approx(59 / 25, rel=0.15)
    assert max(pauses) <= 41


def test_a_seam_in_the_recordings_times_is_not_waited_for(tmp_path: Path) -> None:
    """Two recordings in one file: the second begins at 0 again, or a day later."""
    first, second = record(tmp_path / "a.ts"), record(tmp_path / "b.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    pauses = waits(joined, 50)
    assert sum(pauses) / 1000 == pytest.approx(2, abs=0.5)
    assert max(pauses) < 1000


@pytest.mark.parametrize("step_secs", [-3600, 86_400])
def test_a_leap_in_decode_times_counts_as_one_usual_step(step_secs: int, tmp_path: Path) -> None:
    source = Hurried(record(tmp_path / "clip.mp4"))
    source.open()
    pace, leap_ns = source._pace, step_secs * 1_000_000_000
    before = pace.due_mono_ns
    for dts_ns in (0, 40_000_000, leap_ns, leap_ns + 40_000_000):
        pace.follow(RawPacket(b"", dts_ns, dts_ns, keyframe=True))
    source.close()
    assert pace.due_mono_ns - before == pytest.approx(120_000_000, abs=20_000_000)


def test_a_recording_ends_once(tmp_path: Path) -> None:
    source = Hurried(record(tmp_path / "clip.mp4"))
    source.open()
    for _ in range(25):
        source.next_packet()
    with pytest.raises(SourceEnded, match="over"):
        source.next_packet()
    source.close()


def test_closing_interrupts_a_long_wait(tmp_path: Path) -> None:
    source, quit_event = FileSource("cam", FileSpec(str(record(tmp_path / "clip.mp4")))), threading.Event()
    source.open()
    source._pace.due_mono_ns += 3600 * 1_000_000_000
    reader = threading.Thread(target=source.read, args=[quit_event])
    reader.start()
    quit_event.set()
    reader.join(1)
    assert not reader.is_alive()
    source.close()


@pytest.mark.parametrize("name", ["10:30:00.mp4", "http:camera.mp4", "clip %03d.mp4", "ünicode [1].mp4"])
def test_names_that_mean_something_to_ffmpeg_are_just_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "clip.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert raw_packets(Path(name))[0].codec == "h264"


def test_a_recording_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    """Another codec needs another decoder, which a new session gets."""
    path = record(tmp_path / "clip.avi")
    source = Hurried(path, loop=True)
    source.open()
    for _ in range(25):
        source.next_packet()
    record(tmp_path / "other.avi", "mjpeg").replace(path)
    with pytest.raises(CameraUnreachable, match="replaced"):
        source.next_packet()
    source.close()
    assert source.open().codec == "mjpeg"
    source.close()


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0" * 5000])
def test_what_is_no_recording_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraUnreachable, match="cannot open"):
        FileSource("cam", FileSpec(str(path), loop=True)).open()


def test_a_missing_recording_and_a_forbidden_protocol_are_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.mp4"), "http://127.0.0.1:9/clip.mp4", "concat:a.mp4|b.mp4"):
        with pytest.raises(CameraUnreachable, match="No such file"):
            FileSource("cam", FileSpec(path)).open()
