"""A power cut at any moment: what a real run wrote is replayed up to there, what was not synced only in part.

The disk keeps what was synced. Of the writes since then it may have any: here each half of each write
survives or not by chance. What had been promised by that moment must be there.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgevlm.publish.spool_age import Age
from edgevlm.publish.spool_store import SpoolStore
from edgevlm.runtime.clock import SystemClock
from tests.servers.spooling import LIMITS

STRACE = shutil.which("strace")
ROOT = Path(__file__).parents[2]
CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<task>\d+) +<\.\.\. (?P<name>\w+) resumed>.*= (?P<result>-?\d+)")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that the process gave to the system."""

    file: str
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Sync:
    """From here on the disk has what was written to the file since the last one; or never, if it failed.

    After a failure the system takes the pages for written. Only what is written anew can still be synced.
    """

    file: str
    worked: bool = True


@dataclass(frozen=True, slots=True)
class Promise:
    """The process said that a message is accepted."""

    id: str


def _events(trace: str) -> Iterator[Write | Sync | Promise]:
    """Read what strace saw; a sync counts when it has ended, a write when it has begun."""
    names: dict[str, str] = {}
    syncing: dict[str, str] = {}
    said = ""
    for line in trace.splitlines():
        if resumed := RESUMED.match(line):
            if resumed["name"] == "fdatasync" and resumed["task"] in syncing:
                yield Sync(syncing.pop(resumed["task"]), resumed["result"] == "0")
            continue
        if not (call := CALL.match(line)):
            continue
        name, rest = call["name"], call["rest"]
        content = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(rest)[:1])
        if name == "openat" and (opened := re.search(r"= (\d+)$", rest)):
            names[opened[1]] = Path(content.decode()).name
        elif name == "pwrite64":
            number, offset = rest.split(",", 1)[0], re.search(r", (\d+)(?:\)| <unf)", rest)
            assert offset is not None, line[-100:]
            yield Write(names[number], int(offset[1]), content)
        elif name == "fdatasync" and " = " in line:
            yield Sync(names[rest.split(")")[0]], line.endswith("= 0"))
        elif name == "fdatasync" and "unfinished" in line:
            syncing[line.split()[0]] = names[re.split(r"[ )]", rest)[0]]
        elif name == "write" and rest.startswith("1,"):
            *lines, said = (said + content.decode()).split("\n")
            yield from (Promise(line.split()[1]) for line in lines if line.startswith("accepted"))


def _cut(files: dict[str, bytearray], events: list[Write | Sync | Promise], chance: random.Random) -> None:
    """Apply `events` to `files` as a disk has them that lost its power after the last one."""
    safe: set[int] = set()
    next_sync: dict[str, bool] = {}
    for number, event in reversed(list(enumerate(events))):
        if isinstance(event, Sync):
            next_sync[event.file] = event.worked
        elif isinstance(event, Write) and next_sync.get(event.file):
            safe.add(number)
    for number, event in enumerate(events):
        if not isinstance(event, Write) or event.file not in files:
            continue
        half = len(event.content) // 2
        for start, part in ((0, event.content[:half]), (half, event.content[half:])):
            if number in safe or chance.random() < 0.5:
                at = event.offset + start
                files[event.file][at : at + len(part)] = part


@pytest.mark.skipif(STRACE is None, reason="needs strace: apt-get install strace")
@pytest.mark.parametrize("failing", [None, "5", "12+9"])
def test_what_was_promised_survives_a_power_cut_at_any_moment(tmp_path: Path, failing: str | None) -> None:
    state, trace = tmp_path / "state", tmp_path / "trace"
    state.mkdir()
    run = [sys.executable, "-m", "tests.servers.spooling", str(state)]
    subprocess.run([*run, "0", "3"], cwd=ROOT, check=True, capture_output=True)
    before = {name: (state / name).read_bytes() for name in ("spool.db", "spool.db-wal")}
    look = ["-xx", "-s", "1000000", "-e", "trace=openat,pwrite64,fdatasync,write", "-e", "signal=none"]
    if failing is not None:
        look += ["-e", f"inject=fdatasync:error=EIO:when={failing}"]
    command = [str(STRACE), "-f", "-o", str(trace), *look, *run, "100", "150"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    events = list(_events(trace.read_text()))
    assert sum(isinstance(event, Promise) for event in events) > 50
    assert any(isinstance(event, Sync) and not event.worked for event in events) == (failing is not None)
    assert {event.file for event in events if isinstance(event, Sync)} >= set(before), "checkpoints are in it"
    chance = random.Random(5)
    for number in range(40):
        moment = chance.randrange(len(events))
        files = {name: bytearray(content) for name, content in before.items()}
        _cut(files, events[:moment], chance)
        directory = tmp_path / f"cut-{number}"
        directory.mkdir()
        for name, content in files.items():
            (directory / name).write_bytes(content)
        promised = {event.id for event in events[:moment] if isinstance(event, Promise)}
        assert promised - _kept(directory) == set(), f"lost by a cut after step {moment} of {len(events)}"
        shutil.rmtree(directory)


def _kept(directory: Path) -> set[str]:
    rows = SpoolStore(directory, LIMITS, Age(SystemClock()))
    found = rows.open()
    assert found.set_aside is None
    kept: set[str] = set()
    for sink, camera in found.waiting:
        after, more = 0, sink == "broker"
        while more:
            page, more = rows.page(sink, camera, after, 500)
            kept |= {spooled.message.id for spooled in page}
            after = page[-1].seq or after if page else after
    rows.close()
    return kept
