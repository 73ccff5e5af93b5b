"""What it costs to lose nothing, against a real mosquitto: `python -m benchmarks.delivery [--quick]`.

Measured, each in processes of their own:

1. From accepted (committed) to confirmed (PUBACK), answers one at a time; and what accepting itself takes.
2. Answers a second, accepted and delivered, beside paho alone publishing the same bytes without keeping any.
3. Answers accepted while the broker is away and the process is killed (SIGKILL) at random, twenty times; then
   all must arrive: what is missing is lost, what comes twice must have an id seen before.
4. How fast the backlog drains, and how long fresh answers of another camera take meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks import machine
from benchmarks.broker_on_call import BrokerOnCall
from benchmarks.tables import number, table

ROOT = Path(__file__).parents[1]
TURNS = 3


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    paced: int = 1000
    sustained: int = 6000
    through_outage: int = 10_000
    kills: int = 20


QUICK = Size(paced=100, sustained=600, through_outage=800, kills=4)


@dataclass(slots=True)
class Ledger:
    """What was accepted, and what arrived how often."""

    accepted: set[str] = field(default_factory=set)
    arrived: Counter[str] = field(default_factory=Counter)
    rss_mb: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Accepted, and never arrived."""
        return len(self.accepted - set(self.arrived))

    @property
    def duplicates(self) -> int:
        """Arrived once more under an id seen before."""
        return sum(count - 1 for count in self.arrived.values())


class Collector:
    """A subscriber that counts the ids of results."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._ledger = ledger
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("edgevlm/bench/+/gate/result", qos=1)
        self._client.subscribe_callback()(lambda *_: self._subscribed.set())
        self._client.on_message = lambda _client, _data, heard: self._hear(heard.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise RuntimeError("the collector could not subscribe")

    def _hear(self, payload: bytes | bytearray) -> None:
        self._ledger.arrived[json.loads(payload)["id"]] += 1

    def stop(self) -> None:
        """Wait until nothing comes any more, and hang up."""
        before = -1
        while before != (before := self._ledger.arrived.total()):
            time.sleep(0.5)
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def child(mode: str, directory: Path, port: int, amount: int) -> Iterator[subprocess.Popen[str]]:
    """Run one side of the benchmark."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.delivery_child",
        mode,
        str(directory),
        str(port),
        str(amount),
    ]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def told(mode: str, directory: Path, port: int, amount: int) -> dict[str, Any]:
    """Return what one side found."""
    directory.mkdir(exist_ok=True)
    with child(mode, directory, port, amount) as process:
        out, _ = process.communicate(timeout=1200)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def killed(directory: Path, port: int, first: int, amount: int, ledger: Ledger) -> int:
    """Accept about `amount` answers, then kill the process, wherever it is; return how many there were."""
    before = len(ledger.accepted)
    with child("accept", directory, port, first) as process:
        assert process.stdout is not None
        for line in process.stdout:
            _note(line, ledger)
            if len(ledger.accepted) - before >= amount:
                break
        process.kill()
        for line in process.stdout:  # said before it died
            _note(line, ledger)
    return len(ledger.accepted) - before


def _note(line: str, ledger: Ledger) -> None:
    if not line.endswith("\n"):  # torn by the kill
        return
    heard = json.loads(line)
    ledger.accepted.update(heard["accepted"])
    ledger.rss_mb.append(heard["rss_mb"])


