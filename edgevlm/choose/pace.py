"""How soon the next question may come: the cool-down, and longer where a scene never comes to rest.

`heat` counts the questions of the last moments and cools while nothing moves: an event that goes on is asked
about after 10, 20, 40 .. 300 s. `load` counts all since the scene was last empty for a while: a busy road
may cost a dozen questions, and then ever fewer.
"""

from __future__ import annotations

import math

_RE_ASK_SECS = 10.0
_RE_ASK_MOST_SECS = 300.0
_HOT = 1.5
_COOLING_SECS = 15.0
_EMPTY_SECS = 5.0
_FREE_LOAD = 12
_CONTINUING = 6.0
"""An event that only goes on is asked about this many times less often than one with news."""


class Pace:
    """Owned by one rule."""

    def __init__(self, cooldown_secs: float) -> None:
        self._cooldown_secs = cooldown_secs
        self._asked_secs: float | None = None
        self._heat = self._load = self._empty_secs = 0.0

    def asked(self, at_secs: float, *, about_change: bool) -> None:
        """Note a question."""
        self._asked_secs = at_secs
        if about_change:
            self._heat += 1
            self._load += 1

    def cool(self, gap_secs: float, *, moving: bool, empty: bool) -> None:
        """Forget questions: those of the last moments while nothing moves, all after a while of nothing."""
        gap_secs = min(gap_secs, 5.0)
        if not moving:
            self._heat *= math.exp(-gap_secs / _COOLING_SECS)
        self._empty_secs = self._empty_secs + gap_secs if empty else 0.0
        if self._empty_secs > _EMPTY_SECS:
            self._load *= math.exp(-gap_secs / _COOLING_SECS)

    def since_asked_secs(self, at_secs: float) -> float:
        """Return how long the last question of any kind is ago."""
        return math.inf if self._asked_secs is None else at_secs - self._asked_secs

    def cooled_down(self, at_secs: float) -> bool:
        """Return whether the cool-down alone is over."""
        return self.since_asked_secs(at_secs) >= self._cooldown_secs

    def may_ask(self, at_secs: float) -> bool:
        """Return whether a question about something new may come now."""
        hot = _doubled_secs(self._heat - 2) if self._heat >= _HOT else 0.0
        loaded = _doubled_secs(self._load - _FREE_LOAD) if self._load > _FREE_LOAD else 0.0
        return self.since_asked_secs(at_secs) >= max(self._cooldown_secs, hot, loaded)

    def may_ask_again(self, at_secs: float) -> bool:
        """Return whether a question about something that only goes on may come now."""
        pause_secs = min(_CONTINUING * _doubled_secs(self._heat - 1), _RE_ASK_MOST_SECS)
        return self.may_ask(at_secs) and self.since_asked_secs(at_secs) >= pause_secs


def _doubled_secs(doublings: float) -> float:
    return min(_RE_ASK_SECS * 2.0 ** min(max(0, round(doublings)), 9), _RE_ASK_MOST_SECS)
