"""The last touches to a parsed configuration: secrets out of URLs, warnings of plain ones, absolute paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgevlm.capture.config import RtspSourceConfig
from edgevlm.config.credentials import BETTER_FORMS
from edgevlm.config.logins import SECRET_KEY, in_query, login_of
from edgevlm.config.mistakes import KeyPath, Report
from edgevlm.config.model import Config
from edgevlm.config.shape import AnyShape, MapShape, ScalarShape, Shape, options
from edgevlm.runtime.section import Secret, Section

FILE_OPTIONS = frozenset({"path", "ca_file", "cert_file", "key_file"})
"""Names of the options that are relative to the configuration file."""


def hide_secrets(value: Any, report: Report, key: str = "") -> None:
    """Tell the report of everything in the raw values that looks like a secret, before any of it is told."""
    if isinstance(value, dict):
        for name, item in value.items():
            hide_secrets(item, report, name)
    elif isinstance(value, list):
        for item in value:
            hide_secrets(item, report, key)
    elif isinstance(value, str):
        _hide_text(value, report, secret=bool(SECRET_KEY.search(key)))


def _hide_text(text: str, report: Report, *, secret: bool) -> None:
    if secret:
        report.hide(text)
    login = login_of(text)
    for found in (login.password, login.encoded) if login else ():
        report.hide(found or "")
    for found in in_query(text):
        report.hide(found)


def finished(config: Config, directory: Path, report: Report) -> Config:
    """Return the configuration as the other stages want it; warn of secrets that can be read in the file."""
    for path, section in sections(config):
        for key, option in options(type(section)).items():
            value = getattr(section, option.name)
            if isinstance(value, Secret):
                _check_secret((*path, key), value, report)
            elif isinstance(value, str):
                _check_url((*path, key), value, section, report)
            elif _free_form(option.shape):
                _refuse_secrets((*path, key), value, report)
    result: Config = _changed(config, directory)
    return result


def sections(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Section]]:
    """Yield every section of a configuration with its path."""
    if isinstance(value, Section):
        yield path, value
        for key, option in options(type(value)).items():
            yield from sections(getattr(value, option.name), (*path, key))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from sections(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from sections(item, (*path, index))


def _check_secret(path: KeyPath, secret: Secret, report: Report) -> None:
    if secret.origin == "plain":
        report.hide(secret.reveal())
        report.warn(path, "the secret stands in plain text", f"better: {BETTER_FORMS}")


def _check_url(path: KeyPath, url: str, section: Section, report: Report) -> None:
    login = login_of(url)
    if login and login.password:
        key = next((key for key, option in options(type(section)).items() if _secret(option.shape)), None)
        where = f" below `{key}`" if key else ""
        report.warn(path, "a password stands in the URL", f"better: {BETTER_FORMS}{where}")
    elif in_query(url):
        report.warn(path, "a password stands in the URL", "let nobody but edgevlm read this file")


def _secret(shape: Shape) -> bool:
    return isinstance(shape, ScalarShape) and shape.kind is Secret


def _free_form(shape: Shape) -> bool:
    return isinstance(shape, AnyShape) or (isinstance(shape, MapShape) and _free_form(shape.value))


def _refuse_secrets(path: KeyPath, value: Any, report: Report) -> None:
    """Report secrets below a key whose content goes out as JSON: it cannot hold them."""
    if isinstance(value, Secret):
        report.wrong_value(path, "a secret cannot stand here", "it would be sent as part of the request")
    children: dict[str, Any] | dict[int, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        children = dict(enumerate(value))
    for key, item in children.items():
        _refuse_secrets((*path, key), item, report)


def _changed(value: Any, directory: Path) -> Any:
    """Return `value` with absolute paths and without logins in camera URLs."""
    if isinstance(value, RtspSourceConfig):
        value = _without_login(value)
    if isinstance(value, Section):
        names = value.model_fields_set
        return value.model_copy(update={name: _option(value, name, directory) for name in names})
    if isinstance(value, dict):
        return {key: _changed(item, directory) for key, item in value.items()}
    return [_changed(item, directory) for item in value] if isinstance(value, list) else value


def _option(section: Section, name: str, directory: Path) -> Any:
    value = getattr(section, name)
    if name in FILE_OPTIONS and isinstance(value, str):
        return str(directory / value)
    return _changed(value, directory)


def _without_login(source: RtspSourceConfig) -> RtspSourceConfig:
    """Move the login from the URL to its own options; what stands there already wins."""
    login = login_of(source.url)
    if login is None:
        return source
    password = source.password or (Secret(login.password) if login.password else None)
    update = {"url": login.url, "username": source.username or login.username, "password": password}
    return source.model_copy(update=update)
