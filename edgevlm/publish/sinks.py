"""Builds a sink from its configuration: the one place that knows all kinds."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from edgevlm.publish.config import FileSinkConfig, MqttSinkConfig, SinkConfig, StdoutSinkConfig
from edgevlm.publish.file import FileSink
from edgevlm.publish.mqtt import MqttSink, OnCommand
from edgevlm.publish.sink import Sink
from edgevlm.publish.stdout import StdoutSink
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters


def build_sink(
    name: str,
    config: SinkConfig,
    *,
    node: str,
    state_directory: Path,
    clock: Clock,
    counters: Counters,
    timezone: str | None = None,
    on_command: OnCommand | None = None,
) -> Sink:
    """Return the sink called `name`, not yet open.

    Args:
        name: its key in the configuration.
        config: its section.
        node: name of this box, for topics.
        state_directory: where relative directories begin.
        clock: time.
        counters: where drops are counted.
        timezone: names the days of files; the system's when None.
        on_command: takes commands, on the event loop; without it none are subscribed to.

    """
    match config:
        case MqttSinkConfig():
            return MqttSink(name, config, node=node, clock=clock, counters=counters, on_command=on_command)
        case FileSinkConfig():
            return FileSink(
                name,
                config,
                directory=state_directory / config.directory,
                timezone=ZoneInfo(timezone) if timezone is not None else None,
                clock=clock,
                counters=counters,
            )
        case StdoutSinkConfig():
            return StdoutSink(name, shape=config.format)