def through_outage(size: Size, scratch: Path, broker: BrokerOnCall) -> dict[str, Any]:
    """Accept, kill, take the broker away and bring it back; then let everything arrive."""
    chance, ledger, directory = random.Random(11), Ledger(), scratch / "outage"
    directory.mkdir()
    each = size.through_outage // size.kills
    sizes: list[int] = []
    collector = Collector(broker.port, ledger)
    for turn in range(size.kills):
        if turn == size.kills // 5:
            collector.stop()
            broker.stop()
        left = size.through_outage - len(ledger.accepted)
        amount = left if turn == size.kills - 1 else chance.randrange(each // 2, each * 3 // 2)
        killed(directory, broker.port, turn * 100_000, max(1, min(amount, left)), ledger)
        sizes.append(_stored_bytes(directory))
    broker.start()
    collector = Collector(broker.port, ledger)
    drained = told("drain", directory, broker.port, size.kills * 100_000)
    ledger.accepted.update(drained["accepted"])
    collector.stop()
    return {
        "accepted": len(ledger.accepted),
        "kills": size.kills,
        "lost": ledger.lost,
        "duplicates": ledger.duplicates,
        "unknown": len(set(ledger.arrived) - ledger.accepted),
        "backlog": drained["waiting"],
        "drained_per_sec": drained["waiting"] / drained["took_secs"],
        "fresh_ms": drained["fresh_ms"],
        "spool_bytes_first": sizes[0],
        "spool_bytes_last": sizes[-1],
        "rss_mb_median": statistics.median(ledger.rss_mb),
        "rss_mb_most": max(ledger.rss_mb),
        "rss_mb_after": drained["rss_mb"],
    }


def _stored_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("spool.db*"))


def measure(size: Size) -> dict[str, Any]:
    """Return everything."""
    measured: dict[str, Any] = {"machine": machine.describe(), "load": machine.load(), "size": asdict(size)}
    with tempfile.TemporaryDirectory() as name, BrokerOnCall(Path(name)) as broker:
        scratch = Path(name)
        _say("one at a time")
        measured["paced"] = told("latency", scratch / "paced", broker.port, size.paced)
        ours, theirs = [], []
        for turn in range(TURNS):
            _say(f"sustained, turn {turn + 1} of {TURNS}")
            theirs.append(told("paho", scratch / "paho", broker.port, size.sustained)["took_secs"])
            ours.append(told("sustained", scratch / f"ours-{turn}", broker.port, size.sustained)["took_secs"])
        measured["per_sec"] = [size.sustained / secs for secs in ours]
        measured["paho_per_sec"] = [size.sustained / secs for secs in theirs]
        _say("through an outage, killed again and again")
        measured["outage"] = through_outage(size, scratch, broker)
    return measured


def report(measured: dict[str, Any]) -> str:
    """Return the tables."""
    paced, outage = measured["paced"], measured["outage"]
    ours, theirs = statistics.median(measured["per_sec"]), statistics.median(measured["paho_per_sec"])
    rows = [
        ("accepting (one commit on disk), ms, p50 / p99", _quantiles(paced["put_ms"])),
        ("accepted → PUBACK, ms, p50 / p99", _quantiles(paced["delays_ms"])),
        ("answers a second, kept and delivered", number(ours)),
        ("answers a second, paho alone, nothing kept", number(theirs)),
        ("ratio", f"{ours / theirs:.2f}"),
        ("accepted through the outage", str(outage["accepted"])),
        ("SIGKILLs", str(outage["kills"])),
        ("**lost**", f"**{outage['lost']}**"),
        ("duplicates, each with an id seen before", str(outage["duplicates"])),
        ("arrived, and the process died before it could say that they are accepted", str(outage["unknown"])),
        ("backlog drained, answers a second", number(outage["drained_per_sec"])),
        ("fresh answers meanwhile, accepted → PUBACK, ms, p50 / p99", _quantiles(outage["fresh_ms"])),
        ("spool on disk, MB, first and last", _pair(outage, "spool_bytes_first", "spool_bytes_last", 1e6)),
        ("memory while accepting, MB, median and most", _pair(outage, "rss_mb_median", "rss_mb_most", 1)),
    ]
    described = "\n".join(f"- {text}" for text in measured["machine"].values())
    return f"{described}\n\n{table(('', 'measured'), rows)}"


def _quantiles(values: list[float]) -> str:
    if len(values) < 2:
        return "none"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{number(cuts[49])} / {number(cuts[98])}"


def _pair(outage: dict[str, Any], first: str, last: str, unit: float) -> str:
    return f"{outage[first] / unit:.1f}, {outage[last] / unit:.1f}"


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write the JSON, print the tables; 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a tenth: shows that it runs, not how fast")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="for the JSON")
    arguments = parser.parse_args()
    measured = measure(QUICK if arguments.quick else Size())
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"delivery-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    print(report(measured))
    _say(f"written: {path}")
    return 1 if measured["outage"]["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
