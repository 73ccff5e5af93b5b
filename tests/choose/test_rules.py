"""Triggers fire when they should, and never in a storm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevlm.choose.config import CommandTriggerConfig, IntervalTriggerConfig
from edgevlm.choose.rules import Rules

SECOND = 1_000_000_000


def _rules(every_secs: float = 10, cooldown_secs: float = 0) -> Rules:
    interval = IntervalTriggerConfig(type="interval", every_secs=every_secs, cooldown_secs=cooldown_secs)
    return Rules("yard", {"gate": interval, "manual": CommandTriggerConfig(type="command")})


def test_nothing_fires_before_the_camera_shows_a_frame() -> None:
    rules = _rules()
    assert rules.next_due_mono_ns() is None
    assert rules.fired_by_clock(100 * SECOND) == []


def test_the_first_question_is_asked_with_the_first_frame_and_says_so() -> None:
    rules = _rules()
    rules.camera_shows(5 * SECOND)
    assert rules.next_due_mono_ns() == 5 * SECOND
    (first,) = rules.fired_by_clock(5 * SECOND)
    assert (first.rule, first.type, first.reason) == ("gate", "interval", "first")
    assert rules.fired_by_clock(14 * SECOND) == []
    (second,) = rules.fired_by_clock(15 * SECOND)
    assert second.reason == "interval"


def test_the_interval_does_not_drift_with_late_calls() -> None:
    rules = _rules()
    rules.camera_shows(0)
    rules.fired_by_clock(int(0.3 * SECOND))
    assert rules.next_due_mono_ns() == 10 * SECOND


def test_a_suspended_machine_wakes_without_a_storm() -> None:
    rules = _rules()
    rules.camera_shows(0)
    rules.fired_by_clock(0)
    assert len(rules.fired_by_clock(86_400 * SECOND)) == 1
    assert rules.fired_by_clock(86_400 * SECOND) == []
    assert rules.next_due_mono_ns() == 86_410 * SECOND


def test_the_cooldown_delays_a_shorter_interval() -> None:
    rules = _rules(every_secs=1, cooldown_secs=5)
    rules.camera_shows(0)
    rules.fired_by_clock(0)
    assert rules.fired_by_clock(4 * SECOND) == []
    assert len(rules.fired_by_clock(5 * SECOND)) == 1


def test_a_disabled_rule_fires_for_a_command_only() -> None:
    rules = _rules()
    rules.camera_shows(0)
    rules.set_enabled("gate", enabled=False)
    assert rules.next_due_mono_ns() is None
    assert rules.fired_by_clock(SECOND) == []
    trigger = rules.fired_by_command("gate", SECOND, request_id="r1", prompt="Is it open?")
    assert (trigger.type, trigger.request_id, trigger.prompt) == ("command", "r1", "Is it open?")


def test_the_interval_can_be_changed_while_running() -> None:
    rules = _rules()
    rules.camera_shows(0)
    rules.fired_by_clock(0)
    assert rules.set_every_secs("gate", 2, SECOND)
    assert rules.next_due_mono_ns() == 3 * SECOND
    assert not rules.set_every_secs("manual", 2, SECOND)


@given(
    every=st.floats(0.05, 1000),
    steps=st.lists(st.floats(0, 5000), max_size=50),
)
def test_questions_are_never_more_than_the_interval_allows(every: float, steps: list[float]) -> None:
    rules = _rules(every_secs=every)
    rules.camera_shows(0)
    now_ns, fired = 0, 0
    for step in steps:
        now_ns += int(step * SECOND)
        fired += len(rules.fired_by_clock(now_ns))
    assert fired <= now_ns / int(every * SECOND) + 1
