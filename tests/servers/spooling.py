"""A process that accepts answers for ever, for tests that kill it: prints the id of each once it is accepted.

    python -m tests.servers.spooling DIRECTORY [FIRST_SEQ] [COUNT]

What it prints is what was promised: `accepted ID`, or `straight ID` for an answer that could not be stored.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count, islice
from pathlib import Path

import structlog

from edgevlm.publish.spool import Spool
from edgevlm.publish.spool_store import SpoolLimits
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.counters import Counters
from tests.publish.answers import message, picture

LIMITS = SpoolLimits(max_bytes=4_000_000, min_free_bytes=0)


async def _accept(spool: Spool, seq: int) -> None:
    each = message(seq, camera=f"cam{seq % 3}", pictures=(picture(b"jpeg %d" % seq),))
    spooled = await spool.put(each, ["broker", "files"], keep_evidence=seq % 4 == 0)
    print("straight" if spooled.seq is None else "accepted", each.id, flush=True)
    if spooled.seq is not None and seq % 5 == 0:
        spool.settle("files", each.camera, spooled.seq)


async def _run(directory: Path, first: int, amount: int | None) -> None:
    spool = Spool(directory, clock=SystemClock(), counters=Counters(), limits=LIMITS)
    await spool.open()
    print("open", flush=True)
    seqs = count(first) if amount is None else iter(range(first, first + amount))
    while batch := list(islice(seqs, 3)):
        await asyncio.gather(*(_accept(spool, seq) for seq in batch))
    await spool.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    numbers = [int(argument) for argument in sys.argv[2:]]
    asyncio.run(_run(Path(sys.argv[1]), numbers[0] if numbers else 0, numbers[1] if numbers[1:] else None))
