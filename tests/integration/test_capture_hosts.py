"""Capture hosts as real processes: they die, hang, lie and start over, and no other camera notices."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from structlog.testing import capture_logs

from edgevlm.capture import hosts as hosts_module
from edgevlm.capture.hosts import CaptureHostProcess
from edgevlm.capture.link import Beat, CloseCamera, HealthReport, LookTaken, encode
from edgevlm.capture.spec import CameraSpec, FileSpec, ImageSpec
from edgevlm.errors import HostLost, NoFrame
from edgevlm.records import CameraHealth, CameraState, Instant, Look
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.capture.hosting import Watch, capturing, next_look, now, until
from tests.capture.recordings import number_in
from tests.servers.clips import make_clip

pytestmark = pytest.mark.usefixtures("loop_guard")

LOOK_MS = 100


class HurriedClock(SystemClock):
    """Notes how long it should have slept between two hosts, and does not."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    async def sleep(self, secs: float) -> None:
        self.sleeps.append(secs)
        await asyncio.sleep(0)


@pytest.fixture(scope="session")
def quick_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five keyframes a second, so that looks come every 200 ms."""
    return make_clip(tmp_path_factory.mktemp("clips") / "quick.mp4", size=(320, 180), gop_secs=0.2)


def camera(name: str, clip: Path, **more: Any) -> CameraSpec:
    return CameraSpec(name, FileSpec(str(clip), loop=True), look_interval_ms=LOOK_MS, **more)


# --- the way of a look and a picture ----------------------------------------------------------------------


async def test_looks_and_pictures_are_of_the_same_frame(quick_clip: Path) -> None:
    async with capturing([camera("yard", quick_clip)]) as hosts:
        yard = hosts.cameras["yard"]
        states = [yard.health.state]
        look = await next_look(yard)
        picture = await yard.picture(max_side=320, instant=look.instant)
        newest = await yard.picture(max_side=160)
    assert [*states, yard.health.state] == [CameraState.STARTING, CameraState.ONLINE]
    assert (look.width, look.height, len(look.luma)) == (320, 180, 320 * 180)
    assert picture.instant == look.instant
    assert number_in(picture) == look.instant.pts_ns * 15 // 1_000_000_000 % 60
    assert (newest.width, newest.height) == (160, 90)
    assert newest.instant.captured_mono_ns >= look.instant.captured_mono_ns


async def test_a_picture_right_after_the_start_is_refused_or_there_but_never_waited_for(
    quick_clip: Path,
) -> None:
    async with capturing([camera("yard", quick_clip)]) as hosts:
        with pytest.raises(HostLost):
            await hosts.cameras["yard"].picture(max_side=320)
        await until(lambda: hosts.processes[0].pid)
        with suppress(NoFrame):  # or it has one already
            await asyncio.wait_for(hosts.cameras["yard"].picture(max_side=320), 5)


async def test_a_picture_much_larger_than_the_links_buffers_comes_over_whole(tmp_path: Path) -> None:
    """Noise does not compress: some megabytes, while beats and looks go on."""
    noise = np.random.default_rng(5).integers(0, 255, (2000, 3000, 3), np.uint8)
    Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "noise.png", compress_level=0)
    spec = CameraSpec("yard", ImageSpec(str(tmp_path / "noise.png"), every_secs=0.5))
    async with capturing([spec]) as hosts:
        await next_look(hosts.cameras["yard"])
        picture = await hosts.cameras["yard"].picture(max_side=3000)
    assert len(picture.jpeg) > 2_000_000
    assert Image.open(io.BytesIO(picture.jpeg)).size == (3000, 2000)


async def test_masks_reach_the_host(quick_clip: Path) -> None:
    everything = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    async with capturing([camera("yard", quick_clip, privacy_masks=(everything,))]) as hosts:
        look = await next_look(hosts.cameras["yard"])
    assert set(look.luma) <= set(range(17))


async def test_a_disabled_camera_shows_nothing_until_it_is_enabled(quick_clip: Path) -> None:
    states: list[str] = []
    specs = [camera("yard", quick_clip), camera("dock", quick_clip)]
    async with capturing(specs, per_host=2, disabled=frozenset({"yard"})) as hosts:
        yard, dock = hosts.cameras["yard"], hosts.cameras["dock"]
        yard.on_health = lambda _, new: states.append(new.state)
        await next_look(dock)
        assert yard.health.state == CameraState.DISABLED
        with pytest.raises(NoFrame, match="disabled"):
            await yard.picture(max_side=320)
        yard.set_enabled(enabled=True)
        first = await next_look(yard)
        yard.set_enabled(enabled=False)
        with pytest.raises(TimeoutError):
            await next_look(yard, 0.5)
        yard.set_enabled(enabled=True)
        yard.set_enabled(enabled=False)
        yard.set_enabled(enabled=True)
        second = await next_look(yard)
        assert second.instant.session > first.instant.session
        with pytest.raises(NoFrame, match="left the ring"):
            await yard.picture(max_side=320, instant=first.instant)
    assert [state for state in states if state == CameraState.DISABLED] == [CameraState.DISABLED] * 2


async def test_a_long_gop_is_decoded_without_holding_up_the_others(quick_clip: Path, tmp_path: Path) -> None:
    long_gop = make_clip(tmp_path / "long.mp4", size=(1280, 720), fps=25, secs=4, gop_secs=4)
    async with capturing([camera("yard", quick_clip), camera("slow", long_gop)], per_host=2) as hosts:
        slow = hosts.cameras["slow"]
        await next_look(slow)
        async with Watch(hosts.cameras["yard"]) as watch:
            await until(lambda: slow.health.packets > 60)
            pictures = [await slow.picture(max_side=640) for _ in range(5)]
    for picture in pictures:
        assert number_in(picture) == round(picture.instant.pts_ns / 40_000_000) % 100
    assert watch.longest_gap_secs < 1.5


# --- a host dies, hangs, or lies --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "limit_secs"), [(signal.SIGKILL, 2.0), (signal.SIGSEGV, 2.0), (signal.SIGSTOP, 5.0)]
)
async def test_a_host_that_dies_or_hangs_is_replaced_and_the_other_notices_nothing(
    quick_clip: Path, number: signal.Signals, limit_secs: float
) -> None:
    """Two seconds for a dead one, five for a hung one; the first look follows when the stream is open."""
    counters = Counters()
    specs = [camera("yard", quick_clip), camera("dock", quick_clip)]
    with capture_logs() as logs:
        async with capturing(specs, counters=counters) as hosts:
            yard, process = hosts.cameras["yard"], hosts.processes[0]
            await next_look(yard)
            async with Watch(hosts.cameras["dock"]) as watch:
                old_pid, began = process.pid, now()
                assert old_pid
                os.kill(old_pid, number)
                waiting = asyncio.create_task(yard.picture(max_side=320))
                await until(lambda: yard.health.state == CameraState.OFFLINE)
                with pytest.raises((HostLost, NoFrame)):
                    await waiting
                await until(lambda: process.pid != old_pid)
                replaced_after = now() - began
                await until(lambda: yard.health.state == CameraState.ONLINE)
            assert await yard.picture(max_side=320)
    assert replaced_after < limit_secs
    assert watch.longest_gap_secs < 1.0
    assert counters.total("host_restarts") == 1
    stack = [line["line"] for line in logs if line["event"] == "capture host says"]
    assert any("Segmentation fault" in line for line in stack) == (number == signal.SIGSEGV)


async def fake_host(process: CaptureHostProcess, script: str, link: Any) -> asyncio.subprocess.Process:
    """Start a program of ours in place of a capture host; its `link` is a socket."""
    program = "import socket, sys, time\nlink = socket.socket(fileno=int(sys.argv[1]))\n" + script
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(link.fileno()),
        pass_fds=[link.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


def replace_first_host(monkeypatch: pytest.MonkeyPatch, script: str, *, times: int = 1) -> None:
    """Let the first `times` hosts be `script`, and all later ones real."""
    real, left = CaptureHostProcess._spawn, [times]

    async def spawn(self: CaptureHostProcess, link: Any) -> asyncio.subprocess.Process:
        left[0] -= 1
        return await (fake_host(self, script, link) if left[0] >= 0 else real(self, link))

    monkeypatch.setattr(CaptureHostProcess, "_spawn", spawn)


LOOK = Look("other", Instant(1, 0, 0, 0), keyframe=True, width=1, height=1, luma=b"x")
LIES = {
    "noise": b"\xff" * 64,
    "text": b"HTTP/1.1 200 OK\r\n\r\n",
    "nonsense": (5).to_bytes(4) + (0).to_bytes(4) + b"[1,2]",
    "wrong camera": encode(LookTaken(LOOK)),
    "wrong camera's health": encode(HealthReport(CameraHealth("other", CameraState.ONLINE))),
    "a message for hosts": encode(CloseCamera("yard")),
    "half a message": encode(Beat())[:-3],
    "stuck": encode(Beat(("yard",))),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_host_that_lies_or_is_stuck_is_replaced(
    lie: str, quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "time.sleep(60)" if lie != "half a message" else ""
    replace_first_host(monkeypatch, f"link.sendall({LIES[lie]!r})\n{wait}")
    with capture_logs() as logs:
        async with capturing([camera("yard", quick_clip)]) as hosts:
            await next_look(hosts.cameras["yard"])
    (gone,) = [line for line in logs if line["event"] == "capture host is replaced"]
    assert gone["why"]


async def test_a_host_that_says_half_a_message_and_no_more_hangs(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_module, "_START_TICKS", 1)
    replace_first_host(monkeypatch, f"link.sendall({encode(Beat())[:-3]!r})\ntime.sleep(60)")
    with capture_logs() as logs:
        async with capturing([camera("yard", quick_clip)]) as hosts:
            await until(lambda: [line for line in logs if line.get("why") == "it hangs"])
            monkeypatch.setattr(hosts_module, "_START_TICKS", 40)
            await next_look(hosts.cameras["yard"])


async def test_a_host_may_take_longer_to_start_than_to_hang(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small box with many cameras all hosts start at once; none may be killed for it."""
    monkeypatch.setattr(hosts_module, "_SILENT_TICKS", 2)
    start = """
import os
time.sleep(2.2)
link.set_inheritable(True)
os.execv(sys.executable, [sys.executable, "-m", "edgevlm.capture.host", sys.argv[1], str(os.getppid())])
"""
    replace_first_host(monkeypatch, start, times=100)
    with capture_logs() as logs:
        async with capturing([camera("yard", quick_clip)]) as hosts:
            await next_look(hosts.cameras["yard"])
    assert not [line for line in logs if line["event"] == "capture host is replaced"]


