"""The demo's cameras as others see them: PyAV, ffprobe, OpenCV, an OCR model; and how their process ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgevlm.demo import process
from edgevlm.demo.dock import PARCEL_SECS, label
from edgevlm.demo.press import CYCLE_SECS, reading
from edgevlm.demo.process import Child, DemoCameras
from edgevlm.demo.scene import CAMERAS, SIZE
from edgevlm.errors import EdgevlmError
from tests.servers.clips import Picture

COMMAND = [sys.executable, "-m", "edgevlm.demo.camera"]
QUICK = {"rtsp_transport": "tcp", "fpsprobesize": "0", "probesize": "32"}
"""Open on what the SDP says, without measuring the stream first."""


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The cameras, started once for those tests that only look."""
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, text=True) as cameras:
        assert cameras.stdout is not None
        said = json.loads(cameras.stdout.readline())
        assert said["mounts"] == [f"/{name}" for name in CAMERAS]
        yield {name: f"rtsp://127.0.0.1:{said['port']}/{name}" for name in CAMERAS}
        cameras.terminate()


def pictures(url: str) -> Iterator[Picture]:
    """Yield a stream's keyframes, decoded."""
    with av.open(url, options=QUICK, timeout=(10, 5)) as stream:
        stream.streams.video[0].codec_context.skip_frame = "NONKEY"
        for frame in stream.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


@pytest.mark.parametrize("name", CAMERAS)
def test_pyav_gets_a_keyframe_first_and_one_each_second(urls: dict[str, str], name: str) -> None:
    with av.open(urls[name], options=QUICK, timeout=(10, 5)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.width, stream.codec_context.height) == (
            "h264",
            *SIZE,
        )
        packets = [next(container.demux(stream)) for _ in range(20)]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == [0, 8, 16]
    times = [packet.pts for packet in packets if packet.pts is not None]
    steps = [later - sooner for sooner, later in pairwise(times)]
    assert len(steps) >= 18  # FFmpeg knows no time for the first packet
    assert all(step > 0 and step % (90_000 // 8) == 0 for step in steps), (
        "pictures may be left out, never moved"
    )


def test_a_client_that_would_rather_have_udp_gets_tcp(urls: dict[str, str]) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed")
    options = ["-v", "error", "-fpsprobesize", "0", "-show_streams", "-of", "json"]
    probe = subprocess.run([ffprobe, *options, urls["press"]], capture_output=True, check=True, timeout=30)
    (stream,) = json.loads(probe.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", *SIZE)
    assert stream["has_b_frames"] == 0


def test_opencv_reads_it(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = "|".join(f"{name};{value}" for name, value in QUICK.items())
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", quick)
    capture = cv2.VideoCapture(urls["dock"], cv2.CAP_FFMPEG)
    try:
        good, picture = capture.read()
    finally:
        capture.release()
    assert good
    assert picture.shape == (SIZE[1], SIZE[0], 3)


def test_ocr_reads_display_and_label_from_the_stream(urls: dict[str, str]) -> None:
    engine = pytest.importorskip("rapidocr").RapidOCR()

    def lines(picture: Picture) -> list[str]:
        return [unicodedata.normalize("NFKC", line) for line in engine(picture).txts or ()]

    shown = [line for line in lines(next(pictures(urls["press"]))) if re.fullmatch(r"\d+\.\d bar", line)]
    assert len(shown) == 1
    assert shown[0] in {reading(second) for second in range(CYCLE_SECS)}
    labels = {label(turn * PARCEL_SECS) for turn in range(50)}
    for picture in pictures(urls["dock"]):
        read = [line for line in lines(picture) if line not in ("DOCK", "2")]
        if len(read) == 2:  # else the parcel is on its way
            assert (read[0], read[1]) in labels
            break


async def test_the_wrapper_starts_names_and_stops_the_cameras() -> None:
    async with DemoCameras() as cameras:
        assert list(cameras.urls) == list(CAMERAS)
        assert cameras.pid is not None
        ended = os.pidfd_open(cameras.pid)
        host, port = cameras.urls["press"].removeprefix("rtsp://").removesuffix("/press").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.transport.abort()
    try:
        assert select.select([ended], [], [], 0)[0], "the process is gone when the block is left"
    finally:
        os.close(ended)


def test_the_cameras_end_in_good_form_when_told() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=pipe) as cameras:
        assert cameras.stdout is not None
        cameras.stdout.readline()
        cameras.send_signal(signal.SIGTERM)
        _, complaint = cameras.communicate(timeout=10)
    assert (cameras.returncode, complaint) == (0, b"")


def test_the_cameras_end_when_their_parent_is_killed() -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", parent], stdin=pipe, stdout=pipe) as process_:
        assert process_.stdout is not None
        cameras = os.pidfd_open(int(process_.stdout.readline()))
        process_.kill()
    try:
        assert select.select([cameras], [], [], 10)[0], "the cameras outlive their parent"
    finally:
        os.close(cameras)


def module(directory: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> str:
    """Write a module for a child to run, and return its name."""
    (directory / "made_for_a_test.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return "made_for_a_test"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('no camera today')", "did not start: no camera today"),
        ("pass", "did not start: it said nothing"),
        ("print('hello')", r"began with b'hello\\n'"),
        ("import sys; sys.stdin.read()", "was not ready within 0.5 s"),
    ],
)
async def test_a_child_that_does_not_get_ready_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    child = Child(module(tmp_path, monkeypatch, source))
    with pytest.raises(EdgevlmError, match=message):
        await child.start(timeout_secs=0.5 if "stdin" in source else 10)
    assert child.pid is None


async def test_a_child_that_does_not_watch_its_stdin_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(module(tmp_path, monkeypatch, "import signal\nprint('{}', flush=True)\nsignal.pause()"))
    await child.start()
    async with asyncio.timeout(process.STOP_TIMEOUT_SECS / 2):
        await child.stop()


async def test_a_child_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_TIMEOUT_SECS", 0.3)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    source = f"import signal\n{deaf}\nprint('{{}}', flush=True)\nsignal.pause()"
    child = Child(module(tmp_path, monkeypatch, source))
    said: dict[str, Any] = await child.start()
    assert said == {}
    await child.stop()
    await child.stop()  # harmless when it has ended
    assert child.pid is None
