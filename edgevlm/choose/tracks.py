"""Things in front of the background, followed from look to look by where they can have got to.

A blob belongs to the track whose thing could have moved there in the time between the looks (nothing in a
camera's view moves faster than `SPEED` widths a second for long). One that belongs to none is a newcomer.
Newcomers are confirmed by a second look, or at once when they are large. Many small blobs at a time are
weather; small ones that never last teach how large a blob must be (`clutter`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgevlm.choose.canvas import Mask
from edgevlm.choose.light import Pattern
from edgevlm.records import Instant

SPEED = 0.12
_LOST_SECS = 1.0
_MOVING_SHARE = 0.12
_MAX_TRACKS = 12
_SWARM = 7
_ALIKE = 6
_SAME_PLACE = 0.3
_FRAGMENT = 0.06
_CLUTTER_SECS = 300.0
_JOIN = np.ones((9, 9), np.uint8)


@dataclass(frozen=True, slots=True)
class Blob:
    """One connected change."""

    x: float
    y: float
    width: int
    height: int
    area: int
    moving: bool
    cut: bool
    """Whether the picture's border cuts it."""

    def apart(self, other: Blob) -> float:
        """Return the free distance between two blobs' boxes in pixels."""
        dx = abs(self.x - other.x) - (self.width + other.width) / 2
        dy = abs(self.y - other.y) - (self.height + other.height) / 2
        return math.hypot(max(dx, 0.0), max(dy, 0.0))

    def overlap(self, other: Blob) -> float:
        """Return the shared share of both boxes, 0 to 1."""
        dx = (self.width + other.width) / 2 - abs(self.x - other.x)
        dy = (self.height + other.height) / 2 - abs(self.y - other.y)
        shared = max(0.0, min(dx, self.width, other.width)) * max(0.0, min(dy, self.height, other.height))
        return shared / (self.width * self.height + other.width * other.height - shared)


@dataclass(slots=True)
class Shot:
    """A look that would show a track well."""

    instant: Instant
    at_secs: float
    score: float
    picture: bytes
    front: bytes
    """1 where something was in front of the background."""


@dataclass(slots=True, eq=False)
class Track:
    """One thing, from its first look to its last."""

    blob: Blob
    born_secs: float
    seen_secs: float
    looks: int = 1
    moves: int = 0
    asked: bool = False
    asked_area: int = 0
    large: bool = False
    best: Shot | None = None


def find_blobs(foreground: Mask, moved: Mask, smallest: float, pattern: Pattern | None) -> list[Blob]:
    """Return the connected changes of at least `smallest` pixels that are not just light, largest first."""
    if cv2.countNonZero(foreground) < max(1.0, smallest):
        return []
    joined = cv2.morphologyEx(foreground, cv2.MORPH_CLOSE, _JOIN)
    x0, y0, wide, high = cv2.boundingRect(joined)
    inside = joined[y0 : y0 + high, x0 : x0 + wide]
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    height, width = foreground.shape
    blobs = []
    for label in range(1, count):
        left, top, w, h, area = (int(value) for value in boxes[label])
        if area < smallest:
            continue
        shape = labels[top : top + h, left : left + w] == label
        left, top = left + x0, top + y0
        cut = left <= 1 or top <= 1 or left + w >= width - 1 or top + h >= height - 1
        part = slice(top, top + h), slice(left, left + w)
        own = shape.view(np.uint8)
        if pattern and pattern.within(part).lit(own):
            continue
        moving = cv2.countNonZero(cv2.bitwise_and(own, moved[part]))
        blobs.append(Blob(left + w / 2, top + h / 2, w, h, area, moving > _MOVING_SHARE * area, cut))
    return sorted(blobs, key=lambda blob: -blob.area)


