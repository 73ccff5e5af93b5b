"""How long programs take from their start to their end, when they do next to nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.contestant import Job
from benchmarks.edgevlm_loop import configuration

BARE = "python -c pass"
LOOP = "the plain loop's imports"
DAEMON = "import edgevlm.daemon"

_LOOP_IMPORTS = "import base64, http.client, json, threading, cv2, paho.mqtt.client"


def commands(clip: Path, directory: Path) -> dict[str, list[str]]:
    """Return what is started, by the name that is shown."""
    path = directory / "edgevlm.yaml"
    job = Job(str(clip.resolve()), 1, 8000, 1883, str(directory))
    path.write_text(yaml.safe_dump(configuration(job)), encoding="utf-8")
    program = [sys.executable, "-m", "edgevlm"]
    return {
        BARE: [sys.executable, "-c", "pass"],
        LOOP: [sys.executable, "-c", _LOOP_IMPORTS],
        "import edgevlm": [sys.executable, "-c", "import edgevlm"],
        DAEMON: [sys.executable, "-c", DAEMON],
        "edgevlm --help": [*program, "--help"],
        "edgevlm check": [*program, "check", "-c", str(path)],
    }


def measure(programs: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Start every program once a round; return the milliseconds of each, without a first round."""
    took: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(1 + rounds):
        for name, command in programs.items():
            began_ns = time.monotonic_ns()
            subprocess.run(command, check=True, capture_output=True)
            took[name].append((time.monotonic_ns() - began_ns) / 1e6)
    return {name: all_ms[1:] for name, all_ms in took.items()}
