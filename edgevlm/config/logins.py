"""Secrets where they should not stand: in a URL, or in plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_AUTHORITY_END = re.compile(r"[/?#]")
_PORT = re.compile(r"(?::[0-9]*)?")
_IN_QUERY = re.compile(
    r"(?:pass(?:word|wd)?|pwd|token|secret|api_?key)=(.+?)(?=[&/?#\s]|_[a-z]+=|$)", re.IGNORECASE
)
SECRET_KEY = re.compile(
    r"(?:^|_|-)(?:pass(?:word|wd)?|pwd|secret|token|api_?key|authorization)$", re.IGNORECASE
)
"""Keys whose text is never shown, wherever they stand."""


@dataclass(frozen=True, slots=True)
class Login:
    """A URL without its login, and the login, percent-decoded."""

    url: str
    username: str | None
    password: str | None = field(repr=False)
    encoded: str | None = field(repr=False)
    """The password as it stood in the URL."""


def login_of(url: str) -> Login | None:
    """Take the login out of a URL; None when there is none.

    Cameras' passwords hold `#`, `/` and `@`, and people paste them as they are. So the login ends at the last
    @ before the path; where what stands before the path cannot be a host and its port, at the last @ of all.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return None
    userinfo, at, place = _split(rest)
    if not at:
        return None
    username, colon, password = userinfo.partition(":")
    return Login(
        f"{scheme}://{place}",
        unquote(username) or None,
        (unquote(password) or None) if colon else None,
        password or None,
    )


def _split(rest: str) -> tuple[str, str, str]:
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if "@" in authority:
        userinfo, at, host = authority.rpartition("@")
        return userinfo, at, host + rest[len(authority) :]
    port = authority.partition("]")[2] if authority.startswith("[") else authority.partition(":")[2]
    plausible = not port or port.lstrip(":").isdigit()
    return ("", "", rest) if plausible else rest.rpartition("@")


def in_query(url: str) -> list[str]:
    """Return the passwords that stand in the path or the query of a URL, as some cameras want it."""
    return [found.group(1) for found in _IN_QUERY.finditer(url)] if "://" in url else []


def without_login(url: str) -> str:
    """Return the URL as it may be shown."""
    login = login_of(url)
    shown = login.url if login else url
    for secret in in_query(shown):
        shown = shown.replace(secret, "***")
    return shown
