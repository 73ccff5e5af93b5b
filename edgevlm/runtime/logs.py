"""Where log lines go and how they look.

structlog and the standard library's logging (aiohttp, paho, asyncio, warnings, uncaught exceptions) meet in
one handler, so that everything passes the same mask last but one, before it is rendered. On a terminal an
event is a coloured line with its traceback below; off it, always one line; under journald with a `<priority>`
in front and no time of its own; JSON by choice. A warning or error that repeats word for word is folded.
"""

from __future__ import annotations

import io
import json as json_format
import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from edgevlm.runtime.clock import Clock, SystemClock
from edgevlm.runtime.fold import Fold
from edgevlm.runtime.redact import Redactor

Level = Literal["debug", "info", "warning", "error", "critical"]
Event = MutableMapping[str, Any]

_QUIET = ("aiohttp.access",)  # a line a request tells nothing that the counters do not
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # sd-daemon(3)
_COLOURS = {"critical": "1;31", "error": "31", "warning": "33", "info": "32", "debug": "2"}
_SAFE = frozenset(" \t=\"'")


def configure(
    *,
    redactor: Redactor,
    level: Level = "info",
    json: bool = False,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> None:
    """Send all logs of this process to `stream` (stderr when absent), masked; a second call replaces it."""
    stream = sys.stderr if stream is None else stream
    clock = SystemClock() if clock is None else clock
    if isinstance(stream, io.TextIOWrapper):  # a character that the locale lacks must not lose the line
        stream.reconfigure(errors="backslashreplace")
    handler = _MaskedStream(stream, redactor)
    handler.setFormatter(_formatter(_renderer(stream, json=json), redactor, clock))
    handler.addFilter(_FoldRepeats(clock).filter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    _catch_uncaught()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_GATHER,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


_GATHER: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
]


def _formatter(
    render: structlog.typing.Processor, redactor: Redactor, clock: Clock
) -> structlog.stdlib.ProcessorFormatter:
    def stamp(_logger: Any, _method: str, event: Event) -> Event:
        event["timestamp"] = _rfc3339(clock.utc_ns())
        if folded := getattr(event["_record"], "folded", 0):
            event["folded"] = folded
        return event

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_GATHER, structlog.stdlib.ExtraAdder()],
        processors=[
            stamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redactor.event,
            render,
        ],
    )


def _renderer(stream: TextIO, *, json: bool) -> structlog.typing.Processor:
    journal = _is_journal(stream)
    if json:
        return JsonLines(priority=journal)
    return Lines(
        priority=journal, colours=stream.isatty() and "NO_COLOR" not in os.environ, tall=stream.isatty()
    )


def _is_journal(stream: TextIO) -> bool:
    """Tell whether `stream` is what systemd connected to journald (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


class JsonLines:
    """Renders an event as one JSON object."""

    def __init__(self, *, priority: bool) -> None:
        self._priority = priority

    def __call__(self, _logger: Any, _method: str, event: Event) -> str:
        """Return the line."""
        prefix = f"<{_PRIORITIES.get(event.get('level', ''), 6)}>" if self._priority else ""
        return prefix + json_format.dumps(event, ensure_ascii=False, default=str)


class Lines:
    """Renders an event as `time level text  key=value …`.

    What came from a camera or a server cannot start a line of its own or send escapes to the terminal.
    """

    def __init__(self, *, priority: bool, colours: bool, tall: bool) -> None:
        self._priority = priority
        self._colours = colours
        self._tall = tall

    def __call__(self, _logger: Any, _method: str, event: Event) -> str:
        """Return the line; with `tall`, the traceback in lines of its own."""
        level, time = event.pop("level", "info"), event.pop("timestamp", "")
        text, logger = str(event.pop("event", "")), event.pop("logger", None)
        below = [str(event.pop(key)) for key in ("stack", "exception") if self._tall and key in event]
        pairs = [f"{self._paint('36', key)}={_quoted(value)}" for key, value in sorted(event.items())]
        pairs += [f"{self._paint('2', 'logger')}={logger}"] if logger else []
        head = (
            f"<{_PRIORITIES.get(level, 6)}>"
            if self._priority
            else f"{time} {self._paint(_COLOURS.get(level, '0'), level)} "
        )
        line = head + "  ".join(filter(None, (_printable(text), " ".join(pairs))))
        return "\n".join(
            [line, *("\n".join(_printable(part) for part in text.splitlines()) for text in below)]
        )

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json_format.dumps(value, ensure_ascii=False, default=str)
    if text and text.isprintable() and _SAFE.isdisjoint(text):
        return text
    return _printable(json_format.dumps(text, ensure_ascii=False) if isinstance(value, str) else text)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _rfc3339(utc_ns: int) -> str:
    secs, rest_ns = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(secs, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000_000:03d}Z"


class _MaskedStream(logging.StreamHandler[TextIO]):
    """Writes lines; a record that cannot be formatted is told without its arguments: they are not masked."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        super().__init__(stream)
        self._redactor = redactor

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the standard library's name
        """Write where the bad record came from, and nothing of what it holds."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # the reader of our stderr is gone: nobody to tell
            return
        place = f"{record.name} ({record.pathname}:{record.lineno})"
        text = f"a log record of {place} cannot be written: {type(error).__name__}"
        self.stream.write(self._redactor.text(text) + self.terminator)


class _FoldRepeats:
    """Keeps warnings and errors that repeat word for word from filling the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fold = Fold()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write `record`; note on it how many like it were folded."""
        if record.levelno < logging.WARNING:
            return True
        error = record.exc_info[1] if record.exc_info else None
        key = (record.name, record.levelno, str(record.msg), str(record.args), repr(error))
        folded = self._fold.seen(key, self._clock.monotonic_ns())
        if folded:
            record.folded = folded
        return folded is not None


def _catch_uncaught() -> None:
    """Log what would otherwise be printed on stderr as it is, unmasked."""
    log = logging.getLogger("edgevlm")

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught exception", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        error = args.exc_value or args.exc_type()
        log.critical("a thread died: %s", name, exc_info=(args.exc_type, error, args.exc_traceback))

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        error = args.exc_value or args.exc_type()
        log.error(
            "%s", args.err_msg or "exception ignored", exc_info=(args.exc_type, error, args.exc_traceback)
        )

    sys.excepthook = uncaught
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
