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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2

from edgevlm.choose.canvas import Mask, Polygon, zone_mask
from edgevlm.choose.condition import Condition
from edgevlm.choose.pace import Pace
from edgevlm.choose.reference import Reference, shot_of
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
_UPHEAVAL_SECS = 3.0
_AT_REST = 2.0
"""The score of a view that has come to rest, above every other."""
_RESTED_LOOKS = 3
_GROWN = 4.0
_QUICK_SECS = 1.2
_FRESH_SECS = 1.5
_FRESH_LOOK_SECS = 0.25
_UNASKED_LOOK_SECS = 0.5
_EVENT_LOOK_SECS = 1.0
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
    """The area that counts is divided by it: 2 notices what is half as large, 0.5 only what is twice."""


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
        self._pace = Pace(settings.cooldown_secs)
        self._asked: Reference | None = None
        self._in_event = 0
        self._active_secs: float | None = None
        self._rested = 0
        self._upheaval_secs: float | None = None
        self._upheaval_shot: Shot | None = None
        self._wanted = False
        self._blobs: list[Blob] = []

    def see(self, view: View) -> Step:
        """Take in one look and return what it leads to."""
        self._fit_to(view)
        if view.condition != "ok":
            return Step("idle", 0.0, view.condition, withheld=view.condition if self._due(view) else None)
        if self._wanted:
            self._tracks.on_demand = view.gap_secs < _QUICK_SECS
        if self._asked is None:
            return self._step(view, (self._fire("first", shot_of(view, 1.0), view),), 0.0)
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
        large = max(2.0, scale * min(_LARGE * whole, _ZONE_LARGE * inside))
        self._tracks = Tracks(min(scale * _SMALLEST * whole, large / 2), large)
        self._gone.clear()
        self._upheaval_secs = self._upheaval_shot = None
        if self._asked is not None:
            self._asked.resize(view.plane.shape)

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
        moving = any(blob.moving for blob in self._blobs)
        self._pace.cool(view.gap_secs, moving=moving, empty=not self._blobs)
        moved = float(cv2.bitwise_and(view.moved, self._zone).sum())
        return moved / max(1.0, float(self._zone.sum()))

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
            track.best = shot_of(view, score)

    # --- whether to ask -------------------------------------------------------------------------------

    def _choose(self, view: View) -> Fired | None:
        if view.kind in ("upheaval", "new_view") or self._upheaval_secs is not None:
            return self._upheave(view)
        waiting = self._waiting(view)
        if waiting:
            if self._pace.may_ask(view.at_secs):
                return self._ask_about(waiting, view)
        elif self._rests_otherwise(view) or self._goes_on(view):
            return self._fire("novelty", shot_of(view, 1.0), view)
        if self._due(view):
            return self._fire("heartbeat", shot_of(view, 1.0), view)
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
        assert self._asked is not None
        assert self._zone is not None
        there = [track.blob for track in self._tracks.live if track.asked]
        differs = self._asked.differs(view, self._zone, there, self._tracks.large)
        self._rested = self._rested + 1 if differs else 0
        return self._rested >= _RESTED_LOOKS and self._pace.may_ask(view.at_secs)

    def _goes_on(self, view: View) -> bool:
        moving = any(
            t.moves >= 2 and t.seen_secs == view.at_secs and t.blob.moving for t in self._tracks.live
        )
        return moving and self._in_event > 0 and self._pace.may_ask_again(view.at_secs)

    def _upheave(self, view: View) -> Fired | None:
        """Wait for a big change that is neither light nor shake to come to rest, but not for long."""
        if view.kind == "upheaval":
            self._upheaval_secs = view.at_secs if self._upheaval_secs is None else self._upheaval_secs
            shot = shot_of(view, min(1.2, view.sharpness))
            if self._upheaval_shot is None or shot.score > self._upheaval_shot.score:
                self._upheaval_shot = shot
        elif view.kind == "new_view":
            self._tracks.clear()
            self._upheaval_secs = view.at_secs if self._upheaval_secs is None else self._upheaval_secs
            self._upheaval_shot = shot_of(view, _AT_REST)
        started, best = self._upheaval_secs, self._upheaval_shot
        patient = started is not None and view.kind == "upheaval" and view.at_secs - started < _UPHEAVAL_SECS
        if patient or best is None or not self._pace.may_ask(view.at_secs):
            return None
        self._upheaval_secs = self._upheaval_shot = None
        return self._fire("view_changed" if best.score >= _AT_REST else "change", best, view)

    def _due(self, view: View) -> bool:
        heartbeat = self.settings.heartbeat_secs
        since = self._pace.since_asked_secs(view.at_secs)
        return heartbeat > 0 and since >= max(heartbeat, self.settings.cooldown_secs)

    def _fire(self, reason: Reason, shot: Shot, view: View) -> Fired:
        self._asked = Reference(shot, view.plane.shape)
        self._rested = 0
        about_change = reason in ("change", "novelty")
        self._in_event += about_change
        self._pace.asked(view.at_secs, about_change=about_change)
        return Fired(reason, (shot.instant,))

    def _step(self, view: View, fired: tuple[Fired, ...], activity: float) -> Step:
        state = self._state(view)
        wanted = self._wanted_secs(view)
        self._wanted = wanted is not None
        shots = [t.best.instant for t in (*self._gone, *self._tracks.live) if t.best and not t.asked]
        return Step(state, activity, view.condition, fired, wanted, tuple(shots[:3]))

    def _wanted_secs(self, view: View) -> float | None:
        """Return how soon another look would help: soon for newcomers, seldom for what is known."""
        unasked = [track for track in self._tracks.live if not track.asked]
        if self._upheaval_secs is not None:
            return _FRESH_LOOK_SECS
        if unasked:
            fresh = any(view.at_secs - track.born_secs < _FRESH_SECS for track in unasked)
            return _FRESH_LOOK_SECS if fresh else _UNASKED_LOOK_SECS
        return _EVENT_LOOK_SECS if self._tracks.live else None

    def _state(self, view: View) -> State:
        if any(not track.asked for track in self._tracks.live) or self._upheaval_secs is not None:
            return "suspect"
        if self._tracks.live:
            return "event"
        return "idle" if self._pace.cooled_down(view.at_secs) else "cooldown"


def _weight(track: Track) -> float:
    return 1.0 if track.large else 0.25


def _shows(track: Track, shot: Shot, slack: float) -> bool:
    """Return whether the track was in view at the shot, or so near in time that it is the same thing."""
    return track.born_secs - slack / 3 <= shot.at_secs <= track.seen_secs + slack
