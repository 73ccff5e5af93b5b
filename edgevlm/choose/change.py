"""The `change` trigger of one rule: which looks deserve a question, and why. Pure; time comes with the looks.

The reference is always the last picture that was *asked* about. The rule asks

* `first`: once, about the first usable look;
* `change`: when a thing comes into its zones (idle -> suspect -> event);
* `novelty`: when another thing joins a running event, when one has grown much, or when the scene has come
  to rest (for the cool-down) in another state than the last asked picture shows: a van that parked, a
  person who left, a door that slowly opened;
* `view_changed`: once, when the camera has been turned and is at rest;
* `heartbeat`: when nothing was asked for `heartbeat_secs`.

Two questions are never nearer than `cooldown_secs`. What comes during the cool-down is not forgotten: its
best look is kept and asked about when the cool-down is over, which is why a `Fired` names instants of the
past. While no calm comes between, the pause doubles with each question (10, 20, 40 .. 300 s). Time is the
looks' own monotonic time: a clock that is set changes nothing, and a suspended machine costs one question
at most. The state is bounded: at most 12 live tracks and 4 that are gone, each with one look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgevlm.choose.canvas import Mask, Plane, Polygon, zone_mask
from edgevlm.choose.condition import Condition
from edgevlm.choose.light import compare_patterns, fit_light, shrink
from edgevlm.choose.scene import View
from edgevlm.choose.tracks import Blob, Shot, Track, Tracks, find_blobs
from edgevlm.records import Instant

State = Literal["idle", "suspect", "event", "cooldown"]
Reason = Literal["first", "change", "novelty", "view_changed", "heartbeat"]

SENSITIVITIES = {"low": 0.5, "normal": 1.0, "high": 2.0}

_SMALLEST = 0.0003
"""Of the picture: a person of 16x34 pixels in 1080 lines, at sensitivity 1."""
_LARGE = 0.004
_ZONE_LARGE = 0.04
_SETTLE_SECS = 0.6
"""How long a better look at a newcomer is waited for, where looks come that often."""
_STALE_SECS = 25.0
_CALM_SECS = 1.5
_LONG_CALM_SECS = 10.0
_SAME_THING_SECS = 3.0
_RE_ASK_SECS = 10.0
_RE_ASK_MOST_SECS = 300.0
_HOT = 1.5
_COOLING_SECS = 15.0
"""Calm that forgets most of the questions that were asked without calm between."""
_EMPTY_SECS = 5.0
_FREE_LOAD = 12
"""Questions that a scene may cost before it must be empty for a while."""
_CONTINUING = 6.0
"""An event that only goes on is asked about this many times less often than one with news."""
_UPHEAVAL_SECS = 3.0
_AT_REST = 2.0
"""The score of a view that has come to rest, above every other."""
_RESTED_LOOKS = 3
_GROWN = 4.0
_QUICK_SECS = 0.7
_SUSPECT_LOOK_SECS = 0.25
_EVENT_LOOK_SECS = 0.5
_SHARP = 0.5
_CLEARLY = 1.2
"""A later look must be this much better: the first moments are what the event was noticed for."""


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """What a user may say of a `change` trigger."""

    zones: Sequence[Polygon] = ()
    heartbeat_secs: float = 600.0
    """0: never."""
    cooldown_secs: float = 10.0
    sensitivity: float = 1.0
    """Smallest area and contrast scale with it; 2 sees half as large, 0.5 twice as large."""


@dataclass(frozen=True, slots=True)
class Fired:
    """One question to ask."""

    reason: Reason
    instants: tuple[Instant, ...]
    """The frames that show it, best first; they may be some seconds old."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one look led to."""

    state: State
    activity: float
    """Share of the zones in which something moves, 0 to 1."""
    condition: Condition
    fired: tuple[Fired, ...] = ()
    wanted_secs: float | None = None
    """How soon another look would help; None: the stream's own keyframes will do."""
    keep: tuple[Instant, ...] = ()
    """Instants that may still be asked about: pin them."""
    withheld: str | None = None
    """Why a due question was not asked."""


