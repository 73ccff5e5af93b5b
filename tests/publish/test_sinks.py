"""From a configuration to a sink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from edgevlm.publish.config import SinkConfig, TlsConfig
from edgevlm.publish.mqtt_wire import port_of, tls_context
from edgevlm.publish.sink import NoticeBoard, Sink, Windowed
from edgevlm.publish.sinks import build_sink
from edgevlm.runtime.counters import Counters
from tests.fakes.clock import FakeClock
from tests.publish.answers import message

CONFIGS: TypeAdapter[SinkConfig] = TypeAdapter(SinkConfig)


def build(config: dict[str, object], directory: Path, clock: FakeClock) -> Sink:
    return build_sink(
        "results",
        CONFIGS.validate_python(config),
        node="gateway-7",
        state_directory=directory,
        clock=clock,
        counters=Counters(),
        timezone="Pacific/Auckland",
    )


async def test_a_relative_directory_lies_below_the_state_directory(tmp_path: Path, clock: FakeClock) -> None:
    sink = build({"type": "file", "directory": "rows"}, tmp_path, clock)
    await sink.open()
    clock.step_utc(12 * 3600)
    await sink.deliver(message(1))
    await sink.close()
    (row,) = (tmp_path / "rows" / "2026-01-02.jsonl").read_text().splitlines()  # tomorrow, in Auckland
    assert json.loads(row)["seq"] == 1
    elsewhere = tmp_path / "elsewhere"
    sink = build({"type": "file", "directory": str(elsewhere)}, tmp_path / "state", clock)
    await sink.open()
    await sink.close()
    assert elsewhere.is_dir()


async def test_only_mqtt_shows_notices_and_has_a_window(tmp_path: Path, clock: FakeClock) -> None:
    mqtt = build({"type": "mqtt"}, tmp_path, clock)
    stdout = build({"type": "stdout"}, tmp_path, clock)
    assert [isinstance(mqtt, kind) for kind in (NoticeBoard, Windowed)] == [True, True]
    assert [isinstance(stdout, kind) for kind in (NoticeBoard, Windowed)] == [False, False]
    assert {mqtt.name, stdout.name} == {"results"}
    await stdout.close()


@pytest.mark.parametrize(("config", "port"), [({}, 1883), ({"tls": {}}, 8883), ({"tls": {}, "port": 7}, 7)])
def test_the_port_follows_from_tls(config: dict[str, object], port: int) -> None:
    parsed = CONFIGS.validate_python({"type": "mqtt", **config})
    assert parsed.type == "mqtt"
    assert port_of(parsed) == port


def test_tls_is_1_2_or_newer_and_verified_unless_told_otherwise() -> None:
    context = tls_context(TlsConfig())
    assert context.minimum_version.name == "TLSv1_2"
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")
    assert tls_context(TlsConfig(verify=False)).verify_mode.name == "CERT_NONE"
