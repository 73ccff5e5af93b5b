"""Carries out what subscribers tell the daemon by `cmd/…`: each command is answered, none blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from edgevlm.pipeline import Pipeline, Publisher
from edgevlm.publish.command import Command
from edgevlm.publish.sink import NoticeBoard
from edgevlm.status.notices import rule_enabled_notices

log = structlog.get_logger()


class Orders:
    """Knows every camera's pipeline; called on the event loop."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        publisher: Publisher,
        boards: tuple[NoticeBoard, ...],
        *,
        barred: Mapping[tuple[str, str], str] | None = None,
        barred_cameras: Mapping[str, str] | None = None,
    ) -> None:
        """Store.

        Args:
            pipelines: by camera.
            publisher: takes whoever waits for an answer.
            boards: show what has changed.
            barred: rules that are there but cannot run, and why.
            barred_cameras: cameras that may not be opened as the site is connected, and why.

        """
        self._barred = barred or {}
        self._barred_cameras = barred_cameras or {}
        self._stopping = False
        self._pipelines = pipelines
        self._publisher = publisher
        self._boards = boards

    def stop(self) -> None:
        """Refuse every command from now on: what it would change ends with us."""
        self._stopping = True

    def carry_out(self, command: Command) -> None:
        """Do what `command` says, or tell its sender why not."""
        pipeline = self._pipelines.get(command.camera)
        if self._stopping:
            self._refuse(command, "edgevlm is stopping")
        elif pipeline is None:
            self._refuse(command, f"there is no camera {command.camera!r}")
        elif command.kind == "enable_camera" and command.enabled and command.camera in self._barred_cameras:
            self._refuse(command, self._barred_cameras[command.camera])
        elif command.kind == "enable_camera":
            pipeline.camera.set_enabled(enabled=bool(command.enabled))
            _accept(command, camera=command.camera, enabled=command.enabled)
        elif command.rule is None or command.rule not in pipeline.plans:
            none = f"camera {command.camera!r} has no rule {command.rule!r}"
            self._refuse(command, self._barred.get((command.camera, command.rule or ""), none))
        else:
            self._to_rule(command, pipeline, command.rule)

    def _to_rule(self, command: Command, pipeline: Pipeline, rule: str) -> None:
        match command.kind:
            case "ask":
                self._ask(command, pipeline, rule)
            case "enable_rule":
                pipeline.set_rule_enabled(rule, enabled=bool(command.enabled))
                for notice in rule_enabled_notices(command.camera, rule, enabled=bool(command.enabled)):
                    for board in self._boards:
                        board.post(notice)
                _accept(command, camera=command.camera, rule=rule, enabled=command.enabled)
            case "interval" if pipeline.set_interval(rule, command.every_secs or 0.0):
                _accept(command, camera=command.camera, rule=rule, every_secs=command.every_secs)
            case _:
                self._refuse(command, f"rule {rule!r} has no interval")

    def _ask(self, command: Command, pipeline: Pipeline, rule: str) -> None:
        request = pipeline.ask_by_command(rule, request_id=command.request_id, prompt=command.prompt)
        if command.reply is not None:
            self._publisher.reply_to(request, command.reply)
        log.info("asked by command", camera=command.camera, rule=rule, request_id=request.id)
        pipeline.ask(request)

    def _refuse(self, command: Command, why: str) -> None:
        log.warning("a command is refused", camera=command.camera, rule=command.rule, why=why)
        if command.reply is not None:
            command.reply({"ok": False, "error": why})


def _accept(command: Command, **what: Any) -> None:
    log.info("a command is carried out", **what)
    if command.reply is not None:
        command.reply({"ok": True, **what})
