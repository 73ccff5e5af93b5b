"""What travels along the way of a frame: frozen, without I/O, importing nothing of ours but error names.

Times: `*_at_ns` is UTC in nanoseconds since 1970; `*_mono_ns` is `time.monotonic_ns()`, the same clock in
every process of this machine, and the only one that ages and limits are computed from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from edgevlm.errors import ErrorCode, Stage

Priority = Literal["alert", "normal", "low"]
Outcome = Literal["ok", "unknown", "error"]
JsonValue = Any
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of width and height."""


class CameraState(StrEnum):
    """The retained `<camera>/status` topic's vocabulary."""

    STARTING = "starting"
    ONLINE = "online"
    OFFLINE = "offline"
    STALLED = "stalled"
    UNAUTHORIZED = "unauthorized"
    FROZEN = "frozen"
    COVERED = "covered"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Instant:
    """Names one frame of one camera without holding it."""

    session: int
    """Number of the unbroken connection that it came over, counted from 1 within a capture host."""
    pts_ns: int
    captured_at_ns: int
    captured_mono_ns: int


@dataclass(frozen=True, slots=True)
class Look:
    """A small luma picture of a camera at one instant."""

    camera: str
    instant: Instant
    keyframe: bool
    width: int
    height: int
    luma: bytes = field(repr=False)
    """`width * height` bytes, row by row, masks burnt in."""


@dataclass(frozen=True)
class Picture:
    """A frame decoded, masked, scaled and encoded as baseline JPEG for a question."""

    camera: str
    instant: Instant
    width: int
    height: int
    jpeg: bytes = field(repr=False)
    source_width: int = 0
    """Of the frame that it was made from, in pixels; 0 where nobody says."""
    source_height: int = 0
    crop: Box | None = None
    """The part of the frame that it shows, as fractions; None for all of it."""

    @cached_property
    def sha256(self) -> str:
        """Lower-case hexadecimal digest of the JPEG bytes."""
        return hashlib.sha256(self.jpeg).hexdigest()


@dataclass(frozen=True, slots=True)
class ClipShot:
    """Which clip goes with a question."""

    before_secs: float
    """It begins this much before the trigger, as far as the ring reaches."""
    after_secs: float = 0.0
    """It ends this much after the trigger."""
    fps: float | None = None
    """Frames a second at the most; None for the camera's own."""
    max_side: int | None = None
    """Longest side in pixels, where less than the bound of every clip is wanted."""
    crop: Box | None = None
    """The part of the frame to show."""
    max_bytes: int = 40_000_000
    asked: bool = False
    """The model is shown it; else it is evidence alone, and may be whatever the camera sends."""


@dataclass(frozen=True)
class Clip:
    """The last seconds of a camera as MP4, masks burnt in, without sound."""

    camera: str
    captured_from_ns: int
    """When its first frame was captured, UTC."""
    captured_to_ns: int
    """When its last frame was captured, UTC."""
    width: int
    height: int
    frames: int
    codec: str
    remuxed: bool
    """It holds the camera's own packets; else it was encoded here."""
    mp4: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """Lower-case hexadecimal digest of the MP4's bytes."""
        return hashlib.sha256(self.mp4).hexdigest()


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """What a capture host knows of one camera; sent on every change of state and every few seconds."""

    camera: str
    state: CameraState
    detail: str = ""
    """One line for a person: why it is not online. Never contains a secret."""
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    gop_secs: float | None = None
    bitrate_bps: float | None = None
    sessions: int = 0
    packets: int = 0
    looks: int = 0
    decode_errors: int = 0
    ring_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Trigger:
    """The fact that a rule fired."""

    camera: str
    rule: str
    type: Literal["interval", "command"]
    reason: str
    """`interval`, `first` or `command`."""
    fired_mono_ns: int
    request_id: str | None = None
    """Given by a command's sender; echoed in the result."""
    prompt: str | None = None
    """A command may replace the rule's prompt for this one question."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask, apart from the pictures: the task with its parameters, already validated."""

    task: str
    """One of the nine task types."""
    prompt: str | None = None
    classes: tuple[str, ...] = ()
    class_descriptions: dict[str, str] = field(default_factory=dict)
    """Class → what it looks like, for the classes that have one."""
    class_aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Class → other names under which a model's answer counts as this class."""
    answers: tuple[str, ...] = ()
    output_structure: dict[str, Any] = field(default_factory=dict)
    """Field name → `{type, description, enum, min, max, required}`."""
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """Which picture, or pictures, a question is asked about."""

    max_side: int = 1280
    """Longest side in pixels."""
    crop: Box | None = None
    """The part of the frame to show; cut out before scaling."""
    tolerance_secs: float = 0.0
    """A keyframe that is so much older than the newest frame will do."""
    multiple_of: int = 1
    """Width and height are made multiples of this, as some models want them."""
    count: int = 1
    """How many frames, evenly spaced in time, the oldest first."""
    before_secs: float = 0.0
    """The first frame is this much older than the trigger."""
    after_secs: float = 0.0
    """The last frame is this much younger than the trigger."""

    def moments_mono_ns(self, trigger_mono_ns: int) -> list[int]:
        """Return when the frames are to be taken, on the monotonic clock."""
        first, last = -self.before_secs, self.after_secs
        step = (last - first) / (self.count - 1) if self.count > 1 else 0.0
        return [trigger_mono_ns + int((first + step * number) * 1e9) for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Request:
    """One inference request, before its frame is bound (that happens at dispatch)."""

    id: str
    camera: str
    rule: str
    model: str
    """Name of the model endpoint in the configuration."""
    question: Question
    trigger: Trigger
    priority: Priority = "normal"
    max_age_secs: float = 30.0
    """Longest allowed time from capture to dispatch."""
    deadline_secs: float = 60.0
    """Longest allowed time from dispatch to answer, over all attempts."""
    shot: Shot = Shot()
    clip: ClipShot | None = None
    """The clip that the model is shown, or that a sink keeps as evidence."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Values of `{camera}`, `{last.value}` and so on in the question's texts."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure the model is, and how we know."""

    value: float
    """0 to 1."""
    source: Literal["logprobs", "self-reported"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, money and time of one request, over all its attempts."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Which endpoint answered."""

    name: str
    type: str
    model: str
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no value: the result's `error` object."""

    code: ErrorCode
    stage: Stage
    retryable: bool
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The parsed, validated outcome of a request: a value, `unknown`, or an error. Never a guess."""

    request: Request
    outcome: Outcome
    model: ModelUse
    asked_at_ns: int
    answered_at_ns: int
    pictures: tuple[Picture, ...] = ()
    clip: Clip | None = None
    value: JsonValue = None
    """Set exactly when `outcome` is `ok`."""
    confidence: Confidence | None = None
    failure: Failure | None = None
    """Set exactly when `outcome` is `error`."""
    raw: str | None = None
    """The completion's text, bounded; kept for every outcome."""
    usage: Usage = Usage()
    prompt_version: str = ""
    attempts: int = 1
    truncated: bool = False
    repaired: bool = False
