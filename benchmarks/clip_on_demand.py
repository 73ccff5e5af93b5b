"""How long a clip of the last 10 s takes, from asking a capture host to having the MP4 in the daemon.

A real RTSP server plays 1080p at 15 frames a second, H.264, about 3 Mbit/s, a keyframe every 2 s. `as it
came` is remuxed; `masked` is decoded, masked and encoded anew by the same host.

    .venv/bin/python -m benchmarks.clip_on_demand
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clips import camera_clip
from edgevlm.capture.hosts import Hosts
from edgevlm.capture.spec import CameraSpec, RtspSpec
from edgevlm.records import ClipShot
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.servers.rtsp import RealRtspServer

MASK = ((0.75, 0.5), (1.0, 0.5), (1.0, 1.0), (0.75, 1.0))


async def measure(url: str, times: int, **masked: Any) -> tuple[list[float], float, float]:
    """Return how long each clip took in ms, its length in seconds, and its size in MB."""
    clock = SystemClock()
    spec = CameraSpec("yard", RtspSpec(url), **masked)
    hosts = Hosts([spec], cameras_per_host=1, clock=clock, counters=Counters())
    running = asyncio.create_task(hosts.processes[0].run())
    await clock.sleep(16)
    taken = []
    for _ in range(times):
        began_ns = clock.monotonic_ns()
        clip = await hosts.cameras["yard"].clip(ClipShot(10), began_ns)
        taken.append((clock.monotonic_ns() - began_ns) / 1e6)
        await clock.sleep(0.3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return taken, (clip.captured_to_ns - clip.captured_from_ns) / 1e9, len(clip.mp4) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        recording = camera_clip(Path(directory))
        with RealRtspServer({"/cam": recording}) as server:
            rows = {
                "as it came": asyncio.run(measure(server.url("/cam"), 40)),
                "masked": asyncio.run(measure(server.url("/cam"), 3, privacy_masks=(MASK,))),
            }
    print("| clip of the last 10 s | median, ms | longest, ms | seconds | MB |")
    print("|---|---|---|---|---|")
    for name, (taken, secs, megabytes) in rows.items():
        print(
            f"| {name} | {statistics.median(taken):.0f} | {max(taken):.0f} | {secs:.1f} | {megabytes:.1f} |"
        )


if __name__ == "__main__":
    main()
