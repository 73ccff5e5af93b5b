"""From the configuration to what the pipeline runs: every name resolved, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from edgevlm.capture.spec import CameraSpec
from edgevlm.config.model import CameraConfig, Config, RuleConfig
from edgevlm.config.references import models_of, sinks_of
from edgevlm.records import Priority, Question, Request, Trigger

_DEFAULT_MAX_SIDE = 1280
_MAX_SIDE_BY_TASK = {"ocr": 1920}
"""Longest side in pixels: small print needs more than a scene does."""


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
    max_side: int
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True

    def request(self, trigger: Trigger) -> Request:
        """Return the request for `trigger`; its frame is bound later, at dispatch."""
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
            max_side=self.max_side,
        )


def default_max_side(task: str) -> int:
    """Return the longest side of a picture in pixels where the rule names none."""
    return _MAX_SIDE_BY_TASK.get(task, _DEFAULT_MAX_SIDE)


def plans_of(config: Config, camera: str) -> dict[str, Plan]:
    """Return the camera's rules, by name."""
    section = config.cameras[camera]
    return {name: _plan(config, camera, section, name, rule) for name, rule in section.rules.items()}


def _plan(config: Config, camera: str, section: CameraConfig, name: str, rule: RuleConfig) -> Plan:
    return Plan(
        camera=camera,
        rule=name,
        question=rule.task.question(),
        model=models_of(config, rule)[0],
        sinks=sinks_of(config, rule),
        priority=rule.priority,
        max_age_secs=rule.max_age_ms / 1000,
        deadline_secs=rule.deadline_secs,
        max_side=rule.picture.max_side or default_max_side(rule.task.type),
        labels={**config.labels, **section.labels, **rule.labels},
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
