"""Cameras for tests: a real RTSP server (GStreamer's) once a session, and a faulty one for each test.

`rtsp_server` plays a recording of `clips.make_clip` at `/plain` for anybody and at `/locked` for those who
know the password. `new_rtsp_server` starts more, with any option of `gst_rtsp.py`. `faulty_camera` does what
cameras should not.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import pytest

from tests.servers.clips import access_units, make_clip
from tests.servers.faulty_camera import FaultyCamera

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gst_rtsp.py")
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0"
    " gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
USERNAME, PASSWORD = "viewer", "p@ss/w#rd"
"""The password has what breaks URLs that are put together by hand."""

_ANSWER_SECS = 20.0


class RealRtspServer:
    """One GStreamer RTSP server; `port` and `url` hold while the `with` block runs."""

    def __init__(self, mounts: Mapping[str, Path], *options: str) -> None:
        """Serve recordings by mount name (`/plain`); `options` are those of `gst_rtsp.py`."""
        self.port = 0
        self.username, self.password = USERNAME, PASSWORD
        self._scheme = "rtsps" if "--tls" in options else "rtsp"
        login = ("--user", USERNAME, "--password", PASSWORD)
        files = [f"{name}={path}" for name, path in mounts.items()]
        self._command = [SYSTEM_PYTHON, str(SCRIPT), *files, *login, *options]
        self._process: subprocess.Popen[str] | None = None

    def url(self, mount: str, *, login: bool = False) -> str:
        """Return a mount's URL, with user name and password in it if wanted."""
        user = f"{self.username}:{quote(self.password, safe='')}@" if login else ""
        return f"{self._scheme}://{user}127.0.0.1:{self.port}{mount}"

    def freeze(self) -> None:
        """Stop all streams; connections stay."""
        assert self._tell(signal.SIGUSR1) == {"frozen": True}

    def thaw(self) -> None:
        """Let the streams go on."""
        assert self._tell(signal.SIGUSR1) == {"frozen": False}

    def throw_out(self) -> int:
        """End all connections and return how many there were."""
        return int(self._tell(signal.SIGUSR2)["thrown_out"])

    def _tell(self, number: signal.Signals) -> dict[str, Any]:
        assert self._process is not None
        self._process.send_signal(number)
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        """Return the next line that the server prints."""
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _ANSWER_SECS)
        line = self._process.stdout.readline() if readable else ""
        assert line, f"the RTSP server is {'dead' if readable else 'silent'}"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _assert_answers(self) -> None:
        """Ask for OPTIONS, so that a server which only accepts does not count as running."""
        if self._scheme == "rtsps":
            return
        with socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_SECS) as asker:
            asker.sendall(f"OPTIONS rtsp://127.0.0.1:{self.port}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            assert asker.recv(4096).startswith(b"RTSP/1.0 200")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        try:
            self.port = self._hear()["port"]
            self._assert_answers()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class NewRtspServer(Protocol):
    """Starts a real server that ends with the test."""

    def __call__(self, mounts: Mapping[str, Path], *options: str) -> RealRtspServer: ...


@pytest.fixture(scope="session")
def gstreamer() -> None:
    """Skip where GStreamer's RTSP server is missing; in CI it must be there."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    command = [SYSTEM_PYTHON, "-c", probe]
    if (
        Path(SYSTEM_PYTHON).exists()
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    ):
        return
    reason = f"GStreamer's RTSP server is missing: apt-get install {PACKAGES}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of H.264, 640x360, 15 fps, a keyframe each second; every frame carries its number."""
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in 320x240, its numbers from 1000 on."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small.mp4", size=(320, 240), first_number=1000)


@pytest.fixture(scope="session")
def rtsp_server(gstreamer: None, clip: Path) -> Iterator[RealRtspServer]:
    """A real server with `/plain` and `/locked` (digest); shared by all tests: leave it as it was."""
    with RealRtspServer({"/plain": clip, "/locked": clip}, "--lock", "/locked", "--auth", "digest") as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that 127.0.0.1 signed for itself, good for a day, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    paths = directory / "certificate.pem", directory / "key.pem"
    subject = ("-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-out", str(paths[0]), "-keyout", str(paths[1]))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.fixture
def new_rtsp_server(gstreamer: None) -> Iterator[NewRtspServer]:
    """Start real servers of one's own: to freeze, to kill, with TLS, with other recordings."""
    with ExitStack() as servers:
        yield lambda mounts, *options: servers.enter_context(RealRtspServer(mounts, *options))


@pytest.fixture
def faulty_camera(clip: Path) -> Iterator[FaultyCamera]:
    """A camera that plays `clip`, and can be told to do almost anything wrong."""
    with FaultyCamera(access_units(clip)) as camera:
        yield camera
