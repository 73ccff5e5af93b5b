"""The unit files are accepted by systemd itself and expose little."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ,
    reason="systemd-analyze is not installed (apt-get install systemd)",
)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(params=["alone", "usb", "credentials"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with a program that exists here; with the drop-in; with its commented examples switched on."""
    text = (UNITS / "edgevlm.service").read_text()
    text, replaced = re.subn(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text)
    assert replaced == 1
    if request.param == "credentials":
        text, examples = re.subn(r"(?m)^#(?=LoadCredential)", "", text)
        assert examples == 2
    if request.param == "usb":
        drop_ins = tmp_path / "edgevlm.service.d"
        drop_ins.mkdir()
        shutil.copy(UNITS / "edgevlm-usb.conf", drop_ins)
    path = tmp_path / "edgevlm.service"
    path.write_text(text)
    return path


def test_systemd_has_nothing_to_say_against_it(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_exposure_is_at_most_two(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert done.returncode == 0, done.stdout[-200:]


def test_what_our_program_relies_on() -> None:
    """Each line here has its counterpart in the code: the exit code, READY, the ping, the directories."""
    lines = (UNITS / "edgevlm.service").read_text().splitlines()
    for line in (
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "RestartPreventExitStatus=78",
        "KillMode=mixed",
        "StateDirectory=edgevlm",
        "LimitCORE=0",
        "Environment=ORT_DISABLE_TELEMETRY=1",
    ):
        assert line in lines
