"""Pictures that tests draw themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm.infer.backend import Prompt
from edgevlm.records import Instant, Picture

SCHEMA = {
    "type": "object",
    "properties": {"class_name": {"type": "string", "enum": ["truck", "empty", "unknown"]}},
    "required": ["class_name"],
    "additionalProperties": False,
}


def canvas(width: int = 320, height: int = 180, shade: int = 200) -> NDArray[np.uint8]:
    return np.full((height, width, 3), shade, np.uint8)


def write(image: NDArray[np.uint8], text: str, at: tuple[int, int], *, scale: float = 1.5) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), max(2, round(scale * 2)))


def picture(
    image: NDArray[np.uint8] | None = None, *, camera: str = "dock", captured_mono_ns: int = 0
) -> Picture:
    image = canvas() if image is None else image
    return Picture(
        camera=camera,
        instant=Instant(session=1, pts_ns=0, captured_at_ns=0, captured_mono_ns=captured_mono_ns),
        width=image.shape[1],
        height=image.shape[0],
        jpeg=cv2.imencode(".jpg", image)[1].tobytes(),
    )


def prompt(
    task: str = "caption",
    *,
    user: str = "What is it?",
    system: str | None = "You look at pictures.",
    schema: dict[str, object] | None = None,
    temperature: float | None = 0.0,
    extra_body: dict[str, object] | None = None,
    max_tokens: int = 64,
) -> Prompt:
    return Prompt(
        task=task,
        user=user,
        system=system,
        version="t-1",
        max_tokens=max_tokens,
        temperature=temperature,
        schema=schema,
        extra_body=extra_body,
    )