async def test_a_host_that_floods_its_stderr_is_read_and_not_believed_at_length(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line longer than the reader's limit must not end the reading: a full pipe would block the host."""
    script = r"sys.stderr.write('x' * 300_000 + '\n' + 'noise\n' * 20_000)"
    replace_first_host(monkeypatch, script)
    with capture_logs() as logs:
        async with capturing([camera("yard", quick_clip)]) as hosts:
            await next_look(hosts.cameras["yard"])
    said = [line["line"] for line in logs if line["event"] == "capture host says"]
    assert 50 < len(said) <= 100
    assert max(map(len, said)) <= 500
    (gone,) = [line for line in logs if line["event"] == "capture host is replaced"]
    assert gone["why"] == "it ended"


async def test_a_host_that_never_lives_is_started_ever_more_seldom(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HurriedClock()
    replace_first_host(monkeypatch, "", times=12)
    async with capturing([camera("yard", quick_clip)], clock=clock) as hosts:
        await next_look(hosts.cameras["yard"], 30)
    assert len(clock.sleeps) == 12
    assert clock.sleeps[0] <= 0.1
    assert 15 <= clock.sleeps[10] <= 30


async def test_a_host_that_cannot_be_started_is_tried_again(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, no memory or no file descriptor to be had: that passes, and must not end the daemon."""
    real, left = asyncio.create_subprocess_exec, [3]

    async def failing(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        left[0] -= 1
        if left[0] >= 0:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await real(*args, **kwargs)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", failing)
    with capture_logs() as logs:
        async with capturing([camera("yard", quick_clip)], clock=HurriedClock()) as hosts:
            await next_look(hosts.cameras["yard"])
    whys = {line["why"] for line in logs if line["event"] == "capture host is replaced"}
    assert whys == {"it cannot be started: Resource temporarily unavailable"}


async def test_thirty_replacements_leave_nothing_behind(quick_clip: Path) -> None:
    """Some are killed while they start, some while they stream."""
    me = psutil.Process()
    async with capturing([camera("yard", quick_clip)], clock=HurriedClock()) as hosts:
        process, yard = hosts.processes[0], hosts.cameras["yard"]
        await next_look(yard)
        before = await asyncio.to_thread(lambda: (me.num_fds(), len(me.children())))
        for number in range(30):
            old_pid = process.pid
            assert old_pid
            if number % 10 == 0:
                await next_look(yard)
            os.kill(old_pid, signal.SIGKILL)
            await until(lambda old=old_pid: process.pid != old)  # type: ignore[misc] # its type is plain
        await next_look(yard)
        after = await asyncio.to_thread(lambda: (me.num_fds(), len(me.children())))
        assert after == before
        assert threading.active_count() < 20


async def test_a_refused_login_is_not_tried_again_because_a_host_was_replaced(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another camera of the same host may crash it again and again; this one must not be locked out."""
    refused = HealthReport(CameraHealth("yard", CameraState.UNAUTHORIZED, "the camera refuses"))
    replace_first_host(monkeypatch, f"link.sendall({encode(refused)!r})")
    async with capturing([camera("yard", quick_clip), camera("dock", quick_clip)], per_host=2) as hosts:
        yard = hosts.cameras["yard"]
        await next_look(hosts.cameras["dock"])
        await next_look(hosts.cameras["dock"])
        assert yard.health.state == CameraState.UNAUTHORIZED
        assert "not tried again yet" in yard.health.detail
        yard.set_enabled(enabled=False)
        yard.set_enabled(enabled=True)
        await next_look(yard)


# --- the daemon's end -------------------------------------------------------------------------------------

PARENT = """
    import asyncio, json, sys
    from edgevlm.capture.hosts import Hosts
    from edgevlm.capture.spec import CameraSpec, FileSpec
    from edgevlm.runtime.clock import SystemClock
    from edgevlm.runtime.counters import Counters

    async def main():
        specs = [CameraSpec(name, FileSpec(sys.argv[1], loop=True)) for name in ("yard", "dock")]
        hosts = Hosts(specs, cameras_per_host=1, clock=SystemClock(), counters=Counters())
        tasks = [asyncio.create_task(process.run()) for process in hosts.processes]
        for camera in hosts.cameras.values():
            await anext(camera.looks())
        print("PIDS", json.dumps([process.pid for process in hosts.processes]), flush=True)
        await asyncio.gather(*tasks)

    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_hosts_end_with_the_daemon_however_it_ends(quick_clip: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(quick_clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            line = next(line for line in parent.stdout if line.startswith("PIDS"))
            hosts = [psutil.Process(pid) for pid in json.loads(line.removeprefix("PIDS"))]
            parent.send_signal(number)
            gone, alive = psutil.wait_procs(hosts, timeout=3)
        finally:
            parent.kill()
    assert (len(gone), alive) == (2, [])


# --- what a host is made of -------------------------------------------------------------------------------


def test_a_host_imports_no_more_than_it_needs() -> None:
    """Each library costs memory in every host, and each is one more that a camera's bytes might reach."""
    program = "import edgevlm.capture.host, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in loaded.stdout.split()}
    assert {"av", "numpy"} <= tops
    assert not tops & {"pydantic", "aiohttp", "structlog", "cv2", "paho", "yaml", "asyncio", "rich", "typer"}


async def test_a_host_sees_only_the_environment_that_it_needs_and_leaves_no_core(
    quick_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-secret")
    async with capturing([camera("yard", quick_clip)]) as hosts:
        await next_look(hosts.cameras["yard"])
        host = psutil.Process(hosts.processes[0].pid)
        environment = await asyncio.to_thread(host.environ)
        limits = await asyncio.to_thread(host.rlimit, psutil.RLIMIT_CORE)
    assert "MOONSHOT_API_KEY" not in environment
    assert limits == (0, 0)


async def test_missed_looks_are_counted(quick_clip: Path) -> None:
    """Nobody takes the looks of this camera, and still none is lost without a count."""
    counters = Counters()
    async with capturing([camera("yard", quick_clip)], counters=counters) as hosts:
        yard = hosts.cameras["yard"]
        await until(lambda: counters.dropped("look_superseded") >= 3)
        assert (await next_look(yard)).camera == "yard"
