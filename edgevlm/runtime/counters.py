"""Counts of what happened and of what was dropped, under a reason; read by the `stats` topic.

Owned by the event loop: call it from nowhere else.
"""

from __future__ import annotations

from collections import Counter


class Counters:
    """Monotone counters, keyed by what is counted and for whom."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._drops: Counter[tuple[str, str, str]] = Counter()

    def count(self, what: str, who: str = "", amount: int = 1) -> None:
        """Count `amount` more of `what` (`answers`, `requests`, …) for `who` (`camera/rule`, a sink, …)."""
        self._counts[what, who] += amount

    def drop(self, stage: str, reason: str, who: str = "", amount: int = 1) -> None:
        """Count a frame, request or message that was deliberately not processed."""
        self._drops[stage, reason, who] += amount

    def total(self, what: str) -> int:
        """Return how many of `what` were counted for everybody together."""
        return sum(count for (name, _), count in self._counts.items() if name == what)

    def dropped(self, reason: str | None = None) -> int:
        """Return how many were dropped for `reason`, or for any."""
        return sum(count for (_, why, _), count in self._drops.items() if reason in (None, why))

    def statistics(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return a snapshot: `{"counts": {what: {who: n}}, "drops": {"stage/reason": {who: n}}}`."""
        counts: dict[str, dict[str, int]] = {}
        for (what, who), count in sorted(self._counts.items()):
            counts.setdefault(what, {})[who] = count
        drops: dict[str, dict[str, int]] = {}
        for (stage, reason, who), count in sorted(self._drops.items()):
            drops.setdefault(f"{stage}/{reason}", {})[who] = count
        return {"counts": counts, "drops": drops}
