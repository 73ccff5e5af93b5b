"""What an operator may ask of the spool: list, retry, drop; the same rows whether a daemon runs or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgevlm.errors import StateError
from edgevlm.publish.spool_store import SpoolStore

Work = Callable[[SpoolStore], dict[str, Any]]


def work_of(request: Mapping[str, Any]) -> Work:
    """Return what to do with the store.

    Raises:
        StateError: the request makes no sense.

    """
    verb, sink, id_ = request.get("do"), request.get("sink"), request.get("id")
    waiting = request.get("waiting") is True
    if not isinstance(sink, str | None) or not isinstance(id_, str | None):
        raise StateError("sink and id are names")
    match verb:
        case "spool-list":
            return lambda store: _list(store, sink)
        case "spool-retry":
            return lambda store: {"retried": store.revive(sink, id_)}
        case "spool-drop" if sink is not None or id_ is not None:
            return lambda store: {"dropped": store.discard(sink, id_, waiting=waiting)}
        case "spool-drop":
            raise StateError("say of which sink, or which id")
        case _:
            raise StateError(f"unknown: {verb!r}")


VERBS = ("spool-list", "spool-retry", "spool-drop")


def _list(store: SpoolStore, sink: str | None) -> dict[str, Any]:
    waiting, dead = store.counts()
    cameras: dict[str, dict[str, int]] = {}
    for (name, camera), count in sorted(waiting.items()):
        cameras.setdefault(name, {})[camera] = count
    names = sorted({*cameras, *dead}) if sink is None else [sink]
    sinks = [
        {
            "sink": name,
            "waiting": sum(cameras.get(name, {}).values()),
            "cameras": cameras.get(name, {}),
            "dead_letters": dead.get(name, 0),
        }
        for name in names
    ]
    return {"sinks": sinks, "dead_letters": store.dead_letters(sink)}
