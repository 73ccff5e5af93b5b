"""The daemon's own facts as notices for subscribers: camera and rule status, `info`, `stats`."""

from __future__ import annotations

import json
from typing import Any, Literal

from edgevlm import __version__
from edgevlm.config.compatibility import Compatibility
from edgevlm.config.model import Config, RuleConfig
from edgevlm.publish.sink import Notice
from edgevlm.records import Answer, CameraHealth

RuleStatus = Literal["ok", "disabled", "model-down", "over-budget", "incompatible", "bad-answers"]

_STATUS_BY_CODE: dict[str, RuleStatus] = {
    "unreachable": "model-down",
    "timeout": "model-down",
    "deadline": "model-down",
    "overloaded": "model-down",
    "quota": "over-budget",
    "config": "incompatible",
}


def rule_status(answer: Answer) -> RuleStatus:
    """Return what the answer says of the rule: whether its model can be asked, and answers."""
    if answer.failure is None or answer.failure.stage != "infer":
        return "ok"
    return _STATUS_BY_CODE.get(answer.failure.code, "bad-answers")


def rule_status_notice(camera: str, rule: str, status: RuleStatus) -> Notice:
    """Return the retained status of a rule."""
    return Notice(f"{camera}/{rule}/status", status)


def rule_enabled_notices(
    camera: str, rule: str, *, enabled: bool, status: RuleStatus | None = None
) -> list[Notice]:
    """Return whether a rule may fire, retained, and the status that follows from it."""
    return [
        rule_status_notice(camera, rule, status or ("ok" if enabled else "disabled")),
        Notice(f"{camera}/{rule}/enabled", "true" if enabled else "false"),
    ]


def camera_notice(health: CameraHealth) -> Notice:
    """Return the retained status of a camera."""
    return Notice(f"{health.camera}/status", str(health.state))


def info_notice(config: Config, found: Compatibility | None = None) -> Notice:
    """Return what this daemon is made of: version, cameras with their rules, models; retained, no secrets.

    With `found`, also what each component needs, and what cannot work at the site's connectivity.
    """
    info = {
        "version": __version__,
        "node": config.node,
        "cameras": {
            name: {
                "source": camera.source.type,
                "rules": {key: _rule(rule) for key, rule in camera.rules.items()},
            }
            for name, camera in config.cameras.items()
        },
        "models": {name: {"type": model.type, "model": model.model} for name, model in config.models.items()},
        "sinks": {name: sink.type for name, sink in config.sinks.items()},
        **(_compatibility(found) if found is not None else {}),
    }
    return Notice("info", json.dumps(info, separators=(",", ":")))


def _compatibility(found: Compatibility) -> dict[str, Any]:
    return {
        "connectivity": found.connectivity,
        "compatibility": [component.as_json() for component in found.components],
        "rules": [rule.as_json() for rule in found.rules],
        "frames_reach": dict(found.frames_reach),
    }


def _rule(rule: RuleConfig) -> dict[str, str]:
    return {"trigger": rule.trigger.type, "task": rule.task.type}


def stats_notice(statistics: dict[str, Any]) -> Notice:
    """Return the counters; not retained, since old figures mislead."""
    return Notice("stats", json.dumps(statistics, separators=(",", ":")), retained=False)
