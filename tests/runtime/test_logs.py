"""Whatever is logged by whomever is masked, one line, and readable by its reader."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevlm.runtime.logs import configure
from edgevlm.runtime.redact import Redactor
from tests.fakes.clock import FakeClock

SECRET = "swordfish-42"
Configure = Callable[..., io.StringIO]


@pytest.fixture
def logs(clock: FakeClock) -> Iterator[Configure]:
    """Configure logging to a buffer, and put everything back afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)

    def to_buffer(**options: object) -> io.StringIO:
        stream = io.StringIO()
        configure(redactor=Redactor([SECRET]), stream=stream, clock=clock, **options)  # type: ignore[arg-type]  # passed on
        return stream

    yield to_buffer
    root.handlers[:], level, config = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.configure(**config)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def fail(error: Exception) -> None:
    raise error


def test_an_event_is_one_line_of_key_and_value(logs: Configure) -> None:
    stream = logs()
    structlog.get_logger("edgevlm.capture").warning("camera is silent", camera="dock", secs=1.5, url="a b")
    assert stream.getvalue() == (
        "2026-01-01T00:00:00.000Z warning camera is silent  "
        'camera=dock secs=1.5 url="a b" logger=edgevlm.capture\n'
    )


def test_the_standard_library_is_written_alike(logs: Configure) -> None:
    stream = logs()
    logging.getLogger("paho.mqtt").error("lost %s after %d", "broker", 3, extra={"sink": "mqtt"})
    assert stream.getvalue() == (
        "2026-01-01T00:00:00.000Z error lost broker after 3  sink=mqtt logger=paho.mqtt\n"
    )


def test_secrets_are_masked_wherever_they_come_from(logs: Configure) -> None:
    stream = logs(level="debug")
    log = structlog.get_logger("edgevlm")
    log.info("login %s", SECRET, nested={"list": [SECRET], SECRET: 1}, path=Path(f"/{SECRET}"))
    log.bind(url=f"rtsp://viewer:{SECRET}@host").debug("open", error=ValueError(SECRET))
    logging.getLogger("aiohttp.client").info("asked %s", f"http://u:{SECRET}@h", extra={"why": {"x": SECRET}})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"deprecated {SECRET}", stacklevel=1)
    with structlog.contextvars.bound_contextvars(camera=SECRET):
        log.info("bound")
    assert len(stream.getvalue().splitlines()) == 5
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"json": True}])
def test_tracebacks_are_masked_and_stay_in_their_line(logs: Configure, options: dict[str, bool]) -> None:
    stream = logs(**options)
    try:
        fail(ConnectionError(f"rtsp://viewer:{SECRET}@host\nsecond line"))
    except ConnectionError:
        structlog.get_logger("edgevlm").exception("capture failed")
        logging.getLogger("asyncio").exception("task failed")
    assert "rtsp://viewer:***@host" in stream.getvalue()
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("\n") == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(), key=st.text(), value=st.text())
def test_hostile_text_makes_no_line_and_no_escape(logs: Configure, text: str, key: str, value: str) -> None:
    stream = logs()
    structlog.get_logger("edgevlm").info(text.replace("%", ""), pair={key: value}, value=value)
    (line, end) = stream.getvalue().split("\n")
    assert end == ""
    assert line.isprintable()


@given(st.text(), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_lines_hold_the_whole_event(logs: Configure, text: str, value: str) -> None:
    stream = logs(json=True)
    structlog.get_logger("edgevlm.x").info("event", note={"a": [1, None, text]}, value=value)
    event = json.loads(stream.getvalue())
    assert (event["event"], event["level"], event["logger"]) == ("event", "info", "edgevlm.x")
    assert event["note"]["a"][:2] == [1, None]


@pytest.mark.parametrize("as_json", [False, True])
def test_journald_gets_priorities_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Configure, as_json: bool
) -> None:
    logs()  # for its clean-up
    with (tmp_path / "journal").open("w+") as journal:
        stat = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
        configure(redactor=Redactor(), stream=journal, json=as_json)
        for level in ("critical", "error", "warning", "info"):
            getattr(structlog.get_logger("x"), level)("it happened", n=1)
        journal.seek(0)
        lines = journal.read().splitlines()
    assert [line[:3] for line in lines] == ["<2>", "<3>", "<4>", "<6>"]
    assert as_json or lines[0] == "<2>it happened  n=1 logger=x"


