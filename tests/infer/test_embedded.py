"""Real RapidOCR on pictures that are drawn here, and the order in which it reads."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.errors import ConfigError, ModelRefused, ModelTimeout, PictureRejected
from edgevlm.infer import embedded
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.infer.embedded import EmbeddedBackend
from edgevlm.infer.layout import Piece, mean_score, reading_order
from edgevlm.infer.prompt import NO_TEXT
from tests.infer.drawn import canvas, picture, prompt, write


def config(**fields: Any) -> EmbeddedConfig:
    return EmbeddedConfig(type="embedded", **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ocr() -> AsyncIterator[EmbeddedBackend]:
    """One engine for all tests: loading it takes a second."""
    backend = EmbeddedBackend("reader", config())
    await backend.open()
    yield backend
    await backend.close()


in_module_loop = pytest.mark.asyncio(loop_scope="module")


@in_module_loop
async def test_a_drawn_gauge_and_label_are_read_in_order(ocr: EmbeddedBackend) -> None:
    image = canvas(640, 360)
    write(image, "LOT 77123", (40, 260))
    write(image, "PRESSURE 4.25 bar", (40, 100))
    got = await ocr.ask(prompt("ocr"), [picture(image)], timeout_secs=30)
    assert got.text.split("\n") == ["PRESSURE 4.25 bar", "LOT 77123"]
    assert got.confidence is not None
    assert 0.8 < got.confidence <= 1
    assert (got.finish_reason, got.model) == ("stop", "rapidocr")
    assert got.usage.latency_ms is not None
    assert got.usage.latency_ms > 0


@in_module_loop
async def test_several_pictures_are_read_one_after_the_other(ocr: EmbeddedBackend) -> None:
    pages = []
    for text in ("FIRST", "SECOND"):
        image = canvas()
        write(image, text, (30, 100))
        pages.append(picture(image))
    got = await ocr.ask(prompt("ocr"), pages, timeout_secs=30)
    assert got.text == "FIRST\nSECOND"


@in_module_loop
@pytest.mark.parametrize("size", [(1, 1), (4, 1400), (1400, 4)])
async def test_a_picture_without_text_says_so_whatever_its_shape(
    ocr: EmbeddedBackend, size: tuple[int, int]
) -> None:
    # A strip is not blown up to gigabytes: 10 x 2000 took 14 GB and minutes before it was padded.
    got = await ocr.ask(prompt("ocr"), [picture(canvas(*size))], timeout_secs=30)
    assert (got.text, got.confidence) == (NO_TEXT, None)


@in_module_loop
async def test_the_engine_is_quiet(ocr: EmbeddedBackend, capfd: pytest.CaptureFixture[str]) -> None:
    assert (await ocr.ask(prompt("ocr"), [picture()], timeout_secs=30)).text == NO_TEXT
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("RapidOCR").handlers


@in_module_loop
@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8\xff\xd9", b"GIF89a" * 10])
async def test_what_is_no_picture_is_rejected(ocr: EmbeddedBackend, jpeg: bytes) -> None:
    with pytest.raises(PictureRejected):
        await ocr.ask(prompt("ocr"), [replace(picture(), jpeg=jpeg)], timeout_secs=30)


@in_module_loop
async def test_other_tasks_are_refused(ocr: EmbeddedBackend) -> None:
    assert ocr.tasks() == {"ocr"}
    with pytest.raises(ModelRefused, match="ocr only, not caption"):
        await ocr.ask(prompt("caption"), [picture()], timeout_secs=30)


@in_module_loop
async def test_the_engine_uses_threads_of_its_own_and_not_the_loop(ocr: EmbeddedBackend) -> None:
    asking = asyncio.create_task(ocr.ask(prompt("ocr"), [picture()], timeout_secs=30))
    await asyncio.to_thread(bool)  # the loop turns meanwhile
    assert not asking.done()
    assert any(thread.name == "edgevlm-embedded_0" for thread in threading.enumerate())
    await asking


async def test_nothing_is_downloaded_and_the_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object) -> None:
        raise AssertionError(address)

    before = set(threading.enumerate())
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    backend = EmbeddedBackend("reader", config())
    await backend.open()
    image = canvas()
    write(image, "OK 42", (30, 100))
    assert (await backend.ask(prompt("ocr"), [picture(image)], timeout_secs=30)).text == "OK 42"
    await backend.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith("edgevlm-embedded") for name in left)


async def test_a_missing_extra_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    backend = EmbeddedBackend("reader", config())
    with pytest.raises(ConfigError, match=r"model reader: .*pip install 'edgevlm\[ocr\]'"):
        await backend.open()
    await backend.close()


def test_missing_model_files_are_told_and_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no models in"):
        embedded._parameters("reader", tmp_path)


async def test_a_picture_that_takes_too_long_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Stuck:
        def __init__(self, _name: str) -> None:
            pass

        def read(self, _jpeg: bytes) -> list[Piece]:
            release.wait(10)
            return []

    monkeypatch.setattr(embedded, "_Engine", Stuck)
    backend = EmbeddedBackend("reader", config(timeout_secs=0.05))
    await backend.open()
    with pytest.raises(ModelTimeout):
        await backend.ask(prompt("ocr"), [picture()], timeout_secs=30)
    release.set()
    await backend.close()


# --- reading order ----------------------------------------------------------------------------------------


def piece(text: str, left: float, top: float, width: float, height: float = 20, score: float = 1.0) -> Piece:
    return Piece(text, score, left, top, left + width, top + height)


def test_pieces_side_by_side_are_one_line() -> None:
    # found in the order of their tops, as a slightly tilted line comes
    found = [piece("bar", 120, 96, 40), piece("4.25", 20, 103, 90), piece("LOT", 20, 200, 60)]
    assert reading_order(found) == ["4.25 bar", "LOT"]


def test_large_letters_may_stand_a_little_higher() -> None:
    assert reading_order([piece("bar", 220, 80, 90, 60), piece("4.25", 20, 95, 180, 60)]) == ["4.25 bar"]


def test_a_wide_gap_parts_a_line() -> None:
    assert reading_order([piece("right", 500, 100, 60), piece("left", 0, 101, 60)]) == ["left", "right"]


def test_a_tall_piece_does_not_swallow_the_lines_beside_it() -> None:
    found = [piece("88", 0, 0, 80, 100), piece("upper", 90, 5, 60), piece("lower", 90, 75, 60)]
    assert sorted(reading_order(found)) == ["88", "lower", "upper"]


def test_a_long_line_weighs_more_than_a_short_one() -> None:
    assert mean_score([piece("abc", 0, 0, 9, score=0.9), piece("x", 0, 50, 9, score=0.5)]) == pytest.approx(
        0.8
    )


@given(
    st.lists(
        st.builds(
            piece,
            st.text("abc", min_size=1, max_size=3),
            *[st.floats(0, 2000)] * 3,
            height=st.floats(0, 500),
            score=st.floats(0, 1),
        )
    )
)
def test_no_piece_is_lost_in_any_layout(found: list[Piece]) -> None:
    words = " ".join(reading_order(found)).split()
    assert sorted(words) == sorted(piece.text for piece in found)
    assert (mean_score(found) is None) == (not found)
