"""Figures as Markdown tables, and curves as one SVG picture each; nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.trials.scoring import Score

_HEAD = (
    "| chooser | recall [95 %] | hit | questions | per event | per hour | in quiet "
    "| delay p50/p90 s | ms a look |"
)
_COLOURS = ("#0b6", "#c33", "#36c", "#b70", "#818", "#555")


def table(rows: Sequence[tuple[str, Score]]) -> str:
    lines = [_HEAD, "|---|---|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(_row(name, score) for name, score in rows)])


def _row(name: str, s: Score) -> str:
    low, high = s.interval()
    figures = (
        f"{s.recall:.2f} [{low:.2f}, {high:.2f}]",
        f"{s.hits}/{s.events}" + (f" (+{s.apart_hits}/{s.apart} apart)" if s.apart else ""),
        str(s.questions),
        f"{s.questions_per_event:.2f}",
        f"{s.questions_per_hour:.0f}",
        str(s.in_quiet),
        f"{s.delay(0.5):.1f}/{s.delay(0.9):.1f}",
        f"{s.cpu_ms_a_look:.2f}",
    )
    return f"| {name} | " + " | ".join(figures) + " |"


def curve_picture(curves: dict[str, list[tuple[str, Score]]], path: Path) -> None:
    """Draw recall against questions an hour (logarithmic), a line for each method."""
    points = [s for line in curves.values() for _, s in line]
    most = max(math.log10(max(s.questions_per_hour, 1)) for s in points)
    least = min(math.log10(max(s.questions_per_hour, 1)) for s in points)
    style = 'font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="420" {style}>']
    parts += [
        '<rect width="720" height="420" fill="white"/><path d="M60 20V370H700" stroke="black" fill="none"/>'
    ]
    parts += ['<text x="300" y="405">questions an hour (logarithmic)</text><text x="8" y="14">recall</text>']
    parts += [f'<text x="30" y="{374 - 350 * r}">{r:.1f}</text>' for r in (0.0, 0.5, 1.0)]
    for colour, (name, line) in zip(_COLOURS * 3, curves.items(), strict=False):
        spots = [(_x(s, least, most), 370 - 350 * s.recall, label) for label, s in line]
        along = " ".join(f"{x:.0f},{y:.0f}" for x, y, _ in spots)
        parts.append(f'<polyline points="{along}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}"/>' for x, y, _ in spots]
        parts += [
            f'<text x="{x + 5:.0f}" y="{y + 14:.0f}" fill="{colour}">{name} {label}</text>'
            for x, y, label in spots
        ]
    path.write_text("\n".join([*parts, "</svg>"]), encoding="utf-8")


def _x(s: Score, least: float, most: float) -> float:
    return 70 + 600 * (math.log10(max(s.questions_per_hour, 1)) - least) / max(most - least, 1e-6)
