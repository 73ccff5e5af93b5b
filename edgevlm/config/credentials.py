"""Where secrets come from: `!env NAME`, `!file PATH`, `!credential NAME`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from edgevlm.runtime.section import Secret

MAX_SECRET_BYTES = 65_536
BETTER_FORMS = "!credential NAME, !file PATH or !env NAME"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}")


class Unreadable(Exception):
    """A secret that cannot be had; `hint` says what would help."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Vault:
    """Looks secrets up; paths are relative to the directory of the configuration file."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ

    def secret(self, tag: str, argument: str) -> tuple[Secret, str]:
        """Return the secret and a warning, which is mostly empty; raise `Unreadable`."""
        if tag == "!env":
            return Secret(_usable(self._variable(argument), "the variable"), "env"), ""
        if tag == "!credential":
            path = self._credential(argument)
            value, _ = _read(path, f"credential {argument}", _credential_hint(argument))
            return Secret(value, "credential"), ""
        path = self._directory / argument
        shown = f"the file {path}" if argument.isprintable() else "the file"
        value, open_to_others = _read(path, shown, "name a readable file that holds only the secret")
        warning = "the file can be read by others than its owner" if open_to_others else ""
        return Secret(value, "file"), warning

    def _variable(self, name: str) -> str:
        if not _VARIABLE.fullmatch(name):
            raise Unreadable("!env takes the name of one variable", "e.g. !env DOCK_PASSWORD")
        value = self._environ.get(name)
        if value is None:
            raise Unreadable(
                f"the variable {name} is not set",
                "set it for this program (systemd: EnvironmentFile=), or use !credential NAME or !file PATH",
            )
        return value

    def _credential(self, name: str) -> Path:
        if not _CREDENTIAL.fullmatch(name):
            raise Unreadable("!credential takes the name of one credential", "e.g. !credential dock")
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise Unreadable(f"credential {name}: no $CREDENTIALS_DIRECTORY", _credential_hint(name))
        return Path(directory) / name


def _credential_hint(name: str) -> str:
    return (
        f"put LoadCredential={name}:/path/of/the/secret into the systemd unit; "
        "outside systemd set CREDENTIALS_DIRECTORY to a directory that holds it"
    )


def _read(path: Path, what: str, hint: str) -> tuple[str, bool]:
    """Return the content of `path`, and whether others than the owner may read it."""
    try:
        # Not a pipe or a device: opening one may wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Unreadable(f"{what} is not a regular file", hint)
            raw = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise Unreadable(f"{what} cannot be read: {reason.lower()}", hint) from None
    return _text(raw, what), bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def _text(raw: bytes, what: str) -> str:
    if len(raw) > MAX_SECRET_BYTES:
        raise Unreadable(f"{what} is larger than {MAX_SECRET_BYTES} bytes", "it must hold only the secret")
    try:
        return _usable(raw.decode("utf-8").rstrip("\r\n"), what)
    except UnicodeDecodeError:
        raise Unreadable(f"{what} is not UTF-8 text", "it must hold only the secret") from None


def _usable(value: str, what: str) -> str:
    """Refuse what no password field and no header can carry."""
    if not value:
        raise Unreadable(f"{what} is empty", "it must hold the secret")
    if any(character in value for character in "\r\n\0"):
        raise Unreadable(f"{what} holds more than one line", "it must hold only the secret")
    if not value.isprintable() and any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise Unreadable(f"{what} is not UTF-8 text", "it must hold only the secret")
    return value
