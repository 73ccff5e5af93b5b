"""The clip that goes with one question: waited for where the model is shown it, else made meanwhile.

A clip that is evidence alone never holds up a question; an answer waits a little for it, and then goes
without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from edgevlm.records import Clip, Request

TakeClip = Callable[[Request], Awaitable[Clip]]
"""Makes the clip of a request that has one; raises `CaptureError`."""

PATIENCE_SECS = 20.0
"""How long an answer that is there waits for its evidence: privacy masks make a clip slow."""


class Footage:
    """One question's clip; leaving the `with` block ends whatever is still under way."""

    def __init__(self, request: Request, take_clip: TakeClip | None) -> None:
        self._request = request
        self._take_clip = take_clip if request.clip is not None else None
        self._task: asyncio.Task[Clip] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    async def begin(self) -> Clip | None:
        """Have the clip made; return it where the model is to be shown it.

        Raises:
            CaptureError: there is none, and the question is about it.

        """
        if self._take_clip is None or self._request.clip is None:
            return None
        name = f"edgevlm[{self._request.camera}].clip"
        self._task = asyncio.create_task(_made(self._take_clip(self._request)), name=name)
        self._task.add_done_callback(_look_at)
        return await self._task if self._request.clip.asked else None

    async def evidence(self) -> Clip | None:
        """Return the clip to keep.

        Raises:
            CaptureError: there is none, though there should be.
            TimeoutError: it takes too long.

        """
        if self._task is None:
            return None
        async with asyncio.timeout(PATIENCE_SECS):
            return await self._task


async def _made(clip: Awaitable[Clip]) -> Clip:
    return await clip


def _look_at(task: asyncio.Task[Clip]) -> None:
    """Take note of an error, also where nobody waits for the clip any more."""
    if not task.cancelled():
        task.exception()
