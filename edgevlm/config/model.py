"""The whole configuration: the root section, composed of the stages' own."""

from __future__ import annotations

import re
import socket
from typing import Annotated, Literal

from pydantic import Field

from edgevlm.capture.config import PolygonConfig, SourceConfig
from edgevlm.choose.config import TriggerConfig
from edgevlm.infer.config import ModelConfig
from edgevlm.infer.task import TaskConfig
from edgevlm.publish.config import SinkConfig
from edgevlm.runtime.section import Name, Section

LabelValue = Annotated[str, Field(max_length=255)]
Labels = dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], LabelValue]


def default_node() -> str:
    """Return the host name up to the first dot, lower-cased, other characters than [a-z0-9_-] as -."""
    name = re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().split(".", 1)[0].lower())
    return name[:64] or "edgevlm"


class PictureConfig(Section):
    """How the frame becomes the picture that the model sees."""

    max_side: int | None = Field(default=None, ge=64, le=8192)
    """Longest side in pixels; by task when absent (1920 for `ocr`, 1280 else)."""


class RuleConfig(Section):
    """When to ask, what to ask, whom to ask, where to send the answer."""

    trigger: TriggerConfig
    """When to ask."""
    task: TaskConfig
    """What to ask."""
    model: str | None = None
    """A name from `models`; the only one when absent."""
    sinks: list[str] | None = None
    """Names from `sinks`; all of them when absent."""
    priority: Literal["alert", "normal", "low"] = "normal"
    """Who goes first when the model is busy."""
    max_age_ms: int = Field(default=30_000, ge=1)
    """Longest time from capture to dispatch; an older frame is not asked about."""
    deadline_secs: float = Field(default=60.0, gt=0, le=86_400)
    """Longest time from dispatch to answer, over all attempts."""
    picture: PictureConfig = PictureConfig()
    """How the frame becomes a picture."""
    labels: Labels = {}
    """Your own keys and values, copied into every result."""
    enabled: bool = True
    """A disabled rule is checked but never asks (until MQTT `cmd/CAMERA/RULE/enable` says `true`)."""


class CameraConfig(Section):
    """One camera and its rules."""

    source: SourceConfig
    """Where its frames come from."""
    rules: dict[Name, RuleConfig] = {}
    """Questions about this camera, by name."""
    privacy_masks: list[PolygonConfig] = []
    """Blackened before anything leaves the capture host."""
    labels: Labels = {}
    """Your own keys and values, copied into every result."""
    enabled: bool = True
    """A disabled camera is checked but not opened."""
    ring_secs: float = Field(default=10.0, ge=1, le=600)
    """How much of the stream is kept in memory, compressed."""
    ring_bytes: int = Field(default=16_000_000, ge=1_000_000, le=1_000_000_000)
    """The ring's other bound; whichever comes first."""


class SiteConfig(Section):
    """The box and where it stands."""

    timezone: str | None = None
    """E.g. `Europe/Berlin`: names the days of result files. The system's when absent."""


class CaptureConfig(Section):
    """How capture is spread over processes."""

    cameras_per_host: int = Field(default=4, ge=1, le=64)
    """Cameras that share a capture host; 1 is the strongest isolation."""


class Config(Section):
    """An edgevlm configuration file."""

    node: Name = Field(default_factory=default_node)
    """Name of this box in topics and results; made from the host name when absent."""
    labels: Labels = {}
    """Your own keys and values, copied into every result."""
    site: SiteConfig = SiteConfig()
    """The box and where it stands."""
    models: dict[Name, ModelConfig] = {}
    """Whom to ask: named endpoints."""
    sinks: dict[Name, SinkConfig] = {}
    """Where answers go."""
    capture: CaptureConfig = CaptureConfig()
    """How capture is spread over processes."""
    cameras: dict[Name, CameraConfig] = {}
    """Cameras by name (not `cmd`, `status`, `info`, `stats`)."""