def test_a_redirected_stderr_under_systemd_is_not_journald(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logs: Configure
) -> None:
    logs()
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with (tmp_path / "file").open("w+") as file:
        configure(redactor=Redactor(), stream=file)
        structlog.get_logger("x").info("it happened")
        file.seek(0)
        assert file.read().startswith("20")


def test_a_terminal_gets_colours_and_tall_tracebacks(logs: Configure) -> None:
    logs()
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        configure(redactor=Redactor([SECRET]), stream=terminal)
        try:
            fail(ValueError(f"bad {SECRET} \x1b]0;title\x07"))
        except ValueError:
            structlog.get_logger("x").exception("failed", camera="dock")
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[31merror\x1b[0m failed" in shown
    assert shown.count("\n") > 3
    assert "\x1b]" not in shown
    assert SECRET not in shown


def test_the_level_holds_for_everybody(logs: Configure) -> None:
    stream = logs(level="warning")
    structlog.get_logger("x").info("no")
    logging.getLogger("y").info("no")
    logging.getLogger("aiohttp.access").warning("yes")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_broken_record_does_not_leak(logs: Configure) -> None:
    """The standard library would print the record's arguments as they are."""
    stream = logs()
    logging.getLogger("x").info("%d", f"rtsp://u:{SECRET}@h")
    assert "a log record of x" in stream.getvalue()
    assert SECRET not in stream.getvalue()


async def test_repeated_errors_are_folded(logs: Configure, clock: FakeClock) -> None:
    stream = logs()
    for _ in range(25):
        structlog.get_logger("x").error("broker is away", sink="mqtt")
        structlog.get_logger("x").info("not folded")
        await clock.advance(1)
    errors = [line for line in stream.getvalue().splitlines() if "broker" in line]
    assert len(errors) == 2
    assert "folded=9" in errors[1]
    assert stream.getvalue().count("not folded") == 25


def test_different_errors_are_not_folded(logs: Configure) -> None:
    stream = logs()
    for camera in ("a", "b"):
        for text in ("x", "y"):
            logging.getLogger("x").error("camera %s", camera, exc_info=ValueError(text))
    assert stream.getvalue().count("\n") == 4


def test_uncaught_exceptions_are_masked() -> None:
    """In the main thread, in another, where nobody can catch them, and in a callback of the event loop."""
    program = f"""
import asyncio, threading
from edgevlm.runtime.logs import configure
from edgevlm.runtime.redact import Redactor
configure(redactor=Redactor(["{SECRET}"]))
class Bad:
    def __del__(self):
        raise ValueError("unraisable " + "-".join(["swordfish", "42"]))
def fail():
    raise ValueError("raised " + "-".join(["swordfish", "42"]))
thread = threading.Thread(target=fail); thread.start(); thread.join()
async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
asyncio.run(main())
del thread; Bad()
fail()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("***") >= 4
    assert len(done.stderr.splitlines()) == 4
    assert SECRET not in done.stderr


def test_a_closed_reader_does_not_raise(logs: Configure) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs()
    configure(redactor=Redactor(), stream=Gone())
    structlog.get_logger("x").info("nobody reads this")


def test_a_poor_locale_loses_no_line(logs: Configure) -> None:
    logs()
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    configure(redactor=Redactor(), stream=stream)
    structlog.get_logger("x").info("Tür offen")
    stream.flush()
    assert b"T\\xfcr offen" in raw.getvalue()


async def test_asyncio_complaints_go_the_same_way(logs: Configure) -> None:
    stream = logs()
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": f"lost {SECRET}", "exception": ValueError(SECRET)})
    assert "lost ***" in stream.getvalue()
    assert SECRET not in stream.getvalue()
