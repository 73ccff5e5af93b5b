"""What the YAML says of triggers: when a rule asks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgevlm.runtime.section import Name, Section


class _Trigger(Section):
    """What all triggers share."""

    zones: list[Name] = []
    """Names of the camera's zones that the rule is about; all of the picture when absent."""


class IntervalTriggerConfig(_Trigger):
    """Ask again and again."""

    type: Literal["interval"]
    every_secs: float = Field(ge=0.05, le=31_536_000)
    """Time from one question to the next; the first is asked as soon as the camera shows a frame."""
    cooldown_secs: float = Field(default=0.0, ge=0, le=86_400)
    """Shortest time between two questions of this rule, commands excepted."""


class CommandTriggerConfig(_Trigger):
    """Ask only when told to, by MQTT `cmd/CAMERA/RULE/ask`; every other rule takes that command as well."""

    type: Literal["command"]


TriggerConfig = Annotated[IntervalTriggerConfig | CommandTriggerConfig, Field(discriminator="type")]
