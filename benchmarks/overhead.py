"""What edgevlm itself costs, beside the plain loop that one would write instead.

    python -m benchmarks.overhead [--quick] [--requests N] [--out DIRECTORY]

Both watch the same 1080p recording, ask the same model server (which does not think) over loopback about a
JPEG of 1280 pixels, and publish to the same broker; each in processes of its own, in turns. What is measured,
and how to read it, stands in README.md here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine, starts
from benchmarks.clips import camera_clip
from benchmarks.measured import OURS, THEIRS, Measured, report
from benchmarks.race import Lap, Plan, lap
from benchmarks.servers import ROOT, broker

MANY = 16
TURNS = 2


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    questions: int
    standing_secs: float = 10.0
    starts: int = 7
    questions_among_many: int = 20


def quick() -> Size:
    """Return the size that shows that everything works, not how fast."""
    return Size(questions=20, standing_secs=4.0, starts=2, questions_among_many=5)


def measure(size: Size, directory: Path) -> Measured:
    """Measure everything; the recording is kept in `directory`."""
    described, load_before = machine.describe(), machine.load()
    _say("the recording")
    clip = camera_clip(directory)
    with TemporaryDirectory(prefix="edgevlm-bench-") as scratch:
        _say("starts")
        took_ms = starts.measure(starts.commands(clip, Path(scratch)), size.starts)
        with broker(Path(scratch)) as port:
            laps = tuple(_laps(size, clip, port))
    return Measured(described, (load_before, machine.load()), took_ms, laps)


def _laps(size: Size, clip: Path, broker_port: int) -> Iterator[Lap]:
    alone = Plan(1, size.questions // TURNS, size.standing_secs)
    many = Plan(MANY, size.questions_among_many, size.standing_secs)
    for plan in [alone] * TURNS + [many]:
        for contestant in (THEIRS, OURS):
            _say(f"{contestant}, cameras: {plan.cameras}, questions: {plan.questions}")
            yield lap(contestant, plan, clip=clip, broker_port=broker_port)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> None:
    arguments = _arguments()
    measured = measure(quick() if arguments.quick else Size(arguments.requests), arguments.out)
    path = arguments.out / f"overhead-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    print(report(measured))
    _say(f"written: {path}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="20 requests: shows that it runs, not how fast")
    parser.add_argument("--requests", type=_count, default=200, help="questions to each contestant (200)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="for the JSON")
    return parser.parse_args()


def _count(text: str) -> int:
    count = int(text)
    if count < 2 * TURNS:
        raise argparse.ArgumentTypeError(f"at least {2 * TURNS}")
    return count // TURNS * TURNS


if __name__ == "__main__":
    main()
