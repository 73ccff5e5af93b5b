"""When the rules of one camera fire.

Pure and synchronous: the state moves only by the calls below, each with the time given, and the triggers
that are due come back as values. The caller asks `next_due_mono_ns` how long it may sleep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgevlm.choose.config import CommandTriggerConfig, IntervalTriggerConfig, TriggerConfig
from edgevlm.records import Trigger


@dataclass(slots=True)
class RuleState:
    """One rule's trigger between its questions."""

    camera: str
    rule: str
    every_ns: int | None
    """None when the clock does not fire this rule."""
    cooldown_ns: int
    enabled: bool = True
    due_mono_ns: int | None = None
    """None until the camera has shown its first frame."""
    last_fired_mono_ns: int | None = None

    def camera_shows(self, now_mono_ns: int) -> None:
        """Begin with the first frame: the first question is due at once."""
        if self.due_mono_ns is None and self.every_ns is not None:
            self.due_mono_ns = now_mono_ns

    def set_every_secs(self, every_secs: float, now_mono_ns: int) -> bool:
        """Change the interval from now on; return False for a rule without one."""
        if self.every_ns is None:
            return False
        self.every_ns = int(every_secs * 1e9)
        if self.due_mono_ns is not None:
            self.due_mono_ns = now_mono_ns + self.every_ns
        return True

    def next_mono_ns(self) -> int | None:
        """Return when the clock fires the rule next, if it does."""
        if not self.enabled or self.due_mono_ns is None:
            return None
        if self.last_fired_mono_ns is None:
            return self.due_mono_ns
        return max(self.due_mono_ns, self.last_fired_mono_ns + self.cooldown_ns)

    def fire_if_due(self, now_mono_ns: int) -> Trigger | None:
        """Fire by the clock; intervals missed in between (a suspended machine) are not caught up on."""
        next_ns = self.next_mono_ns()
        if next_ns is None or self.every_ns is None or self.due_mono_ns is None or now_mono_ns < next_ns:
            return None
        first = self.last_fired_mono_ns is None
        missed = (now_mono_ns - self.due_mono_ns) // self.every_ns
        self.due_mono_ns += (missed + 1) * self.every_ns
        self.last_fired_mono_ns = now_mono_ns
        return Trigger(self.camera, self.rule, "interval", "first" if first else "interval", now_mono_ns)


class Rules:
    """All rules of one camera."""

    def __init__(self, camera: str, triggers: Mapping[str, TriggerConfig]) -> None:
        self._camera = camera
        self._states = {name: _state(camera, name, trigger) for name, trigger in triggers.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def camera_shows(self, now_mono_ns: int) -> None:
        """Note that the camera has a frame to show."""
        for state in self._states.values():
            state.camera_shows(now_mono_ns)

    def fired_by_clock(self, now_mono_ns: int) -> list[Trigger]:
        """Return the triggers that are due."""
        fired = (state.fire_if_due(now_mono_ns) for state in self._states.values())
        return [trigger for trigger in fired if trigger is not None]

    def fired_by_command(
        self, rule: str, now_mono_ns: int, *, request_id: str | None = None, prompt: str | None = None
    ) -> Trigger:
        """Return a trigger for somebody who asks now; cool-down and `enabled` do not bar a person."""
        return Trigger(self._camera, rule, "command", "command", now_mono_ns, request_id, prompt)

    def next_due_mono_ns(self) -> int | None:
        """Return when the clock fires next, or None when it never does."""
        times = (state.next_mono_ns() for state in self._states.values())
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def set_enabled(self, rule: str, *, enabled: bool) -> None:
        """Let the rule fire, or keep it from firing."""
        self._states[rule].enabled = enabled

    def enabled(self, rule: str) -> bool:
        """Return whether the rule may fire."""
        return self._states[rule].enabled

    def set_every_secs(self, rule: str, every_secs: float, now_mono_ns: int) -> bool:
        """Change a rule's interval from now on; return False for a rule without one."""
        return self._states[rule].set_every_secs(every_secs, now_mono_ns)


def _state(camera: str, rule: str, trigger: TriggerConfig) -> RuleState:
    match trigger:
        case IntervalTriggerConfig():
            every_ns, cooldown_ns = int(trigger.every_secs * 1e9), int(trigger.cooldown_secs * 1e9)
            return RuleState(camera, rule, every_ns, cooldown_ns)
        case CommandTriggerConfig():
            return RuleState(camera, rule, every_ns=None, cooldown_ns=0)
