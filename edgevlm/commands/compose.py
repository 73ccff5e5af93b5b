"""Composes the configuration of one source, one question and one model: for `try`, and for `--save`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import yaml

from edgevlm.errors import ConfigError

CAMERA = "camera"
"""The one camera's name."""
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_HEAD = "# Written by `edgevlm try`; every option: docs/configuration.md\n"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user typed."""

    source: str
    question: str | None = None
    task: str = "caption"
    classes: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    output_structure: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Composed:
    """A configuration as a mapping, and a camera password that is written to a file of its own."""

    mapping: dict[str, Any]
    password: str | None = field(default=None, repr=False)

    def write(self, path: Path) -> None:
        """Write the configuration to `path`, the password beside it, both for the user's eyes alone."""
        mapping = dict(self.mapping)
        text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=100)
        if self.password is not None:
            secret = path.with_name(f"{path.stem}.camera-password")
            _write_private(secret, self.password + "\n")
            text = text.replace(_MARK, f"!file {secret.name}")
        _write_private(path, _HEAD + text)

    def save(self, path: Path) -> None:
        """Write it as a configuration to keep: asked every minute, answers in files."""
        kept = self.mapping | {"sinks": {"results": {"type": "file", "evidence": ["picture"]}}}
        Composed(kept, self.password).write(path)


_MARK = "secret-goes-here"


def compose(wish: Wish, model: dict[str, Any]) -> Composed:
    """Return the configuration that asks `model` about the source as soon as it shows a frame."""
    source, password = _source(wish.source)
    rule = {"trigger": {"type": "interval", "every_secs": 60}, "task": _task(wish), "model": "model"}
    mapping = {
        "models": {"model": model},
        "cameras": {CAMERA: {"source": source, "rules": {"question": rule}}},
    }
    return Composed(mapping, password)


def model_section(base_url: str, model: str) -> dict[str, Any]:
    """Return the section of an OpenAI-compatible server."""
    return {"type": "openai-compatible", "base_url": base_url, "model": model}


def _source(text: str) -> tuple[dict[str, Any], str | None]:
    if text.startswith(("rtsp://", "rtsps://")):
        return _rtsp(text)
    if text.startswith("/dev/"):
        return {"type": "usb", "device": text}, None
    path = Path(text).absolute()
    if not path.exists():
        raise ConfigError(
            f"{text}: no such file; a source is an rtsp:// URL, a device such as /dev/video0, "
            "a video file, a picture or a folder of pictures"
        )
    if path.is_dir() or path.suffix.lower() in _PICTURES:
        return {"type": "image", "path": str(path)}, None
    return {"type": "file", "path": str(path), "loop": True}, None


def _rtsp(url: str) -> tuple[dict[str, Any], str | None]:
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    source: dict[str, Any] = {"type": "rtsp", "url": urlunsplit(parts._replace(netloc=place))}
    if not login:
        return source, None
    username, _, password = login.partition(":")
    source["username"] = unquote(username)
    if password:
        source["password"] = _MARK
    return source, unquote(password) or None


def _task(wish: Wish) -> dict[str, Any]:
    task: dict[str, Any] = {"type": wish.task}
    if wish.question:
        task["prompt"] = wish.question
    if wish.classes:
        task["classes"] = list(wish.classes)
    if wish.answers:
        task["answers"] = list(wish.answers)
    if wish.output_structure:
        task["output_structure"] = wish.output_structure
    return task


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
