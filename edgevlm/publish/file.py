"""The file sink: a row of JSON for each result, and the pictures and the clip beside it.

The order is: these, then the row that names them, each on the disk before the next; then what retention
says. A message is delivered when its row is on the disk. All of that happens in one thread of the sink's own,
for a worn-out card may take seconds over a write.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import structlog

from edgevlm.errors import SinkRejected, SinkUnreachable
from edgevlm.publish.config import FileSinkConfig
from edgevlm.publish.evidence import clip_path, keep_evidence, picture_path
from edgevlm.publish.journal import Journal
from edgevlm.publish.result import encode
from edgevlm.publish.retention import Swept, sweep
from edgevlm.publish.roboflow import shape_of
from edgevlm.publish.sink import Evidence, Message
from edgevlm.runtime.clock import Clock
from edgevlm.runtime.counters import Counters
from edgevlm.runtime.timesync import clock_state

log = structlog.get_logger()

_SWEEP_EVERY_NS = 3600 * 10**9
_FOLDER_MODE = 0o750


@dataclass(frozen=True, slots=True)
class _Written:
    torn_bytes: int
    swept: Swept | None


class FileSink:
    """A directory as a destination; implements `Sink`. `_…_now` methods belong to its own thread."""

    def __init__(
        self,
        name: str,
        config: FileSinkConfig,
        *,
        directory: Path,
        timezone: tzinfo | None,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self.name = name
        self._config = config
        self._shape = shape_of(config.format)
        self._directory = directory
        self._timezone = timezone
        self._clock = clock
        self._counters = counters
        self._journal = Journal(directory, config.max_file_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"edgevlm[{name}].file")
        self._stored_bytes = 0
        self._sweep_above_bytes = 0
        self._next_sweep_ns = 0

    @property
    def takes_evidence(self) -> bool:
        """Whether pictures are kept beside the rows."""
        return bool(self._config.evidence)

    async def open(self) -> None:
        """Make the directory; one that cannot be written now is tried again with each message."""
        try:
            await self._in_thread(self._make_directory_now)
        except OSError as err:
            log.warning("cannot write results yet", sink=self.name, why=self._why(err))
        if self._config.retention.max_age_days is not None and clock_state() == "unsynchronized":
            log.warning("nothing is deleted by age while the clock is not synchronized", sink=self.name)

    async def deliver(self, message: Message) -> None:
        """Write the evidence, then the row; return when both are on the disk."""
        now = datetime.fromtimestamp(self._clock.utc_ns() / 1e9, UTC).astimezone(self._timezone)
        try:
            written = await self._in_thread(self._write_now, message, now)
        except OSError as err:
            raise SinkUnreachable(self.name, self._why(err)) from err
        except ValueError as err:
            raise SinkRejected(self.name, str(err)) from err
        self._report(written)

    async def close(self) -> None:
        """Close the file and end the thread."""
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, what: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what, *args)

    def _why(self, err: OSError) -> str:
        return f"cannot write to {err.filename or self._directory}: {err.strerror or err}"

    def _report(self, written: _Written) -> None:
        if written.torn_bytes:
            self._counters.drop("publish", "torn_row", self.name)
            log.warning("cut off a torn row", sink=self.name, torn_bytes=written.torn_bytes)
        if written.swept is not None and written.swept.files:
            self._counters.count("retention_deleted", self.name, written.swept.files)
            log.info(
                "deleted the oldest results",
                sink=self.name,
                files=written.swept.files,
                size_bytes=written.swept.size_bytes,
            )

    # --- the sink's own thread

    def _make_directory_now(self) -> None:
        self._directory.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)

    def _write_now(self, message: Message, now: datetime) -> _Written:
        self._make_directory_now()
        day = now.date().isoformat()
        document = self._keep_evidence_now(message, day)
        row = encode(self._shape(document)) + b"\n"
        torn = self._journal.append(day, row)
        self._stored_bytes += len(row)
        return _Written(torn, self._sweep_now(now) if self._sweep_is_due() else None)

    def _keep_evidence_now(self, message: Message, day: str) -> dict[str, Any]:
        """Keep what this sink wants; return the document that says where it lies."""
        document = dict(message.document)
        if "picture" in self._config.evidence and message.pictures:
            document["frames"] = [
                {**frame, "evidence": self._kept_now(evidence, picture_path(day, message.id, index))}
                for index, (evidence, frame) in enumerate(
                    zip(message.pictures, document["frames"], strict=True)
                )
            ]
        if "clip" in self._config.evidence and message.clip is not None:
            where = self._kept_now(message.clip, clip_path(day, message.id))
            document["clip"] = {**document["clip"], "evidence": where}
        return document

    def _kept_now(self, evidence: Evidence, relative: str) -> str | None:
        """Return `relative` once it is there."""
        try:
            self._stored_bytes += keep_evidence(self._directory, relative, evidence)
        except FileNotFoundError:  # somebody cleaned up behind us: the row tells that there is none
            return None
        return relative

    def _sweep_is_due(self) -> bool:
        retention = self._config.retention
        if retention.max_bytes is None and retention.max_age_days is None:
            return False
        too_many = retention.max_bytes is not None and self._stored_bytes > self._sweep_above_bytes
        return too_many or self._clock.monotonic_ns() >= self._next_sweep_ns

    def _sweep_now(self, now: datetime) -> Swept:
        retention = self._config.retention
        swept = sweep(
            self._directory,
            max_bytes=retention.max_bytes,
            oldest=self._oldest_kept(now),
            in_use=self._journal.path,
        )
        self._stored_bytes = swept.left_bytes
        bound = retention.max_bytes or 0
        # Where the bound cannot be reached (one huge file in use), do not try again with each row.
        self._sweep_above_bytes = bound if swept.left_bytes <= bound else swept.left_bytes + bound // 20
        self._next_sweep_ns = self._clock.monotonic_ns() + _SWEEP_EVERY_NS
        return swept

    def _oldest_kept(self, now: datetime) -> datetime | None:
        """Return the time before which results are too old; None while the clock cannot be trusted.

        A clock that has jumped ten years ahead must not delete everything.
        """
        days = self._config.retention.max_age_days
        if days is None or clock_state() == "unsynchronized":
            return None
        return now - timedelta(days=days)
