"""One picture, or a folder of pictures, as a slow stream in which every packet is a keyframe."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edgevlm.capture.decoder import StreamParams
from edgevlm.capture.source import RawPacket
from edgevlm.capture.spec import ImageSpec
from edgevlm.capture.still import SUFFIXES, read_png
from edgevlm.errors import CameraUnreachable

_PAUSE_SECS = 0.5


class ImageSource:
    """Shows a picture again every `every_secs`, read anew when the file changed, or a folder's next one."""

    live = False
    patience_secs = 30.0

    def __init__(self, camera: str, spec: ImageSpec) -> None:
        self._camera = camera
        self._spec = spec
        self._path = Path(spec.path)
        self._shown: tuple[Path, int] | None = None
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
        path = self._path if self._path.is_file() else self._next_in_folder()
        if path is None:
            return None
        self._show(path)
        return RawPacket(self._png, pts_ns=now_ns, dts_ns=now_ns, keyframe=True)

    def _show(self, path: Path) -> None:
        try:
            version = (path, path.stat().st_mtime_ns)
        except OSError:
            raise CameraUnreachable(self._camera, f"{path} is not there any more") from None
        if version != self._shown:
            self._png = read_png(self._camera, path)
            self._shown = version

    def _next_in_folder(self) -> Path | None:
        """Return the picture whose name follows the last one's; None while there is no new one."""
        try:
            names = sorted(path for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES)
        except OSError:
            raise CameraUnreachable(self._camera, f"{self._path} cannot be read") from None
        if not names and self._shown is None:
            raise CameraUnreachable(self._camera, f"no picture in {self._path}")
        later = [path for path in names if self._shown is None or path > self._shown[0]]
        if later:
            return later[0]
        return names[0] if self._spec.loop and names else None

    def close(self) -> None:
        """Nothing is held open; what was shown stays known, so that a folder goes on where it was."""