class Tracks:
    """Owned by one rule: what is in front, in its zones."""

    def __init__(self, smallest: float, large: float) -> None:
        self.smallest, self.large = smallest, large
        self.live: list[Track] = []
        self.on_demand = False
        """Whether looks come when they are wanted: then a second one is waited for."""
        self._clutter = 0.0

    def follow(self, blobs: Sequence[Blob], at_secs: float, gap_secs: float, width: int) -> list[Track]:
        """Take in the blobs of one look; return the tracks that were lost with it."""
        self._clutter *= math.exp(-gap_secs / _CLUTTER_SECS)
        taken = self._stay(blobs, at_secs)
        taken |= self._go_on(blobs, taken, at_secs, 4 + SPEED * width * min(gap_secs, 3.0))
        for blob in blobs:
            if blob not in taken and blob.moving and not _fragment(blob, taken, width):
                taken.add(blob)
                self._begin(blob, at_secs)
        return self._drop(at_secs)

    def _stay(self, blobs: Sequence[Blob], at_secs: float) -> set[Blob]:
        """Give each track the blob that is where it was, if there is one; two tracks on one blob are one."""
        taken: dict[Blob, Track] = {}
        for track in list(self.live):
            blob = max(blobs, key=track.blob.overlap, default=None)
            if blob is None or track.blob.overlap(blob) < _SAME_PLACE or not _alike(track.blob, blob):
                continue
            if blob in taken:
                self._merge(taken[blob], track)
            else:
                taken[blob] = track
                _extend(track, blob, at_secs, self.large)
        return set(taken)

    def _go_on(self, blobs: Sequence[Blob], taken: set[Blob], at_secs: float, reach: float) -> set[Blob]:
        """Give each track that is not where it was the nearest free blob that it can have become."""
        found: set[Blob] = set()
        for track in self.live:
            if track.seen_secs == at_secs:
                continue
            free = [blob for blob in blobs if blob not in taken | found and _alike(track.blob, blob)]
            nearest = min(free, key=track.blob.apart, default=None)
            if nearest is not None and nearest.apart(track.blob) <= reach:
                found.add(nearest)
                _extend(track, nearest, at_secs, self.large)
        return found

    def _merge(self, track: Track, other: Track) -> None:
        self.live.remove(other)
        track.asked = track.asked and other.asked
        if other.best and (track.best is None or other.best.score > track.best.score):
            track.best = other.best

    def _begin(self, blob: Blob, at_secs: float) -> None:
        if len(self.live) < _MAX_TRACKS:
            self.live.append(Track(blob, at_secs, at_secs, moves=1, large=blob.area >= self.large))

    def _drop(self, at_secs: float) -> list[Track]:
        lost = [track for track in self.live if at_secs - track.seen_secs >= _LOST_SECS]
        self.live = [track for track in self.live if track not in lost]
        for track in lost:
            if track.looks < 2 and not track.large:
                self._clutter = max(self._clutter, min(float(track.blob.area), self.large))
        return lost

    def confirmed(self, track: Track, blobs: Sequence[Blob]) -> bool:
        """Return whether this is a thing and no speck."""
        if track.large and (track.looks >= 2 or not self.on_demand):
            return True
        swarm = sum(blob.area < self.large for blob in blobs) >= _SWARM
        enough = track.blob.area >= max(self.smallest, 1.5 * self._clutter)
        return track.looks >= 2 and track.moves >= 2 and enough and not swarm

    def clear(self) -> None:
        """Forget what is in front: the view is another one."""
        self.live.clear()


def _alike(old: Blob, new: Blob) -> bool:
    """Return whether one can become the other: a speck does not become a lorry, nor a lorry a speck."""
    least, most = sorted((max(old.area, 20), max(new.area, 20)))
    return most < _ALIKE * least


def _fragment(blob: Blob, taken: set[Blob], width: int) -> bool:
    """Return whether the blob is a part of a larger thing beside it."""
    near = _FRAGMENT * width
    return any(blob.area < other.area and blob.apart(other) <= near for other in taken)


def _extend(track: Track, blob: Blob, at_secs: float, large: float) -> None:
    track.looks += 1
    track.moves += blob.moving
    track.blob, track.seen_secs = blob, at_secs
    track.large = track.large or (blob.area >= large and blob.moving)
