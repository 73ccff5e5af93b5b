"""`edgevlm spool`: what waits for delivery, what sinks refused; asked of the daemon, or read without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevlm.errors import EdgevlmError
from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_file import FILE_NAME
from edgevlm.publish.spool_orders import work_of
from edgevlm.publish.spool_store import SpoolLimits, SpoolStore
from edgevlm.runtime.clock import SystemClock
from edgevlm.runtime.control import request as ask_daemon
from edgevlm.runtime.exits import EX_FAILED, EX_OK
from edgevlm.runtime.state import locked, state_directory


def spool(verb: str, *, sink: str | None, message_id: str | None, waiting: bool, as_json: bool) -> int:
    """Carry out `list`, `retry` or `drop`; return the exit code."""
    request = {"do": f"spool-{verb}", "sink": sink, "id": message_id, "waiting": waiting}
    try:
        answer = _ask(state_directory(), request)
    except EdgevlmError as error:
        answer = {"ok": False, "error": str(error)}
    _print(answer, as_json=as_json)
    return EX_OK if answer.get("ok") else EX_FAILED


def _ask(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    answer = ask_daemon(directory, request)
    return answer if answer is not None else _by_ourselves(directory, request)


def _by_ourselves(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Use the file itself: no daemon runs, and the lock keeps one from starting meanwhile."""
    work = work_of(request)
    path = directory / FILE_NAME
    if not path.exists():
        return {"ok": False, "error": f"{path}: there is no spool; STATE_DIRECTORY names another directory"}
    with locked(directory):
        store = SpoolStore(directory, SpoolLimits(max_bytes=path.stat().st_size), Age(SystemClock()))
        store.open()
        try:
            return {"ok": True, **work(store)}
        finally:
            store.close()


def _print(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    elif not answer.get("ok"):
        sys.stderr.write(f"{answer.get('error')}\n")
    elif "sinks" in answer:
        _print_list(answer)
    else:
        print(*(f"{count} {what}" for what, count in answer.items() if what != "ok"))


def _print_list(answer: Mapping[str, Any]) -> None:
    for sink in answer["sinks"]:
        cameras = ", ".join(f"{camera} {count}" for camera, count in sink["cameras"].items())
        print(
            f"{sink['sink']}: {sink['waiting']} waiting{f' ({cameras})' if cameras else ''}, "
            f"{sink['dead_letters']} refused"
        )
    if not answer["sinks"]:
        print("nothing waits")
    for letter in answer["dead_letters"]:
        print(
            f"refused by {letter['sink']}: {letter['id']} {letter['camera']}/{letter['rule']} "
            f"{letter['accepted_at']}: {letter['error']}"
        )
