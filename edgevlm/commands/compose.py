"""Composes the configuration of one source, one question and one model: for `try`, and for `--save`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import yaml

from edgevlm.commands.question import task_of
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

    def asking(self, model: dict[str, Any]) -> Composed:
        """Return it with the section of the model that is asked."""
        return Composed({"models": {"model": model}} | self.mapping, self.password)

    def files(self, path: Path) -> list[Path]:
        """Return what `write` writes for `path`: the configuration, and any password's file."""
        return [path] if self.password is None else [path, _password_beside(path)]

    def write(self, path: Path) -> None:
        """Write the configuration to `path`, the password beside it, both new and for the user's eyes alone.

        Raises:
            OSError: one of them cannot be written, or is there already.

        """
        mapping = dict(self.mapping)
        text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=100)
        if self.password is not None:
            secret = _password_beside(path)
            _write_private(secret, self.password + "\n")
            text = text.replace(_MARK, f"!file {secret.name}")
        _write_private(path, _HEAD + text)

    def save(self, path: Path) -> None:
        """Write it as a configuration to keep: asked every minute, answers in files."""
        kept = self.mapping | {"sinks": {"results": {"type": "file", "evidence": ["picture"]}}}
        Composed(kept, self.password).write(path)


_MARK = "secret-goes-here"


def compose(wish: Wish) -> Composed:
    """Return the configuration that asks about the source as soon as it shows a frame; its model is to come.

    Raises:
        Misuse: the options do not make a question.
        ConfigError: the source is not there.

    """
    task = _task(wish)
    task_of(task, prompt_option="a QUESTION")
    source, password = _source(wish.source)
    rule = {"trigger": {"type": "interval", "every_secs": 60}, "task": task, "model": "model"}
    return Composed({"cameras": {CAMERA: {"source": source, "rules": {"question": rule}}}}, password)


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


def _password_beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.camera-password")


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
