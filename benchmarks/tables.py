"""Numbers as Markdown: medians, ninetieth percentiles, and what one is to the other."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Both:
    """Something of edgevlm and the same of the plain loop."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Ours to theirs."""
        return self.ours / self.theirs


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured of both; smaller is better."""

    name: str
    unit: str
    value: Both
    tail: Both | None = None
    """The ninetieth percentiles, where `value` holds medians."""
    why: str = ""
    """Why ours is larger, where it is."""


def timed(name: str, ours: Sequence[float], theirs: Sequence[float], why: str = "") -> Row:
    """Return the row for many measurements in milliseconds."""
    medians = Both(statistics.median(ours), statistics.median(theirs))
    return Row(name, "ms", medians, Both(p90(ours), p90(theirs)), why)


def p90(values: Sequence[float]) -> float:
    """Return the value that nine in ten do not exceed."""
    return statistics.quantiles(values, n=10, method="inclusive")[8]


def compare(rows: Sequence[Row], ours: str, theirs: str) -> str:
    """Return the table of `rows`."""
    return table(("", ours, theirs, "ratio"), [_cells(row) for row in rows])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of ready cells, the first column a name."""
    head = ["| " + " | ".join(columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float) -> str:
    """Return the digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cells(row: Row) -> Sequence[str]:
    ours, theirs = number(row.value.ours), number(row.value.theirs)
    if row.tail is not None:
        ours, theirs = f"{ours} / {number(row.tail.ours)}", f"{theirs} / {number(row.tail.theirs)}"
    return f"{row.name}, {row.unit}", ours, theirs, number(row.value.ratio)
