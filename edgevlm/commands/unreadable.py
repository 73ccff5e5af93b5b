"""What is wrong with a picture that could not be shown: a capture host tells only that there is no frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgevlm.capture.spec import CameraSpec, ImageSpec
from edgevlm.capture.still import read_png
from edgevlm.errors import CameraUnreachable


def explained(document: dict[str, Any], cameras: Sequence[CameraSpec]) -> dict[str, Any]:
    """Return `document`; where a picture is at fault, its error names the picture and why."""
    error = document["error"]
    if error is None or error["stage"] != "capture":
        return document
    sources = [camera.source for camera in cameras]
    paths = [Path(source.path) for source in sources if isinstance(source, ImageSpec)]
    why = next((why for path in paths if path.is_file() and (why := _fault(path))), None)
    if why is None:
        return document
    return document | {"error": error | {"code": "rejected_picture", "retryable": False, "message": why}}


def _fault(path: Path) -> str | None:
    try:
        read_png(path.name, path)
    except CameraUnreachable as error:
        return error.message
    return None
