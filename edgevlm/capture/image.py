"""One picture, or a folder of pictures, as a slow stream in which every packet is a keyframe."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import ImageSpec
from edgevlm.capture.still import SUFFIXES, read_png
from edgevlm.errors import CameraUnreachable

_PAUSE_SECS = 0.5

Version = tuple[Path, int, int]
"""A file at one moment: its path, time of change, and size."""


class ImageSource:
    """Shows a picture again every `every_secs`, read anew when the file changed, or a folder's next one."""

    live = False
    patience_secs = 30.0

    def __init__(self, camera: str, spec: ImageSpec) -> None:
        self._camera = camera
        self._spec = spec
        self._path = Path(spec.path)
        self._shown: Version | None = None
        self._bad: set[Version] = set()
        self._png = b""
        self._due_mono_ns = 0

    def open(self) -> StreamParams:
        """Check that there is something to show."""
        if not self._path.exists():
            raise CameraUnreachable(self._camera, f"{self._path} is not there")
        return StreamParams(codec="png", extradata=None, width=0, height=0, pixel_format=None)

    def read(self, quit_event: threading.Event) -> RawPacket | None:
        """Return the next picture when it is due."""
        pause_secs = (self._due_mono_ns - time.monotonic_ns()) / 1e9
        if pause_secs > 0:
            quit_event.wait(min(pause_secs, _PAUSE_SECS))
            return None
        now_ns = time.monotonic_ns()
        self._due_mono_ns = now_ns + int(self._spec.every_secs * 1e9)
        if not (self._load(self._path) if self._path.is_file() else self._load_next_in_folder()):
            return None
        return RawPacket(self._png, pts_ns=now_ns, dts_ns=now_ns, keyframe=True)

    def _load(self, path: Path) -> bool:
        """Read the picture, unless it is the one that was read last."""
        version = self._version(path)
        if version != self._shown:
            self._png = read_png(self._camera, path)
            self._shown = version
        return True

    def _load_next_in_folder(self) -> bool:
        """Read the picture whose name follows the last one's; return False while there is no good new one.

        A bad one is told once and passed over, until it changes: it may have been caught half written.
        """
        paths = self._folder()
        last = self._shown[0] if self._shown else None
        later = [path for path in paths if last is None or path > last]
        for path in later or (paths if self._spec.loop else []):
            version = self._version(path)
            if version in self._bad:
                continue
            try:
                return self._load(path)
            except CameraUnreachable as trouble:
                self._bad.add(version)
                sys.stderr.write(f"{trouble}; it is passed over\n")
        if self._shown is None:
            raise CameraUnreachable(self._camera, f"no picture in {self._path} can be read")
        return False

    def _folder(self) -> list[Path]:
        """Return the folder's pictures in the order of their names, and forget bad ones that are gone."""
        try:
            paths = sorted(path for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES)
        except OSError:
            raise CameraUnreachable(self._camera, f"{self._path} cannot be read") from None
        if not paths:
            raise CameraUnreachable(self._camera, f"no picture in {self._path}")
        here = set(paths)
        self._bad = {version for version in self._bad if version[0] in here}
        return paths

    def _version(self, path: Path) -> Version:
        try:
            state = path.stat()
        except OSError:
            raise CameraUnreachable(self._camera, f"{path} is not there any more") from None
        return path, state.st_mtime_ns, state.st_size

    def close(self) -> None:
        """Nothing is held open; what was shown stays known, so that a folder goes on where it was."""
