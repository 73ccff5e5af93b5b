"""A spool for tests: small, in the test's own directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_store import SpoolLimits, SpoolStore
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters

SMALL = SpoolLimits(max_bytes=1_000_000, min_free_bytes=0)


@asynccontextmanager
async def open_spool(
    directory: Path, clock: Clock, counters: Counters | None = None, limits: SpoolLimits = SMALL, **more: Any
) -> AsyncIterator[Spool]:
    spool = Spool(directory, clock=clock, counters=counters or Counters(), limits=limits, **more)
    await spool.open()
    try:
        yield spool
    finally:
        await spool.close()


def store(directory: Path, clock: Clock, limits: SpoolLimits = SMALL, **more: Any) -> SpoolStore:
    """Return the rows themselves, without a thread; not yet open."""
    directory.mkdir(exist_ok=True)
    age = Age(clock, kernel_boot="boot-1", clock_state=lambda: "synchronized")
    return SpoolStore(directory, limits, more.pop("age", age), **more)
