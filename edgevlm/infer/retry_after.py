"""How long a server asks us to wait: in a header, in the error body, or in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

MAX_PAUSE_SECS = 3_600.0


def retry_after_secs(headers: Mapping[str, str], hints: Iterable[Any], said: str) -> float | None:
    """Return the pause that the server asks for: in a header, in the body, or in words."""
    waits = (*_header_waits(headers), *(_secs(str(hint)) for hint in hints), _said_secs(said))
    wait = next((wait for wait in waits if wait is not None), None)
    return None if wait is None else min(max(wait, 0.0), MAX_PAUSE_SECS)


def _header_waits(headers: Mapping[str, str]) -> Iterator[float | None]:
    low = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _secs(low.get("retry-after-ms", ""))
    yield None if milliseconds is None else milliseconds / 1000
    yield _secs(low.get("retry-after", ""))
    yield _until(low.get("retry-after", ""), low.get("date", ""))
    yield _reset_secs(low.get("x-ratelimit-reset", ""), low.get("date", ""))


def _secs(text: str) -> float | None:
    """Read `12`, `0.5` and `34s`."""
    match = _NUMBER.fullmatch(text.strip())
    return float(match[1]) if match else None


def _until(text: str, date: str) -> float | None:
    """Return the seconds from the server's own `Date` to an HTTP-date: our clock may be wrong."""
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def _reset_secs(text: str, date: str) -> float | None:
    """Read X-RateLimit-Reset, which is seconds to wait or a time since 1970 in seconds or milliseconds."""
    value = _secs(text)
    if value is None or value < 1e9:
        return value
    try:
        return value / (1000 if value > 1e12 else 1) - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _said_secs(said: str) -> float | None:
    match = _TRY_AGAIN.search(said)
    if match is None:
        return None
    return float(match[1]) * {"m": 60.0, "ms": 0.001, "milli": 0.001}.get(match[2].lower(), 1.0)


_NUMBER = re.compile(r"(\d{1,14}(?:\.\d{1,9})?)s?")
_TRY_AGAIN = re.compile(
    r"(?:again|retry|wait) (?:after|in|for) (?:about )?(\d{1,6}(?:\.\d{1,6})?) ?(milli|ms|s|m)", re.IGNORECASE
)
