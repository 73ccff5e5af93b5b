"""`edgevlm ask`: one question of a configuration, or of one of its models about pictures."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevlm.capture.spec import CameraSpec, ImageSpec
from edgevlm.commands.question import Misuse, task_of
from edgevlm.commands.single import ask_once, leaves_of
from edgevlm.commands.unreadable import explained
from edgevlm.config.compatibility import Compatibility, judge
from edgevlm.config.load import load
from edgevlm.config.model import Config
from edgevlm.errors import ConfigError
from edgevlm.infer.pictures import default_max_side
from edgevlm.plan import Plan, camera_specs, plans_of
from edgevlm.publish.result import encode
from edgevlm.records import Shot
from edgevlm.runtime import logs
from edgevlm.runtime.addresses import beyond
from edgevlm.runtime.exits import EX_CONFIG, EX_FAILED, EX_OK, EX_USAGE
from edgevlm.runtime.redact import Redactor


@dataclass(frozen=True, slots=True)
class Asking:
    """What the user typed: a rule, or a model with a task."""

    rule: str | None = None
    model: str | None = None
    task: dict[str, Any] | None = None
    images: tuple[Path, ...] = ()
    prompt: str | None = None
    """Instead of the rule's own."""


def ask(path: Path, asking: Asking) -> int:
    """Ask, print the result JSON, and return the exit code."""
    try:
        loaded = load(path)
        logs.configure(redactor=Redactor(loaded.secrets), level="error")
        plan = _plan(loaded.config, asking)
        found = judge(loaded.config)
        _refuse(loaded.config, found, plan)
        cameras = _cameras(loaded.config, plan, asking)
        plan = _as_shown(plan, asking)
        document = explained(asyncio.run(ask_once(loaded.config, plan, cameras, found)), cameras)
    except Misuse as error:
        sys.stderr.write(f"{error}\n")
        return EX_USAGE
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    sys.stdout.buffer.write(encode(document) + b"\n")
    sys.stdout.buffer.flush()
    return EX_FAILED if document["outcome"] == "error" else EX_OK


def _as_shown(plan: Plan, asking: Asking) -> Plan:
    """Leave out a clip that is only evidence, and time in pictures that stand still."""
    if plan.clip is not None and (asking.images or not plan.clip.asked):
        plan = replace(plan, clip=None)
    if asking.images:
        plan = replace(plan, shot=replace(plan.shot, count=1, before_secs=0.0, after_secs=0.0))
    return plan


def _plan(config: Config, asking: Asking) -> Plan:
    if asking.rule is not None:
        return _reworded(_rule(config, asking.rule), asking.prompt)
    model = asking.model or _only(tuple(config.models))
    if model not in config.models:
        raise Misuse(f"no model is called {model!r}: there are {', '.join(config.models) or 'none'}")
    task = task_of(asking.task or {})
    return Plan(
        camera="ask",
        rule=task.type,
        question=task.question(),
        model=model,
        sinks=(),
        priority="normal",
        max_age_secs=60.0,
        deadline_secs=300.0,
        shot=Shot(max_side=default_max_side(task.type)),
    )


def _refuse(config: Config, found: Compatibility, plan: Plan) -> None:
    """Refuse a model that the site's connectivity, or the camera's `leaves`, does not allow.

    Raises:
        ConfigError: it says which, and why.

    """
    leaves = leaves_of(config, plan.camera)
    keys = {("model", plan.model), ("frame_url", plan.model)}
    for part in found.components:
        if part.key in keys and part.verdict == "incompatible":
            raise ConfigError(f"{part.title} cannot be asked: {part.code}: {part.message}")
        if part.key in keys and part.needs != "unknown" and beyond(part.needs, leaves):
            raise ConfigError(
                f"{part.title} cannot be asked: frames_leave_site: camera {plan.camera} has leaves: {leaves}"
            )


def _rule(config: Config, name: str) -> Plan:
    camera, _, rule = name.partition("/")
    plan = plans_of(config, camera).get(rule) if camera in config.cameras else None
    if plan is None:
        rules = [f"{key}/{inner}" for key, section in config.cameras.items() for inner in section.rules]
        raise Misuse(f"no rule is called {name!r}: there are {', '.join(rules) or 'none'}")
    return replace(plan, max_age_secs=max(plan.max_age_secs, 60.0))


def _reworded(plan: Plan, prompt: str | None) -> Plan:
    """Return `plan` with another prompt, when one is given."""
    if prompt is None:
        return plan
    task_of({"type": "unconstrained", "prompt": prompt})  # what holds for a prompt in a file holds here
    return replace(plan, question=replace(plan.question, prompt=prompt))


def _only(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise Misuse(f"name a model with --model: there are {', '.join(names) or 'none'}")
    return names[0]


def _cameras(config: Config, plan: Plan, asking: Asking) -> list[CameraSpec]:
    """Return what is looked at: the pictures that were named, each as a camera, or the rule's own camera."""
    if not asking.images:
        if asking.rule is None:
            raise Misuse("name a picture with --image, or a rule with --rule")
        return [spec for spec in camera_specs(config) if spec.name == plan.camera]
    for image in asking.images:
        if not image.is_file():
            raise Misuse(f"{image}: no such file")
    masks = next((spec.privacy_masks for spec in camera_specs(config) if spec.name == plan.camera), ())
    return [
        CameraSpec(f"image-{number}", ImageSpec(str(image.absolute()), every_secs=3600), privacy_masks=masks)
        for number, image in enumerate(asking.images, 1)
    ]
