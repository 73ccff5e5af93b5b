"""READ FIRST: the way of a frame. One camera wired capture → choose → infer → publish.

    camera.looks()          capture: the newest look, never a backlog, out of a capture host
    rules.fired_by_clock    choose:  which rule fires now; pure, returns at once
    pool.ask_nowait         infer:   a bounded slot a rule; the frame is bound when a worker is free
    spool.put               publish: on the disk for every sink; then one courier a sink, in order

`Pipeline` is one camera, `Publisher` is the common end of all of them. `daemon` builds and runs both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from itertools import count
from typing import Any

from edgevlm.capture.hosts import Camera
from edgevlm.choose.rules import Rules
from edgevlm.plan import Plan
from edgevlm.publish.result import ResultContext, build_message
from edgevlm.publish.sink import Message, NoticeBoard, Sink, TakesEvidence
from edgevlm.publish.spool import Spool
from edgevlm.records import Answer, Request, Trigger
from edgevlm.runtime.clock import Clock, wait_for
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.timesync import clock_state
from edgevlm.status.notices import RuleStatus, rule_status, rule_status_notice

Reply = Callable[[dict[str, Any]], None]
"""Gives the result document, or an error document, back to whoever sent a command."""

_MAX_REPLIES = 1000
_MAX_WAITING = 100
"""Questions of one camera that wait for frames still to come."""


def local_time(clock: Clock, timezone: tzinfo | None) -> str:
    """Return the site's time for a prompt, to the minute."""
    now = datetime.fromtimestamp(clock.utc_ns() / 1e9, UTC).astimezone(timezone)
    return now.strftime("%A %Y-%m-%d %H:%M")


class Pipeline:
    """One camera and its rules."""

    def __init__(
        self,
        camera: Camera,
        rules: Rules,
        plans: Mapping[str, Plan],
        *,
        ask_nowait: Callable[[Request], None],
        clock: Clock,
        counters: Counters,
        timezone: tzinfo | None = None,
    ) -> None:
        self.camera = camera
        self.last_values: dict[str, str] = {}
        """Rule → the newest answer in short, for `{last.value}`."""
        self._timezone = timezone
        self.rules = rules
        self.plans = plans
        self._ask_nowait = ask_nowait
        self._counters = counters
        self.on_given_up: Callable[[Request, str], None] | None = None
        """Told of a request that ends here, before the pool has it."""
        self._later: asyncio.TaskGroup | None = None
        self._waiting = 0
        self._clock = clock
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow the camera and the clock until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._later = group
            group.create_task(self._follow_looks(), name=f"edgevlm[{self.camera.name}].looks")
            group.create_task(self._follow_clock(), name=f"edgevlm[{self.camera.name}].choose")

    async def _follow_looks(self) -> None:
        async for _ in self.camera.looks():
            self.rules.camera_shows(self._clock.monotonic_ns())
            self._wake.set()

    async def _follow_clock(self) -> None:
        while True:
            self._wake.clear()
            for trigger in self.rules.fired_by_clock(self._clock.monotonic_ns()):
                self.ask(self._request(trigger))
            await wait_for(self._wake, self._pause_secs(), self._clock)

    def _pause_secs(self) -> float | None:
        """Return how long no rule is due; None when only a look or a command can change that."""
        due_ns = self.rules.next_due_mono_ns()
        return None if due_ns is None else max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)

    def ask(self, request: Request) -> None:
        """Hand `request` to the pool, as soon as the last of its frames has been captured."""
        if self._waiting >= _MAX_WAITING:
            self._give_up(request, "too_many_waiting")
        elif _last_secs(request) and self._later is not None:
            name = f"edgevlm[{self.camera.name}].wait-for-frames"
            self._later.create_task(self._ask_later(request), name=name)
        else:
            self._ask_nowait(request)

    async def _ask_later(self, request: Request) -> None:
        self._waiting += 1
        try:
            await self._clock.sleep(_last_secs(request))
        except asyncio.CancelledError:
            self._give_up(request, "shutdown")
            raise
        finally:
            self._waiting -= 1
        self._ask_nowait(request)

    def _give_up(self, request: Request, reason: str) -> None:
        self._counters.drop("choose", reason, f"{request.camera}/{request.rule}")
        if self.on_given_up is not None:
            self.on_given_up(request, reason)

    def _request(self, trigger: Trigger) -> Request:
        last = self.last_values.get(trigger.rule, "")
        return self.plans[trigger.rule].request(
            trigger, {"now": local_time(self._clock, self._timezone), "last.value": last}
        )

    # --- commands -------------------------------------------------------------------------------------

    def ask_by_command(self, rule: str, *, request_id: str | None, prompt: str | None) -> Request:
        """Return the request of somebody who asks now; `ask` sends it on its way."""
        now_ns = self._clock.monotonic_ns()
        trigger = self.rules.fired_by_command(rule, now_ns, request_id=request_id, prompt=prompt)
        return self._request(trigger)

    def set_rule_enabled(self, rule: str, *, enabled: bool) -> None:
        """Let the rule fire, or keep it from firing."""
        self.rules.set_enabled(rule, enabled=enabled)
        self._wake.set()

    def set_interval(self, rule: str, every_secs: float) -> bool:
        """Change a rule's interval; return False for a rule without one."""
        known = self.rules.set_every_secs(rule, every_secs, self._clock.monotonic_ns())
        self._wake.set()
        return known


