"""From the configuration to what the pipeline runs: every name resolved, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from edgevlm.capture.spec import CameraSpec
from edgevlm.choose.config import IntervalTriggerConfig
from edgevlm.config.compatibility import Compatibility
from edgevlm.config.model import CameraConfig, Config, RuleConfig
from edgevlm.config.references import models_of, sinks_of
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import ModelConfig
from edgevlm.infer.pictures import default_max_side
from edgevlm.publish.config import FileSinkConfig
from edgevlm.records import Box, ClipShot, Priority, Question, Request, Shot, Trigger

_EVIDENCE_SECS = 10.0
_KEYFRAME_SECS = 2.0
_USUAL_REQUEST_BYTES = 20_000_000
"""What servers take that do not tell their limit."""
_MAX_CLIP_BYTES = 40_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A rule as the pipeline runs it."""

    camera: str
    rule: str
    question: Question
    model: str
    sinks: tuple[str, ...]
    priority: Priority
    max_age_secs: float
    deadline_secs: float
    shot: Shot
    clip: ClipShot | None = None
    keeps_clip: bool = False
    """One of the sinks keeps clips as evidence."""
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those that never change: `{camera}`, `{zone}`, `{vars.NAME}`."""
    enabled: bool = True

    def request(self, trigger: Trigger, variables: Mapping[str, str] | None = None) -> Request:
        """Return the request for `trigger`; its frame is bound later, at dispatch.

        Args:
            trigger: why it is asked.
            variables: those that change from question to question: `{now}`, `{last.value}`.

        """
        question = self.question if trigger.prompt is None else replace(self.question, prompt=trigger.prompt)
        return Request(
            id=uuid4().hex,
            camera=self.camera,
            rule=self.rule,
            model=self.model,
            question=question,
            trigger=trigger,
            priority=self.priority,
            max_age_secs=self.max_age_secs,
            deadline_secs=self.deadline_secs,
            shot=self.shot if trigger.type != "command" else replace(self.shot, tolerance_secs=0.0),
            clip=self.clip,
            variables={**self.variables, **(variables or {})},
        )


def _tolerance_secs(rule: RuleConfig) -> float:
    """Return how old a keyframe may be that stands for the newest frame: half of what is waited anyway."""
    if isinstance(rule.trigger, IntervalTriggerConfig):
        return min(_KEYFRAME_SECS, rule.trigger.every_secs / 2)
    return 0.0


def _shot(section: CameraConfig, rule: RuleConfig, multiple_of: int) -> Shot:
    return Shot(
        max_side=rule.picture.max_side or default_max_side(rule.task.type),
        crop=_crop(section, rule),
        multiple_of=multiple_of,
        tolerance_secs=_tolerance_secs(rule),
        count=rule.frames.count,
        before_secs=rule.frames.before_secs,
        after_secs=rule.frames.after_secs,
    )


def _clip(config: Config, section: CameraConfig, rule: RuleConfig, *, kept: bool) -> ClipShot | None:
    """Return the clip that the model is shown, or else the one that is evidence; None if nobody wants it."""
    if rule.clip is not None:
        return ClipShot(
            before_secs=rule.clip.before_secs,
            after_secs=rule.clip.after_secs,
            fps=rule.clip.fps,
            max_side=rule.picture.max_side,
            crop=_crop(section, rule),
            max_bytes=min(_clip_bytes(config.models[name]) for name in models_of(config, rule)),
            asked=True,
        )
    return ClipShot(before_secs=min(_EVIDENCE_SECS, section.ring_secs)) if kept else None


def _clip_bytes(model: ModelConfig) -> int:
    """Return how large a clip may be that is sent as base64, with some room for the question."""
    limit = abilities_for(model).max_request_bytes or _USUAL_REQUEST_BYTES
    return min(_MAX_CLIP_BYTES, (limit - 1_000_000) * 3 // 4)


def _keeps_clip(config: Config, rule: RuleConfig) -> bool:
    sinks = (config.sinks[name] for name in sinks_of(config, rule))
    return any(isinstance(sink, FileSinkConfig) and "clip" in sink.evidence for sink in sinks)


def _crop(section: CameraConfig, rule: RuleConfig) -> Box | None:
    """Return the part of the frame to show: the box, or what surrounds the zones, with its margin."""
    picture = rule.picture
    if picture.crop == "full":
        return None
    if picture.crop == "zone":
        corners = [corner for name in rule.trigger.zones for corner in section.zones[name]]
        xs, ys = [corner[0] for corner in corners], [corner[1] for corner in corners]
        box = (min(xs), min(ys), max(xs), max(ys))
    else:
        left, top, right, bottom = picture.crop
        box = (left, top, right, bottom)
    return _grown(box, picture.margin)


def _grown(box: Box, margin: float) -> Box:
    """Widen `box` by `margin` of its own size on each side, within the frame."""
    left, top, right, bottom = box
    dx, dy = (right - left) * margin, (bottom - top) * margin
    return max(0.0, left - dx), max(0.0, top - dy), min(1.0, right + dx), min(1.0, bottom + dy)


def plans_of(config: Config, camera: str, found: Compatibility | None = None) -> dict[str, Plan]:
    """Return the camera's rules, by name; with `found` only those that can run, with what they may use."""
    section = config.cameras[camera]
    plans = {name: _plan(config, camera, section, name, rule) for name, rule in section.rules.items()}
    if found is None:
        return plans
    verdicts = {name: found.rule(camera, name) for name in plans}
    return {
        name: replace(plan, model=verdicts[name].models[0], sinks=verdicts[name].sinks)
        for name, plan in plans.items()
        if verdicts[name].runs
    }


def _plan(config: Config, camera: str, section: CameraConfig, name: str, rule: RuleConfig) -> Plan:
    model = models_of(config, rule)[0]
    keeps_clip = _keeps_clip(config, rule)
    return Plan(
        camera=camera,
        rule=name,
        question=rule.task.question(),
        model=model,
        sinks=sinks_of(config, rule),
        priority=rule.priority,
        max_age_secs=rule.max_age_ms / 1000,
        deadline_secs=rule.deadline_secs,
        shot=_shot(section, rule, abilities_for(config.models[model]).multiple_of),
        clip=_clip(config, section, rule, kept=keeps_clip),
        keeps_clip=keeps_clip,
        labels={**config.labels, **section.labels, **rule.labels},
        variables={"camera": camera, "zone": ", ".join(rule.trigger.zones)}
        | {f"vars.{key}": value for key, value in config.vars.items()},
        enabled=rule.enabled,
    )


def camera_specs(config: Config) -> list[CameraSpec]:
    """Return what the capture hosts need to know, in the order of the configuration."""
    return [_camera_spec(name, section) for name, section in config.cameras.items()]


def _camera_spec(name: str, section: CameraConfig) -> CameraSpec:
    return CameraSpec(
        name=name,
        source=section.source.spec(),
        privacy_masks=tuple(
            tuple((corner[0], corner[1]) for corner in polygon) for polygon in section.privacy_masks
        ),
        ring_secs=section.ring_secs,
        ring_bytes=section.ring_bytes,
    )
