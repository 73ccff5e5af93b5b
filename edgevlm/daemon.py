"""The daemon's life: build everything, start in order, run, drain in order, stop.

Start: sinks and model endpoints are opened (an unreachable one is no error), then capture hosts; READY is
told when all of that stands, not when cameras are up: a dead camera must not fail the unit. Stop: no new
triggers and no more capture, then requests in flight finish, then couriers deliver what they can, then
sinks say goodbye; each step has its time and is logged.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from edgevlm.capture.hosts import Hosts
from edgevlm.choose.rules import Rules
from edgevlm.config.compatibility import Compatibility
from edgevlm.config.model import Config
from edgevlm.config.reach import Kind
from edgevlm.guard import guarded
from edgevlm.infer.models import build_backend
from edgevlm.infer.pool import Pool
from edgevlm.orders import Orders
from edgevlm.pipeline import Pipeline, Publisher
from edgevlm.plan import camera_specs, plans_of
from edgevlm.publish import spool_orders
from edgevlm.publish.command import Command
from edgevlm.publish.courier import Courier
from edgevlm.publish.result import ResultContext, new_boot_id
from edgevlm.publish.sink import Notice, NoticeBoard
from edgevlm.publish.sinks import build_sink
from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_store import SpoolLimits
from edgevlm.records import Answer, CameraHealth, CameraState, Clip, Picture, Request
from edgevlm.runtime.backoff import Backoff
from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.control import ControlServer
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.ledger import Ledger
from edgevlm.runtime.loopwatch import LoopWatch
from edgevlm.runtime.systemd import Notifier, watchdog_interval_secs
from edgevlm.status.notices import (
    camera_notice,
    info_notice,
    rule_enabled_notices,
    stats_notice,
)

log = structlog.get_logger()

STATS_SECS = 60.0
SPOOL_SILENCE_SECS = 60.0
_DRAIN_ANSWERS_SECS = 10.0
_DRAIN_MESSAGES_SECS = 10.0


class Daemon:
    """Everything that one configuration makes; `run` is its whole life."""

    def __init__(
        self,
        config: Config,
        *,
        state_directory: Path,
        clock: Clock | None = None,
        compatibility: Compatibility | None = None,
    ) -> None:
        """Build what `compatibility` leaves of `config`; all of it when nobody has judged it."""
        self.config = config
        self._found = compatibility
        self.clock: Clock = clock or SystemClock()
        self.counters = Counters()
        self.on_message: Callable[[Mapping[str, Any]], None] | None = None
        """Told of every result document; must not block."""
        self.on_camera: Callable[[CameraHealth], None] | None = None
        self._state_directory = state_directory
        self._timezone = ZoneInfo(config.site.timezone) if config.site.timezone else None
        self._stop = asyncio.Event()
        self._ledger = Ledger(state_directory)
        self._build()

    # --- building: nothing is opened --------------------------------------------------------------------

    def _build(self) -> None:
        self.spool = self._spool()
        self.couriers = {name: self._courier(name) for name in self._usable("sink", self.config.sinks)}
        sinks = [courier.sink for courier in self.couriers.values()]
        self.boards = tuple(sink for sink in sinks if isinstance(sink, NoticeBoard))
        self.pool = Pool(
            {
                name: build_backend(name, self.config.models[name])
                for name in self._usable("model", self._asked_models())
            },
            take_pictures=self._take_pictures,
            take_clip=self._take_clip,
            deliver=self._deliver,
            note_unfinished=self._ledger.note,
            clock=self.clock,
            counters=self.counters,
        )
        sources = frozenset(self._usable("source", self.config.cameras))
        disabled = frozenset(
            name for name, camera in self.config.cameras.items() if not camera.enabled or name not in sources
        )
        self.hosts = Hosts(
            camera_specs(self.config),
            disabled=disabled,
            cameras_per_host=self.config.capture.cameras_per_host,
            clock=self.clock,
            counters=self.counters,
        )
        context = ResultContext(node=self.config.node, boot_id=new_boot_id(self.clock.utc_ns()))
        self.publisher = Publisher(
            self.spool,
            {name: courier.sink for name, courier in self.couriers.items()},
            self.boards,
            context,
            counters=self.counters,
        )
        self.pipelines = {name: self._pipeline(name) for name in self.config.cameras}
        self._orders = Orders(
            self.pipelines,
            self.publisher,
            self.boards,
            barred=self._barred_rules(),
            barred_cameras={
                name: "requires_internet: the site's connectivity does not allow this source"
                for name in self.config.cameras
                if name not in sources
            },
        )

    def _asked_models(self) -> list[str]:
        """Return the models that a rule asks: one that nobody asks is not loaded."""
        asked = {
            plan.model
            for camera in self.config.cameras
            for plan in plans_of(self.config, camera, self._found).values()
        }
        return [name for name in self.config.models if name in asked]

    def _usable(self, kind: Kind, names: Iterable[str]) -> list[str]:
        """Return those of `names` that can work at the site's connectivity."""
        barred = self._found.barred if self._found is not None else frozenset()
        keys: list[Kind] = ["model", "frame_url"] if kind == "model" else [kind]
        return [name for name in names if not any((key, name) in barred for key in keys)]

    def _barred_rules(self) -> dict[tuple[str, str], str]:
        """Return the rules that cannot run, and why."""
        rules = self._found.rules if self._found is not None else ()
        return {(rule.camera, rule.rule): f"{rule.code}: {rule.message}" for rule in rules if not rule.runs}

    def _spool(self) -> Spool:
        section = self.config.spool
        limits = SpoolLimits(
            max_bytes=section.max_bytes,
            max_age_secs=None if section.max_age_days is None else section.max_age_days * 86_400,
            max_evidence_bytes=section.max_evidence_bytes,
        )
        return Spool(self._state_directory, clock=self.clock, counters=self.counters, limits=limits)

    def _courier(self, name: str) -> Courier:
        sink = build_sink(
            name,
            self.config.sinks[name],
            node=self.config.node,
            state_directory=self._state_directory,
            clock=self.clock,
            counters=self.counters,
            timezone=self.config.site.timezone,
            on_command=self._obey,
        )
        return Courier(sink, self.spool, clock=self.clock, counters=self.counters)

    def _pipeline(self, name: str) -> Pipeline:
        plans = plans_of(self.config, name, self._found)
        triggers = {key: self.config.cameras[name].rules[key].trigger for key in plans}
        rules = Rules(name, triggers)
        for key, plan in plans.items():
            self.publisher.add(plan)
            rules.set_enabled(key, enabled=plan.enabled)
        camera = self.hosts.cameras[name]
        camera.on_health = self._camera_changed
        pipeline = Pipeline(
            camera,
            rules,
            plans,
            ask_nowait=self.pool.ask_nowait,
            clock=self.clock,
            counters=self.counters,
            timezone=self._timezone,
        )
        pipeline.on_given_up = self.publisher.give_up
        return pipeline

    # --- what the stages call ---------------------------------------------------------------------------

    async def _take_pictures(self, request: Request) -> tuple[Picture, ...]:
        camera = self.hosts.cameras[request.camera]
        return await camera.pictures(request.shot, request.trigger.fired_mono_ns)

    async def _take_clip(self, request: Request) -> Clip:
        assert request.clip is not None
        camera = self.hosts.cameras[request.camera]
        return await camera.clip(request.clip, request.trigger.fired_mono_ns)

    async def _deliver(self, answer: Answer) -> None:
        message = await self.publisher.deliver(answer)
        if message.state is not None:
            self.pipelines[message.camera].last_values[message.rule] = message.state
        if self.on_message is not None:
            self.on_message(message.document)

    def _obey(self, command: Command) -> None:
        self._orders.carry_out(command)

    def _camera_changed(self, old: CameraHealth, new: CameraHealth) -> None:
        if old.state != new.state:
            self._post(camera_notice(new))
            if self.on_camera is not None:
                self.on_camera(new)

    # --- life -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask `run` to drain and return."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    async def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Run until `stop`; `on_ready` is called once everything stands.

        Raises:
            ConfigError: a component cannot work as it is configured (a missing extra, say).

        """
        async with AsyncExitStack() as stack:
            if self._found is not None:
                await self._guard(self._found, stack)
            await self._open_state(stack)
            for courier in self.couriers.values():
                await courier.open()
                stack.push_async_callback(courier.close)
            await self.pool.open()
            stack.push_async_callback(self.pool.close)
            self._post_first_notices()
            await self._run_tasks(on_ready)

    async def _open_state(self, stack: AsyncExitStack) -> None:
        """Open what outlives a run: the spool, the count of questions in flight, the control socket."""
        await self.spool.open()
        stack.push_async_callback(self.spool.close)
        control = ControlServer(self._state_directory, dict.fromkeys(spool_orders.VERBS, self._order_spool))
        await control.open()
        stack.push_async_callback(control.close)
        if lost := self._ledger.open():
            self.counters.drop("infer", "crash", amount=lost)
            log.warning("questions were in flight when the last run ended: they are lost", questions=lost)
        stack.callback(self._ledger.close)

    async def _order_spool(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.spool.by_hand(spool_orders.work_of(request))

    async def _guard(self, found: Compatibility, stack: AsyncExitStack) -> None:
        """Hold this process to what the site allows, as long as it runs."""
        specs = [camera.spec for camera in self.hosts.cameras.values()]
        guard = guarded(self.config, found, specs, counters=self.counters)
        for spec in await stack.enter_async_context(guard):
            self.hosts.cameras[spec.name].spec = spec

    async def _run_tasks(self, on_ready: Callable[[], None] | None) -> None:
        """Run each stage's tasks, and end them in the order of a frame's way."""
        async with asyncio.TaskGroup() as group:
            delivering = [
                group.create_task(self._keep(courier.run), name=f"edgevlm[{name}].courier")
                for name, courier in self.couriers.items()
            ]
            asking = group.create_task(self._keep(self.pool.run), name="edgevlm.pool")
            watching = [
                group.create_task(self._keep(process.run), name=f"edgevlm.{process.name}")
                for process in self.hosts.processes
            ]
            watching += [
                group.create_task(self._keep(pipeline.run), name=f"edgevlm[{name}].pipeline")
                for name, pipeline in self.pipelines.items()
            ]
            watching.append(group.create_task(self._keep(self._tell_stats), name="edgevlm.stats"))
            if on_ready is not None:
                on_ready()
            await self._stop.wait()
            await self._drain(watching, asking, delivering)

    async def _keep(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run one part for ever: a fault in it is logged and costs this part a pause, the others nothing."""
        backoff = Backoff(first_secs=0.5, cap_secs=60.0)
        while True:
            try:
                await run()
            except Exception:
                task = asyncio.current_task()
                name = task.get_name() if task else "?"
                self.counters.count("faults", name)
                log.exception("a fault of edgevlm itself: the part is started again", part=name)
            else:
                return
            await self.clock.sleep(backoff.next_secs())

    async def _drain(
        self,
        watching: list[asyncio.Task[None]],
        asking: asyncio.Task[None],
        delivering: list[asyncio.Task[None]],
    ) -> None:
        self._orders.stop()
        log.info("stopping: no more capture, no new questions")
        await _end(*watching)
        log.info("stopping: waiting for answers", secs=_DRAIN_ANSWERS_SECS)
        await self.pool.drain(_DRAIN_ANSWERS_SECS)
        await _end(asking)
        self._post_last_notices()
        log.info("stopping: delivering what is left", secs=_DRAIN_MESSAGES_SECS)
        await asyncio.gather(
            *(courier.drain(_DRAIN_MESSAGES_SECS, patient=False) for courier in self.couriers.values())
        )
        await _end(*delivering)
        delivered = sum(courier.statistics().delivered for courier in self.couriers.values())
        log.info("stopped", answers=self.counters.total("answers"), delivered=delivered)

    # --- notices ----------------------------------------------------------------------------------------

    def _post_first_notices(self) -> None:
        notices = [info_notice(self.config, self._found)]
        for camera, rule in self._barred_rules():
            notices += rule_enabled_notices(camera, rule, enabled=False, status="incompatible")
        for name, pipeline in self.pipelines.items():
            notices.append(camera_notice(pipeline.camera.health))
            for rule in pipeline.plans:
                notices += rule_enabled_notices(name, rule, enabled=pipeline.rules.enabled(rule))
        self._post(*notices)

    def _post_last_notices(self) -> None:
        """Leave no camera `online` behind in the broker's memory."""
        for name in self.pipelines:
            self._post(camera_notice(CameraHealth(name, CameraState.OFFLINE)))

    def _post(self, *notices: Notice) -> None:
        for board in self.boards:
            for notice in notices:
                board.post(notice)

    async def _tell_stats(self) -> None:
        while True:
            await self.clock.sleep(STATS_SECS)
            self._post(stats_notice(self.statistics()))

    def statistics(self) -> dict[str, Any]:
        """Return what was counted, camera by camera, sink by sink; a snapshot."""
        return {
            **self.counters.statistics(),
            "cameras": {name: asdict(camera.health) for name, camera in self.hosts.cameras.items()},
            "models": {name: asdict(pool) for name, pool in self.pool.statistics().items()},
            "spool": asdict(self.spool.statistics()),
            "sinks": {name: asdict(courier.statistics()) for name, courier in self.couriers.items()},
        }


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel `tasks` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve(daemon: Daemon, notifier: Notifier) -> None:
    """Run `daemon` as a service: signals, readiness and the watchdog.

    SIGTERM and SIGINT drain in order; a second one leaves at once.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _leave, daemon, notifier, number)
    watch = LoopWatch(notifier, daemon.clock, watchdog_interval_secs())
    daemon.spool.beat = watch.heartbeat("spool", SPOOL_SILENCE_SECS).beat
    watching = asyncio.create_task(watch.run(), name="edgevlm.watchdog")
    try:
        await daemon.run(lambda: _ready(daemon, notifier))
    finally:
        await _end(watching)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _ready(daemon: Daemon, notifier: Notifier) -> None:
    rules = sum(len(pipeline.plans) for pipeline in daemon.pipelines.values())
    log.info("ready", cameras=len(daemon.pipelines), rules=rules, sinks=len(daemon.couriers))
    notifier.ready(f"{len(daemon.pipelines)} cameras, {rules} rules")


def _leave(daemon: Daemon, notifier: Notifier, number: signal.Signals) -> None:
    if daemon.stopping:
        log.warning("second signal: leaving at once", signal=number.name)
        os._exit(1)
    log.info("signal: draining, a second one leaves at once", signal=number.name)
    notifier.stopping("draining")
    daemon.stop()
