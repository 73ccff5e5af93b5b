"""The fixture that other tests rely on does find blocking calls, and only on the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest
from blockbuster import BlockingError

from edgevlm.runtime.redact import Redactor


class Blocks:
    """Blocks when it is shown, as a call from within our code."""

    def __repr__(self) -> str:
        time.sleep(0)
        return "shown"


@pytest.mark.usefixtures("loop_guard")
async def test_a_blocking_call_on_the_loop_is_found() -> None:
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        Redactor().value(Blocks())


@pytest.mark.usefixtures("loop_guard")
async def test_threads_may_block() -> None:
    assert await asyncio.to_thread(Redactor().value, Blocks()) == "shown"


@pytest.mark.usefixtures("loop_guard")
async def test_the_tests_own_code_may_block() -> None:
    assert repr(Blocks()) == "shown"


async def test_nothing_is_left_behind() -> None:
    assert Redactor().value(Blocks()) == "shown"
