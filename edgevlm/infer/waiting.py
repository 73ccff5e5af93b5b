"""Which request is asked next, and which gives way. Pure: no clock, no loop.

A rule has one place for what it wants to ask, and a second one for what somebody asks it by command: the
newest request takes the place, the older one is handed back to be counted. Out of the waiting ones goes the
highest priority first; within it the camera that was served longest ago, so that one with twenty rules does
not starve the one beside it; within the camera the oldest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgevlm.records import Priority, Request

_RANK: dict[Priority, int] = {"alert": 0, "normal": 1, "low": 2}

Place = tuple[str, str, bool]


def is_command(request: Request) -> bool:
    """Tell whether somebody waits for the outcome, whatever it is."""
    return request.trigger.type == "command"


@dataclass(slots=True)
class Waiting:
    """The requests that wait for one backend."""

    _places: dict[Place, Request] = field(default_factory=dict)
    _arrivals: dict[Place, int] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _turns: int = 0

    def __len__(self) -> int:
        return len(self._places)

    def put(self, request: Request) -> Request | None:
        """Take `request` in; return the older one of its rule that it replaces, if any.

        The newer request inherits the place in the order: a rule that fires faster than it is asked would
        otherwise always stand last.
        """
        place = (request.camera, request.rule, is_command(request))
        older = self._places.get(place)
        self._places[place] = request
        if older is None:
            self._turns += 1
            self._arrivals[place] = self._turns
        return older

    def take(self) -> Request | None:
        """Remove and return the request that is next; None when nothing waits."""
        if not self._places:
            return None
        place = min(self._places, key=self._order)
        self._turns += 1
        self._served[place[0]] = self._turns
        del self._arrivals[place]
        return self._places.pop(place)

    def clear(self) -> list[Request]:
        """Remove and return everything that waits."""
        left = list(self._places.values())
        self._places.clear()
        self._arrivals.clear()
        return left

    def _order(self, place: Place) -> tuple[int, int, int]:
        rank = _RANK[self._places[place].priority]
        return (rank, self._served.get(place[0], 0), self._arrivals[place])
