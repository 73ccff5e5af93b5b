"""Reading text on the box calls nobody: the OCR's runtime reports its use unless it is told not to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_READ = """
import asyncio
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.infer.embedded import EmbeddedBackend

async def main():
    backend = EmbeddedBackend("ocr", EmbeddedConfig(type="embedded"))
    await backend.open()
    await backend.close()

asyncio.run(main())
"""


@pytest.mark.timeout(120)
def test_the_embedded_engine_opens_no_internet_socket(tmp_path: Path) -> None:
    """Watched by the kernel's eyes, since native code passes every hook of Python."""
    strace = shutil.which("strace")
    if strace is None:
        assert "CI" not in os.environ, "strace is missing: apt-get install strace"
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    environ = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    command = [
        strace,
        "-f",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        _READ,
    ]
    subprocess.run(command, check=True, env=environ | {"HOME": str(tmp_path)}, capture_output=True)
    reached = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert reached == []
    assert not (tmp_path / ".cache" / "Microsoft").exists()
