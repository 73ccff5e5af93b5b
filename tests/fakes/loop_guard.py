"""Fails a test in which our code blocks the event loop: files, sleeps, sockets, locks, SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture
def loop_guard() -> Iterator[None]:
    """Raise `blockbuster.BlockingError` in the blocking call, if a function of edgevlm is on its stack.

    Ask for it with `pytestmark = pytest.mark.usefixtures("loop_guard")`. Threads and executors are free.
    """
    with blockbuster_ctx("edgevlm"):
        yield
