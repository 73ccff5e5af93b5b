"""Says that the daemon is alive, only while it is.

The ping comes from the event loop itself, so a blocked loop is silent by nature; it is also withheld while
the loop turns too slowly, or while a part of the daemon that must make progress has not said so in time.
Parts register a heartbeat for what only a restart of the daemon could cure (a dead writer thread, a stuck
task): never for a camera, a broker or a model being out of reach, or restarts would throw away work.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from edgevlm.runtime.clock import Clock
from edgevlm.runtime.systemd import Notifier

_NS = 1_000_000_000
_CHECKS_A_PING = 4
"""Checks within the interval that systemd wants pings in, so that one slow turn costs a quarter of it."""
_UNWATCHED_INTERVAL_SECS = 10.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """The sign of life of one part of the daemon; `beat()` belongs to the event loop."""

    def __init__(self, name: str, limit_secs: float, clock: Clock) -> None:
        self.name = name
        self.limit_secs = limit_secs
        self._clock = clock
        self._beaten_ns = clock.monotonic_ns()

    def beat(self) -> None:
        """Say that the part has made progress, or has nothing to do."""
        self._beaten_ns = self._clock.monotonic_ns()

    def silent_secs(self, now_ns: int) -> float:
        """Return how long the part has said nothing."""
        return (now_ns - self._beaten_ns) / _NS


def complaints(lag_secs: float, max_lag_secs: float, beats: Iterable[Heartbeat], now_ns: int) -> list[str]:
    """Return why the daemon does not count as alive; nothing when it does."""
    found = [f"event loop late by {lag_secs:.1f} s"] if lag_secs > max_lag_secs else []
    silences = ((beat, beat.silent_secs(now_ns)) for beat in beats)
    return found + [
        f"{beat.name} silent for {secs:.1f} s" for beat, secs in silences if secs > beat.limit_secs
    ]


class LoopWatch:
    """Checks the loop and the heartbeats, and pings systemd's watchdog while all is well.

    `interval_secs` is `watchdog_interval_secs()`; None when nobody watches, complaints are logged anyway.
    """

    def __init__(
        self,
        notifier: Notifier,
        clock: Clock,
        interval_secs: float | None = None,
        *,
        max_lag_secs: float = 2.0,
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._pause_secs = (interval_secs or _UNWATCHED_INTERVAL_SECS) / _CHECKS_A_PING
        self._max_lag_secs = max_lag_secs
        self._beats: list[Heartbeat] = []
        self._complained = False

    def heartbeat(self, name: str, limit_secs: float) -> Heartbeat:
        """Register a part that must beat at least every `limit_secs`."""
        beat = Heartbeat(name, limit_secs, self._clock)
        self._beats.append(beat)
        return beat

    def retire(self, beat: Heartbeat) -> None:
        """Stop expecting `beat`: its part has ended on purpose."""
        self._beats.remove(beat)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            due_ns = self._clock.monotonic_ns() + int(self._pause_secs * _NS)
            await self._clock.sleep(self._pause_secs)
            self._check((self._clock.monotonic_ns() - due_ns) / _NS)

    def _check(self, lag_secs: float) -> None:
        found = complaints(lag_secs, self._max_lag_secs, self._beats, self._clock.monotonic_ns())
        if not found:
            self._notifier.watchdog()
        self._tell(found)

    def _tell(self, found: list[str]) -> None:
        if found and not self._complained:
            log.error("watchdog: not alive, no ping", complaints=found)
        elif self._complained and not found:
            log.info("watchdog: alive again")
        self._complained = bool(found)
