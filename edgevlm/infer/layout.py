"""Where pieces of text stand in a picture, and the order in which a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text and where it stands, in pixels."""

    text: str
    score: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """At least one pixel."""
        return max(1.0, self.bottom - self.top)

    @property
    def middle(self) -> float:
        """The height at which it stands."""
        return (self.top + self.bottom) / 2


def reading_order(pieces: Sequence[Piece]) -> list[str]:
    """Return lines from top to bottom; pieces side by side make one line unless a wide gap parts them."""
    lines: list[str] = []
    for row in _rows(pieces):
        words = [row[0].text]
        for before, piece in pairwise(row):
            if piece.left - before.right > 1.5 * max(before.height, piece.height):
                lines.append(" ".join(words))
                words = []
            words.append(piece.text)
        lines.append(" ".join(words))
    return lines


def mean_score(pieces: Sequence[Piece]) -> float | None:
    """Return the mean score, each piece weighing as much as it has characters; None without text."""
    length = sum(len(piece.text) for piece in pieces)
    if length == 0:
        return None
    score = sum(piece.score * len(piece.text) for piece in pieces) / length
    return min(1.0, max(0.0, score))


def _rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Group what stands at the same height, from left to right within a row."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.middle):
        row = rows[-1] if rows else []
        if row and piece.middle - row[0].middle < min(piece.height, row[0].height) / 2:
            row.append(piece)
        else:
            rows.append([piece])
    return [sorted(row, key=lambda piece: piece.left) for row in rows]
