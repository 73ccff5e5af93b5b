"""The servers that a measurement talks to, as processes: mosquitto, and a model that does not think."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stub_vlm import Seen

ROOT = Path(__file__).parents[1]
START_SECS = 10.0


@contextmanager
def broker(directory: Path) -> Iterator[int]:
    """Run Debian's mosquitto on a free port, and yield the port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin")
    if program is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    port = _free_port()
    path = directory / "mosquitto.conf"
    path.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n")
    process = subprocess.Popen([program, "-c", str(path)])
    try:
        _wait_until_open(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(START_SECS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(int(START_SECS / 0.05)):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        return
    raise RuntimeError("mosquitto did not start")


class Stub:
    """A running `stub_vlm`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stub_vlm"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def watch(self, pids: Sequence[int]) -> None:
        """Let it note the processor time of these processes."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, pids)) + "\n")
        self._process.stdin.flush()

    def stop(self) -> list[Seen]:
        """Return what it has seen."""
        out, _ = self._process.communicate(timeout=START_SECS)
        return [Seen(**one) for one in json.loads(out)]

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