def _last_secs(request: Request) -> float:
    """Return how long after the trigger the last frame is captured that is asked about."""
    after_secs = 0.0 if request.clip is None else request.clip.after_secs
    return max(request.shot.after_secs, after_secs)


class Publisher:
    """Takes every answer: to the rule's couriers, to whoever asked by command, to the rule's status."""

    def __init__(
        self,
        spool: Spool,
        sinks: Mapping[str, Sink],
        boards: tuple[NoticeBoard, ...],
        context: ResultContext,
        *,
        counters: Counters,
    ) -> None:
        self._spool = spool
        self._sinks = frozenset(sinks)
        self._takes_evidence = {
            name for name, sink in sinks.items() if isinstance(sink, TakesEvidence) and sink.takes_evidence
        }
        self._boards = boards
        self._context = context
        self._counters = counters
        self._seq = count(1)
        self._plans: dict[tuple[str, str], Plan] = {}
        self._replies: dict[str, Reply] = {}
        self._statuses: dict[tuple[str, str], RuleStatus] = {}

    def add(self, plan: Plan) -> None:
        """Know where this rule's answers go."""
        self._plans[plan.camera, plan.rule] = plan

    def _wanted(self, plan: Plan) -> bool:
        """Return whether any of the rule's sinks hands on pictures."""
        return not self._takes_evidence.isdisjoint(plan.sinks)

    def reply_to(self, request: Request, reply: Reply) -> None:
        """Give the answer of `request` to `reply` as well; the oldest of too many is forgotten."""
        if len(self._replies) >= _MAX_REPLIES:
            del self._replies[next(iter(self._replies))]
        self._replies[request.id] = reply

    def give_up(self, request: Request, reason: str) -> None:
        """Tell whoever waits for `request` that there will be no answer."""
        if (reply := self._replies.pop(request.id, None)) is not None:
            reply({"ok": False, "error": f"not asked: {reason}"})

    async def deliver(self, answer: Answer) -> Message:
        """Accept `answer`, hand it to everybody who waits for it, and return its message."""
        request = answer.request
        plan = self._plans[request.camera, request.rule]
        context = replace(self._context, labels=plan.labels, clock=clock_state())
        message = build_message(answer, context=context, seq=next(self._seq))
        if not plan.keeps_clip:
            message = replace(message, evidence=message.pictures)
        sinks = [name for name in plan.sinks if name in self._sinks]
        message = (await self._spool.put(message, sinks, keep_evidence=self._wanted(plan))).message
        self._counters.count("answers", f"{request.camera}/{request.rule}")
        self._counters.count(f"outcome_{answer.outcome}", f"{request.camera}/{request.rule}")
        if (reply := self._replies.pop(request.id, None)) is not None:
            reply(message.document)
        self._tell_status(request, rule_status(answer))
        return message

    def _tell_status(self, request: Request, status: RuleStatus) -> None:
        """Tell subscribers of a rule's status when it changes."""
        name = (request.camera, request.rule)
        if self._statuses.get(name, "ok") != status:
            for board in self._boards:
                board.post(rule_status_notice(*name, status))
        self._statuses[name] = status
