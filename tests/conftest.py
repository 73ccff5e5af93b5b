"""Fixtures for every test: real servers (`tests/servers`), a clock that is moved by hand (`tests/fakes`)."""

from __future__ import annotations

pytest_plugins = [
    "tests.fakes.clock",
    "tests.fakes.loop_guard",
    "tests.servers.broker",
    "tests.servers.networks",
    "tests.servers.rtsp",
    "tests.servers.s3",
    "tests.servers.vlm",
]