class ChangeTrigger:
    """Owned by one rule; `see` takes each view of the camera's scene."""

    def __init__(self, settings: ChangeSettings) -> None:
        self.settings = settings
        self._zone: Mask | None = None
        self._tracks = Tracks(0.0, 0.0)
        self._gone: list[Track] = []
        self._asked: Plane | None = None
        self._asked_secs: float | None = None
        self._asked_front: Mask | None = None
        self._in_event = 0
        self._heat = self._load = self._empty_secs = 0.0
        self._active_secs: float | None = None
        self._rested = 0
        self._upheaval_secs: float | None = None
        self._upheaval_shot: Shot | None = None
        self._quick = False
        self._wanted = False
        self._blobs: list[Blob] = []

    def see(self, view: View) -> Step:
        """Take in one look and return what it leads to."""
        self._fit_to(view)
        if view.condition != "ok":
            return Step("idle", 0.0, view.condition, withheld=view.condition if self._due(view) else None)
        self._quick = view.gap_secs < _QUICK_SECS
        if self._wanted:
            self._tracks.on_demand = self._quick
        if self._asked is None:
            return self._step(view, (self._fire("first", _shot(view, 1.0)),), 0.0)
        self._blobs = self._in_front(view)
        activity = self._follow(view)
        fired = self._choose(view)
        return self._step(view, (fired,) if fired else (), activity)

    def _fit_to(self, view: View) -> None:
        """Draw the zones at the size of the looks."""
        if self._zone is not None and self._zone.shape == view.plane.shape:
            return
        self._zone = zone_mask(self.settings.zones, view.plane.shape)
        inside, whole = float(self._zone.sum()), float(self._zone.size)
        scale = 1 / self.settings.sensitivity
        large = scale * min(_LARGE * whole, _ZONE_LARGE * inside)
        self._tracks = Tracks(min(scale * _SMALLEST * whole, large / 2), large)
        if self._asked is not None and self._asked.shape != view.plane.shape:
            height, width = view.plane.shape
            self._asked = cv2.resize(self._asked, (width, height), interpolation=cv2.INTER_AREA)
            self._asked_front = None

    # --- what is in front -----------------------------------------------------------------------------

    def _in_front(self, view: View) -> list[Blob]:
        assert self._zone is not None
        if view.kind in ("upheaval", "new_view"):
            return []
        foreground = cv2.bitwise_and(view.foreground, self._zone)
        moved = cv2.bitwise_and(view.moved, self._zone)
        return find_blobs(foreground, moved, self._tracks.smallest, view.pattern)

    def _follow(self, view: View) -> float:
        assert self._zone is not None
        width = view.plane.shape[1]
        lost = self._tracks.follow(self._blobs, view.at_secs, view.gap_secs, width)
        self._gone += [track for track in lost if not track.asked and self._ask_worthy(track, lost=True)]
        self._gone = [track for track in self._gone if view.at_secs - track.seen_secs < _STALE_SECS][-4:]
        for track in self._tracks.live:
            self._photograph(track, view)
        busy = any(
            t.blob.moving and t.seen_secs == view.at_secs and (t.large or t.looks > 1)
            for t in self._tracks.live
        )
        if busy or view.kind == "upheaval":
            self._active_secs = view.at_secs
        elif self._calm(view):
            self._in_event = 0
        self._cool(view)
        moved = float(cv2.bitwise_and(view.moved, self._zone).sum())
        return moved / max(1.0, float(self._zone.sum()))

    def _cool(self, view: View) -> None:
        """Forget questions: those of the last moments while nothing moves, all after a while of nothing."""
        gap = min(view.gap_secs, 5.0)
        if not any(blob.moving for blob in self._blobs):
            self._heat *= math.exp(-gap / _COOLING_SECS)
        self._empty_secs = 0.0 if self._blobs else self._empty_secs + gap
        if self._empty_secs > _EMPTY_SECS:
            self._load *= math.exp(-gap / _COOLING_SECS)

    def _calm(self, view: View) -> bool:
        """Return whether the event is over: nobody there any more, or nobody moves for long."""
        calm_secs = view.at_secs - (self._active_secs if self._active_secs is not None else -1e9)
        there = any(track.large and track.asked for track in self._tracks.live)
        return calm_secs >= (_LONG_CALM_SECS if there else _CALM_SECS)

    def _ask_worthy(self, track: Track, *, lost: bool = False) -> bool:
        """Return whether this is a thing that can be shown; one that is gone must have been seen well."""
        if track.best is None or (lost and self._tracks.on_demand and track.looks < 3):
            return False
        return self._tracks.confirmed(track, self._blobs)

    def _photograph(self, track: Track, view: View) -> None:
        """Keep the look that shows a track best, until it is asked about."""
        grown = track.blob.area > _GROWN * track.asked_area and track.blob.area > self._tracks.large
        if track.asked and not (grown and not track.blob.cut):
            return
        track.asked = False
        if track.seen_secs != view.at_secs:
            return
        whole = 0.5 if track.blob.cut else 1.0
        score = track.blob.area**0.5 * min(1.2, max(view.sharpness, 0.1)) * whole
        if track.best is None or score > _CLEARLY * track.best.score:
            track.best = _shot(view, score)

    # --- whether to ask -------------------------------------------------------------------------------

    def _choose(self, view: View) -> Fired | None:
        if view.kind in ("upheaval", "new_view") or self._upheaval_secs is not None:
            return self._upheave(view)
        waiting = self._waiting(view)
        if waiting:
            if self._since_asked(view) >= self._pause():
                return self._ask_about(waiting, view)
        elif self._rests_otherwise(view):
            return self._fire("novelty", _shot(view, 1.0))
        elif self._goes_on(view):
            return self._ask_again(view)
        if self._due(view):
            return self._fire("heartbeat", _shot(view, 1.0))
        return None

    def _waiting(self, view: View) -> list[Track]:
        """Return the newcomers that are confirmed, photographed and unasked."""
        unasked = [track for track in self._tracks.live if not track.asked]
        return self._gone + [t for t in unasked if self._ask_worthy(t) and self._ready(t, view)]

    def _ready(self, track: Track, view: View) -> bool:
        """Return whether to stop waiting for a better look; where looks are rare none is to come."""
        if not self._tracks.on_demand:
            return track.large or track.looks >= 2
        whole = not track.blob.cut and track.looks >= 2 and view.sharpness > _SHARP
        return whole or view.at_secs - track.born_secs >= _SETTLE_SECS

    def _pause(self) -> float:
        """Return how long after the last question the next may come."""
        hot = _re_ask_secs(self._heat - 2) if self._heat >= _HOT else 0.0
        loaded = _re_ask_secs(self._load - _FREE_LOAD) if self._load > _FREE_LOAD else 0.0
        return max(self.settings.cooldown_secs, hot, loaded)

    def _ask_about(self, waiting: Sequence[Track], view: View) -> Fired:
        """Ask about the look that shows most of what waits."""
        slack = min(1.5 * view.gap_secs, _SAME_THING_SECS)
        shots = {t.best.instant.pts_ns: t.best for t in waiting if t.best}
        shot = max(
            shots.values(), key=lambda s: (sum(_weight(t) for t in waiting if _shows(t, s, slack)), s.score)
        )
        reason: Reason = "novelty" if self._in_event else "change"
        for track in (*waiting, *self._tracks.live):
            if _shows(track, shot, slack):
                track.asked, track.asked_area, track.best = True, track.blob.area, None
        self._gone = [track for track in self._gone if not track.asked]
        return self._fire(reason, shot, view)

    def _rests_otherwise(self, view: View) -> bool:
        """Return whether the scene has come to rest in another state than the last asked picture shows."""
        active = self._active_secs
        rest = max(self.settings.cooldown_secs, 4.0)
        if view.kind != "same" or (active is not None and view.at_secs - active < rest):
            self._rested = 0
            return False
        self._rested = self._rested + 1 if self._differs_from_asked(view) else 0
        return self._rested >= _RESTED_LOOKS and self._since_asked(view) >= self.settings.cooldown_secs

    def _differs_from_asked(self, view: View) -> bool:
        assert self._asked is not None
        assert self._zone is not None
        light = fit_light(shrink(self._asked), shrink(view.plane))
        asked = cv2.addWeighted(self._asked, light.gain, self._asked, 0, light.offset)
        amount = cv2.absdiff(asked, view.plane)
        threshold = max(14.0, 6.0 * view.noise) / min(1.5, self.settings.sensitivity)
        if not light.steady:
            threshold += 10.0
        differs = cv2.bitwise_and((amount > threshold).astype(np.uint8), self._zone)
        differs = cv2.bitwise_and(differs, 1 - self._known(view))
        if differs.sum() < self._tracks.large:
            return False
        differs = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        pattern = compare_patterns(asked, view.plane, view.noise)
        return bool(find_blobs(differs, differs, self._tracks.large, pattern))

    def _known(self, view: View) -> Mask:
        """Return where things are that were asked about and, while one is there, where they were then."""
        known = np.zeros(view.plane.shape, dtype=np.uint8)
        there = [track.blob for track in self._tracks.live if track.asked]
        if there and self._asked_front is not None:
            known |= self._asked_front
        for blob in there:
            left = max(0, round(blob.x - blob.width / 2) - 4)
            top = max(0, round(blob.y - blob.height / 2) - 4)
            known[top : top + blob.height + 8, left : left + blob.width + 8] = 1
        return known

    def _goes_on(self, view: View) -> bool:
        moving = any(
            t.moves >= 2 and t.seen_secs == view.at_secs and t.blob.moving for t in self._tracks.live
        )
        pause = min(_CONTINUING * _re_ask_secs(self._heat - 1), _RE_ASK_MOST_SECS)
        return moving and self._in_event > 0 and self._since_asked(view) >= max(pause, self._pause())

    def _ask_again(self, view: View) -> Fired:
        return self._fire("novelty", _shot(view, 1.0), view)

    def _upheave(self, view: View) -> Fired | None:
        """Wait for a big change that is neither light nor shake to come to rest, but not for long."""
        if view.kind == "upheaval":
            self._upheaval_secs = view.at_secs if self._upheaval_secs is None else self._upheaval_secs
            shot = _shot(view, min(1.2, view.sharpness))
            if self._upheaval_shot is None or shot.score > self._upheaval_shot.score:
                self._upheaval_shot = shot
        elif view.kind == "new_view":
            self._tracks.clear()
            self._upheaval_secs = view.at_secs if self._upheaval_secs is None else self._upheaval_secs
            self._upheaval_shot = _shot(view, _AT_REST)
        started, best = self._upheaval_secs, self._upheaval_shot
        patient = started is not None and view.kind == "upheaval" and view.at_secs - started < _UPHEAVAL_SECS
        if patient or best is None or self._since_asked(view) < self._pause():
            return None
        self._upheaval_secs = self._upheaval_shot = None
        return self._fire("view_changed" if best.score >= _AT_REST else "change", best, view)

    def _since_asked(self, view: View) -> float:
        return view.at_secs - (self._asked_secs if self._asked_secs is not None else -1e9)

    def _due(self, view: View) -> bool:
        heartbeat = self.settings.heartbeat_secs
        return heartbeat > 0 and self._since_asked(view) >= max(heartbeat, self.settings.cooldown_secs)

    def _fire(self, reason: Reason, shot: Shot, view: View | None = None) -> Fired:
        height, width = self._zone.shape if self._zone is not None else (0, 0)
        picture = np.frombuffer(shot.picture, dtype=np.uint8).reshape(height, width)
        self._asked = picture.astype(np.float32)
        self._asked_secs = view.at_secs if view else shot.at_secs
        self._asked_front = np.frombuffer(shot.front, dtype=np.uint8).reshape(height, width)
        self._rested = 0
        if reason in ("change", "novelty"):
            self._in_event += 1
            self._heat += 1
            self._load += 1
        return Fired(reason, (shot.instant,))

    def _step(self, view: View, fired: tuple[Fired, ...], activity: float) -> Step:
        state = self._state(view)
        wanted = {"suspect": _SUSPECT_LOOK_SECS, "event": _EVENT_LOOK_SECS}.get(state)
        self._wanted = wanted is not None
        shots = [t.best.instant for t in (*self._gone, *self._tracks.live) if t.best and not t.asked]
        return Step(state, activity, view.condition, fired, wanted, tuple(shots[:3]))

    def _state(self, view: View) -> State:
        if any(not track.asked for track in self._tracks.live) or self._upheaval_secs is not None:
            return "suspect"
        if self._tracks.live:
            return "event"
        return "cooldown" if self._since_asked(view) < self.settings.cooldown_secs else "idle"


def _re_ask_secs(doublings: float) -> float:
    return min(_RE_ASK_SECS * 2.0 ** min(max(0, round(doublings)), 9), _RE_ASK_MOST_SECS)


def _shot(view: View, score: float) -> Shot:
    picture = cv2.convertScaleAbs(view.plane).tobytes()
    front = cv2.dilate(view.foreground, np.ones((9, 9), np.uint8)).tobytes()
    return Shot(view.instant, view.at_secs, score, picture, front)


def _weight(track: Track) -> float:
    return 1.0 if track.large else 0.25


def _shows(track: Track, shot: Shot, slack: float) -> bool:
    """Return whether the track was in view at the shot, or so near in time that it is the same thing."""
    return track.born_secs - slack / 3 <= shot.at_secs <= track.seen_secs + slack
