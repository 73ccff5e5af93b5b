"""Answers as they come: a live table on a terminal, a line each elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_STYLES = {"ok": "green", "unknown": "yellow", "error": "red"}


def value_text(document: Mapping[str, Any]) -> str:
    """Return the value of a result document in one line."""
    if document["outcome"] == "error":
        return f"error {document['error']['code']}: {document['error']['message']}"
    if document["outcome"] == "unknown":
        return "unknown"
    value = document["value"]
    if document["task"] == "ocr":
        value = value["text"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split()) or "(no text)"


def confidence_text(document: Mapping[str, Any]) -> str:
    """Return the confidence with two digits, or a dash."""
    confidence = document["confidence"]
    return f"{confidence['value']:.2f}" if confidence else "-"


def line(document: Mapping[str, Any]) -> str:
    """Return `camera/rule value confidence`."""
    return f"{document['camera']}/{document['rule']} {value_text(document)} {confidence_text(document)}"


class LiveTable:
    """The newest answer of every rule, redrawn in place; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._newest: dict[str, Mapping[str, Any]] = {}
        self._counts: dict[str, int] = {}
        self._live = Live(self._table(), console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def take(self, document: Mapping[str, Any]) -> None:
        """Show a result document."""
        name = f"{document['camera']}/{document['rule']}"
        self._newest[name] = document
        self._counts[name] = self._counts.get(name, 0) + 1
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("rule", "answer", "confidence", "captured at", "latency", "answers", expand=True)
        for name, document in sorted(self._newest.items()):
            latency = document["usage"]["latency_ms"]
            table.add_row(
                name,
                Text(value_text(document), style=_STYLES[document["outcome"]]),
                confidence_text(document),
                (document["captured_at"] or "-")[11:19],
                f"{latency / 1000:.1f} s" if latency is not None else "-",
                str(self._counts[name]),
            )
        return table
