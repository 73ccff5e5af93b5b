"""Streams to choose from: clips re-encoded as a camera would, decoded to looks, cached on disk.

A stream is every frame as a look (at most 320 pixels wide) with its time and its keyframe flag, and the truth
beside it. What a chooser gets to see of it is decided by the harness.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
FOOTAGE = ROOT.parent / "shared" / "footage"
CACHE = ROOT / "benchmarks" / "out" / "selection"
CLIPS = ("one_by_one", "parking", "road_topdown", "corridor_a", "front_door", "exposure_jump", "plaza_busy")
LOOK_WIDTH = 320
FPS = 15


@dataclass(frozen=True)
class Encoding:
    """How a camera would have sent a clip."""

    rate: str = "cbr"
    """`vbr`, `capped` or `cbr`."""
    gop_secs: float = 2.0
    noise: int = 0
    """Strength of FFmpeg's temporal noise: 0 by day, 8 and more by night."""
    dark: bool = False
    """Darken to a night picture before the noise is added."""

    @property
    def name(self) -> str:
        """Return a short name for tables and the cache."""
        light = "night" if self.dark else "day"
        return f"{self.rate}-gop{self.gop_secs:g}-{light}{self.noise}"

    def arguments(self) -> list[str]:
        """Return FFmpeg's arguments."""
        rates = {
            "vbr": ["-crf", "26"],
            "capped": ["-crf", "26", "-maxrate", "2M", "-bufsize", "2M"],
            "cbr": ["-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M"],
        }
        gop = str(round(self.gop_secs * FPS))
        filters = [f"fps={FPS}", "scale='min(960,iw)':-2"]
        filters += ["eq=brightness=-0.22:contrast=0.5"] if self.dark else []
        filters += [f"noise=alls={self.noise}:allf=t"] if self.noise else []
        coder = ["-c:v", "libx264", "-profile:v", "high", "-preset", "veryfast", "-bf", "0", "-threads", "1"]
        keys = ["-g", gop, "-keyint_min", gop, "-sc_threshold", "0", "-pix_fmt", "yuv420p"]
        return ["-an", "-vf", ",".join(filters), *coder, *rates[self.rate], *keys]


@dataclass
class Stream:
    """All frames of one stream as looks, and what is true of it."""

    name: str
    times: NDArray[np.float64]
    keys: NDArray[np.bool_]
    luma: NDArray[np.uint8]
    truth: dict[str, Any] = field(repr=False)

    @property
    def secs(self) -> float:
        """Return how long the stream is."""
        return float(self.times[-1] - self.times[0]) if len(self.times) else 0.0


def footage_is_here() -> bool:
    return (FOOTAGE / "one_by_one.events.json").is_file()


def truth_of(clip: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((FOOTAGE / f"{clip}.events.json").read_text(encoding="utf-8"))
    return truth


def clip_stream(clip: str, encoding: Encoding) -> Stream:
    """Return one clip under one encoding; made once, then read from the cache."""
    source = next(path for path in sorted(FOOTAGE.glob(f"{clip}.*")) if path.suffix != ".json")
    return encoded_stream(f"{clip}-{encoding.name}", source, encoding.arguments(), truth_of(clip))


def encoded_stream(name: str, source: Path, arguments: list[str], truth: dict[str, Any]) -> Stream:
    """Encode `source` with FFmpeg and return its frames as looks."""
    mark = sha256(repr((arguments, LOOK_WIDTH)).encode()).hexdigest()[:8]
    cached = CACHE / f"{name}-{mark}.npy"
    if not cached.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        coded = cached.with_suffix(".mp4")
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(source), *arguments, str(coded)], check=True)
        _decode(coded, cached)
        coded.unlink()
    times, keys = np.load(cached.with_suffix(".times.npy"))
    return Stream(name, times, keys.astype(np.bool_), np.load(cached, mmap_mode="r"), truth)


def _decode(coded: Path, cached: Path) -> None:
    times, keys, looks = [], [], []
    with av.open(str(coded)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        scaler = VideoReformatter()
        for frame in container.decode(stream):
            looks.append(_look(frame, scaler))
            times.append(float(frame.time or 0.0))
            keys.append(bool(frame.key_frame))
    start = times[0]
    np.save(cached.with_suffix(".times.npy"), np.array([[t - start for t in times], keys], dtype=np.float64))
    part = cached.with_suffix(".part.npy")
    np.save(part, np.stack(looks))
    part.rename(cached)


def _look(frame: av.VideoFrame, scaler: VideoReformatter) -> NDArray[np.uint8]:
    """Scale a frame as a capture host does."""
    scale = min(1.0, LOOK_WIDTH / frame.width)
    width, height = round(frame.width * scale), round(frame.height * scale)
    small = scaler.reformat(
        frame, width=width, height=height, format="yuv420p", interpolation=Interpolation.AREA
    )
    plane = small.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
    return rows[:height, :width].copy()
