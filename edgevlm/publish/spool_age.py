"""How old a spooled message is, whatever the wall clock has done since.

Within one boot of the machine the monotonic clock tells. Across boots only the wall clock can, and only where
it was right at both ends; else the age is unknown, and nothing is dropped for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgevlm.runtime.clock import Clock
from edgevlm.runtime.timesync import ClockState, clock_state

_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One instant by both clocks."""

    kernel_boot: str
    mono_ns: int
    utc_ns: int
    synchronized: int

    def columns(self) -> tuple[str, int, int, int]:
        """Return what a row keeps of it."""
        return self.kernel_boot, self.mono_ns, self.utc_ns, self.synchronized

    def secs_since(self, earlier: Stamp) -> float | None:
        """Return how long ago `earlier` was; None when nobody can know."""
        if earlier.kernel_boot == self.kernel_boot:
            return (self.mono_ns - earlier.mono_ns) / 1e9
        if earlier.synchronized and self.synchronized:
            return (self.utc_ns - earlier.utc_ns) / 1e9
        return None


class Age:
    """Stamps of this boot of the machine."""

    def __init__(
        self,
        clock: Clock,
        *,
        kernel_boot: str | None = None,
        clock_state: Callable[[], ClockState] = clock_state,
    ) -> None:
        self._clock = clock
        self._kernel_boot = kernel_boot
        self._clock_state = clock_state

    def now(self) -> Stamp:
        """Return this instant; blocks on a small file the first time."""
        if self._kernel_boot is None:
            self._kernel_boot = _read_kernel_boot()
        synchronized = self._clock_state() == "synchronized"
        return Stamp(self._kernel_boot, self._clock.monotonic_ns(), self._clock.utc_ns(), int(synchronized))


def _read_kernel_boot() -> str:
    try:
        return _KERNEL_BOOT.read_text(encoding="ascii").strip()
    except OSError:  # hidden by a sandbox: then every start counts as a boot
        return f"start-{secrets.token_hex(8)}"
