"""The whole configuration: the root section, composed of the stages' own."""

from __future__ import annotations

import re
import socket
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from edgevlm.capture.config import Fraction, PolygonConfig, SourceConfig
from edgevlm.choose.config import TriggerConfig
from edgevlm.infer.config import ModelConfig
from edgevlm.infer.task import TaskConfig
from edgevlm.publish.config import SinkConfig, SpoolConfig
from edgevlm.runtime.addresses import network_of
from edgevlm.runtime.section import Name, Section

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
VariableValue = Annotated[str, Field(max_length=500)]
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
    crop: Literal["full", "zone"] | Annotated[list[Fraction], Field(min_length=4, max_length=4)] = "full"
    """What to show: all, what surrounds the trigger's zones, or a box [left, top, right, bottom] in 0 to 1.

    It is cut out before scaling, so that a small part is seen in full detail.
    """
    margin: float = Field(default=0.1, ge=0, le=1)
    """How far the crop reaches beyond the zone or box on each side, as a fraction of its size."""

    @field_validator("crop")
    @classmethod
    def _is_a_box(cls, crop: str | list[float]) -> str | list[float]:
        if not isinstance(crop, str) and not (crop[0] < crop[2] and crop[1] < crop[3]):
            raise ValueError(
                "must be full, zone or a box [left, top, right, bottom], e.g. [0.2, 0.1, 0.6, 0.9]"
            )
        return crop


class FramesConfig(Section):
    """Several frames for one question, the oldest first."""

    count: int = Field(default=1, ge=1, le=16)
    """How many, evenly spaced in time."""
    before_secs: float = Field(default=0.0, ge=0, le=60)
    """The first is this much older than the trigger; the camera's `ring_secs` must reach over both."""
    after_secs: float = Field(default=0.0, ge=0, le=60)
    """The last is this much younger than the trigger: the question waits for it."""


class ClipConfig(Section):
    """A video in place of the picture, for models that take video.

    The camera's own packets go out where they fit: H.264 of at most 2048 by 1080 pixels, not more frames than
    `fps`, no privacy mask and no crop. Else it is encoded, which takes the box seconds. There is no sound.
    """

    before_secs: float = Field(default=4.0, ge=0, le=60)
    """It begins this much before the trigger; the camera's `ring_secs` must reach over both."""
    after_secs: float = Field(default=0.0, ge=0, le=60)
    """It ends this much after the trigger: the question waits for it."""
    fps: float | None = Field(default=None, ge=0.1, le=60)
    """Frames a second at the most; the camera's own when absent."""


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
    frames: FramesConfig = FramesConfig()
    """Several frames for one question."""
    clip: ClipConfig | None = None
    """A video in place of the picture; `{}` for the last 4 s."""
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
    zones: dict[Name, PolygonConfig] = {}
    """Parts of the picture by name, for triggers and crops."""
    privacy_masks: list[PolygonConfig] = []
    """Blackened before anything leaves the capture host."""
    labels: Labels = {}
    """Your own keys and values, copied into every result."""
    enabled: bool = True
    """A disabled camera is checked but not opened."""
    leaves: Literal["none", "lan", "internet"] = "internet"
    """How far its pixels may go: not off this box, within the site, or anywhere. A rule whose model, or sink
    with evidence, goes further is refused."""
    ring_secs: float = Field(default=10.0, ge=1, le=600)
    """How much of the stream is kept in memory, compressed."""
    ring_bytes: int = Field(default=16_000_000, ge=1_000_000, le=1_000_000_000)
    """The ring's other bound; whichever comes first."""


def _network(text: str) -> str:
    return str(network_of(text))


LanNetwork = Annotated[str, AfterValidator(_network)]


class SiteConfig(Section):
    """The box and where it stands."""

    connectivity: Literal["online", "offline", "air-gapped"] = "online"
    """`offline`: what needs the internet is skipped. `air-gapped`: it is refused, and so is every connection
    to an address that is not of this box or site."""
    lan_networks: list[LanNetwork] = Field(default=[], examples=[["2001:db8:1::/64"]])
    """Further networks that count as lan, beside the private ones."""
    on_incompatible: Literal["refuse", "disable"] = "refuse"
    """What a rule does that is left without a permitted model, sink or source: `refuse` keeps edgevlm from
    starting (exit 78), `disable` runs the other rules. With `offline` it is always `disable`."""
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
    vars: dict[VariableName, VariableValue] = {}
    """Values for `{vars.NAME}` in prompts."""
    site: SiteConfig = SiteConfig()
    """The box and where it stands."""
    models: dict[Name, ModelConfig] = {}
    """Whom to ask: named endpoints."""
    sinks: dict[Name, SinkConfig] = {}
    """Where answers go."""
    spool: SpoolConfig = SpoolConfig()
    """What waits on disk until every sink has confirmed it."""
    capture: CaptureConfig = CaptureConfig()
    """How capture is spread over processes."""
    cameras: dict[Name, CameraConfig] = {}
    """Cameras by name (not `cmd`, `status`, `info`, `stats`)."""
