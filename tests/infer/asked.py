"""Requests as the choose stage makes them."""

from __future__ import annotations

from itertools import count

from edgevlm.records import Priority, Question, Request, Trigger

_numbers = count(1)

CLASSES = Question(task="classification", classes=("truck", "empty"))


def request(
    *,
    camera: str = "dock",
    rule: str = "truck",
    model: str = "local",
    question: Question = CLASSES,
    command: bool = False,
    priority: Priority = "normal",
    max_age_secs: float = 30.0,
    deadline_secs: float = 10.0,
) -> Request:
    kind = "command" if command else "interval"
    trigger = Trigger(camera, rule, type="command" if command else "interval", reason=kind, fired_mono_ns=0)
    return Request(
        id=f"r-{next(_numbers)}",
        camera=camera,
        rule=rule,
        model=model,
        question=question,
        trigger=trigger,
        priority=priority,
        max_age_secs=max_age_secs,
        deadline_secs=deadline_secs,
    )
