#!/usr/bin/env python3
"""Measure the `change` trigger against other ways to choose frames: recall, questions, delay, CPU.

    python benchmarks/selection.py --quick      # a minute or two
    python benchmarks/selection.py              # everything

Material: labelled clips of fixed cameras, read from `../shared/footage` beside the project and re-encoded as
cameras would (variable, capped and constant bit rate; GOP of 1, 2 and 5 s; day and night); idle streams that
its `compose.py` makes of them; scenes drawn here, with every disturbance. Needs ffmpeg and PyAV. Everything
made is kept below `benchmarks/out/selection`; so is the report.

Three clips were used to tune, the others were only looked at for faults; drawn scenes are reported apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial

import cv2

from benchmarks.trials.baselines import BASELINES, CURVES
from benchmarks.trials.harness import Maker, Ours, Run, run
from benchmarks.trials.material import (
    CACHE,
    CLIPS,
    FOOTAGE,
    Encoding,
    Stream,
    clip_stream,
    encoded_stream,
    footage_is_here,
)
from benchmarks.trials.oracle import oracle
from benchmarks.trials.report import curve_picture, table
from benchmarks.trials.scenes import disturbances, drawn_stream, visits
from benchmarks.trials.scoring import Score, score
from edgevlm.choose.change import ChangeSettings

TUNED_ON = ("one_by_one", "parking", "corridor_a")
OURS: dict[str, Maker] = {
    "edgevlm, keyframes only": partial(Ours, "keyframes"),
    "edgevlm, looks on demand": partial(Ours, "adaptive"),
}
QUICK = [Encoding("cbr", 2.0), Encoding("cbr", 2.0, noise=8, dark=True)]
FULL = [
    *(Encoding(rate, gop) for rate in ("vbr", "capped", "cbr") for gop in (1.0, 2.0, 5.0)),
    *(Encoding(rate, gop, noise=12, dark=True) for rate in ("vbr", "cbr") for gop in (1.0, 2.0, 5.0)),
    Encoding("capped", 2.0, noise=4),
]


class Report:
    """Prints what it is told, and keeps it for the file."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def say(self, text: str) -> None:
        """Print and keep a paragraph."""
        print(text, flush=True)
        self._parts.append(text)

    def save(self) -> None:
        """Write the report file."""
        (CACHE / "report.md").write_text("\n\n".join(self._parts) + "\n", encoding="utf-8")


def over(make: Maker, streams: Sequence[Stream]) -> Score:
    return score([run(make, stream) for stream in streams])


def clips(report: Report, encodings: Sequence[Encoding]) -> None:
    """Every method over the clips, tuned and untuned scenes apart."""
    report.say("## Clips, all encodings")
    for title, names in (
        ("Tuned on", TUNED_ON),
        ("Not tuned on", tuple(c for c in CLIPS if c not in TUNED_ON)),
    ):
        streams = [clip_stream(name, encoding) for encoding in encodings for name in names]
        rows = [(name, over(make, streams)) for name, make in (OURS | BASELINES).items()]
        rows.append(("oracle", score([oracle(stream) for stream in streams])))
        report.say(f"### {title}: {', '.join(names)} ({len(encodings)} encodings)")
        report.say(table(rows))
        for name, figures in rows[: len(OURS)]:
            report.say(
                "\n".join([f"{name} missed:", *(f"- {miss}" for miss in figures.missed or ["nothing"])])
            )


def by_encoding(report: Report, encodings: Sequence[Encoding]) -> None:
    """Measure the trigger alone, one row for each encoding."""
    report.say("## By encoding, all clips")
    rows = []
    for encoding in encodings:
        streams = [clip_stream(name, encoding) for name in CLIPS]
        rows += [(f"{encoding.name}, {name[9:]}", over(make, streams)) for name, make in OURS.items()]
    report.say(table(rows))


def curves(report: Report, encoding: Encoding) -> None:
    """Recall against questions an hour."""
    streams = [clip_stream(name, encoding) for name in CLIPS]
    lines = {name: [(label, over(make, streams)) for label, make in line] for name, line in CURVES.items()}
    settings = {str(value): ChangeSettings(sensitivity=value) for value in (0.25, 0.5, 1.0, 2.0, 4.0)}
    lines["edgevlm"] = [(label, over(partial(Ours, "adaptive", s), streams)) for label, s in settings.items()]
    curve_picture(lines, CACHE / "recall.svg")
    report.say("## Curves (recall.svg)")
    report.say(table([(f"{name} {label}", s) for name, line in lines.items() for label, s in line]))


def composed(report: Report, minutes: int) -> None:
    """Mostly idle streams: what the ratios are taken on."""
    streams = [
        _composed(names, minutes, seed)
        for seed, names in enumerate((TUNED_ON, ("road_topdown", "corridor_a")), 1)
    ]
    rows = [(name, over(make, streams)) for name, make in (OURS | BASELINES).items()]
    report.say(f"## Composed idle streams ({sum(s.secs for s in streams) / 60:.0f} minutes)")
    report.say(table(rows))
    figures = dict(rows)
    asked = max(1, figures["edgevlm, looks on demand"].questions)
    for name in ("every 1 s", "every 5 s", "MOG2, 5 s", "MOG2, 10 s"):
        report.say(f"{name} asks {figures[name].questions / asked:.1f} times as much.")


def _composed(names: Sequence[str], minutes: int, seed: int) -> Stream:
    film = CACHE / f"composed-{'-'.join(names)}-{minutes}.mp4"
    truth = film.with_suffix(".events.json")
    if not truth.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        options = ["--minutes", str(minutes), "--idle", "150", "--seed", str(seed), "--size", "640x360"]
        command = [sys.executable, str(FOOTAGE / "compose.py"), str(film), *options, *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return encoded_stream(film.stem, film, ["-c", "copy"], json.loads(truth.read_text(encoding="utf-8")))


def disturbed(report: Report, encoding: Encoding) -> None:
    """Questions in a minute of each disturbance, `first` not counted."""
    report.say("## Disturbances drawn here: questions beside `first` (goal: at most 1)")
    methods = OURS | {name: BASELINES[name] for name in ("MOG2, 10 s", "Frigate, 10 s", "Reducto area, 10 s")}
    lines = [f"| disturbance | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for night in (False, True):
        for drawn in disturbances(night=night):
            runs = [run(make, drawn_stream(drawn, encoding)) for make in methods.values()]
            lines.append(f"| {drawn.name} | {' | '.join(map(_told, runs))} |")
    report.say("\n".join(lines))


def _told(one: Run) -> str:
    asked = Counter(question.reason for question in one.asked if question.frame_secs > 0)
    reasons = ", ".join(f"{count} {reason}" for reason, count in asked.items() if reason != "active")
    return f"{sum(asked.values())}" + (f" ({reasons})" if reasons else "")


def held_out(report: Report, encoding: Encoding, seeds: Sequence[int]) -> None:
    """Scenes drawn here, with events: no parameter was fitted to them."""
    report.say("## Drawn scenes")
    for night in (False, True):
        streams = [drawn_stream(visits(night=night, seed=seed), encoding) for seed in seeds]
        rows = [(name, over(make, streams)) for name, make in (OURS | BASELINES).items()]
        report.say(f"### {'Night' if night else 'Day'}")
        report.say(table(rows))
        report.say("\n".join(["missed:", *(f"- {miss}" for miss in rows[1][1].missed or ["nothing"])]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two encodings, short streams, no curves")
    parser.add_argument("--only", choices=["clips", "composed", "disturbed", "held-out"], help="one part")
    options = parser.parse_args()
    if not footage_is_here():
        print(f"no footage at {FOOTAGE}: put the labelled clips and compose.py there", file=sys.stderr)
        return 1
    if not shutil.which("ffmpeg"):
        print("ffmpeg is missing: install it (Debian: apt-get install ffmpeg)", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    measure(Report(), quick=options.quick, only=options.only)
    return 0


def measure(report: Report, *, quick: bool, only: str | None) -> None:
    """Run the parts that were asked for and save the report."""
    encodings = QUICK if quick else FULL
    if only in (None, "clips"):
        clips(report, encodings)
        by_encoding(report, encodings)
    if only in (None, "clips") and not quick:
        curves(report, Encoding("cbr", 2.0))
    if only in (None, "composed"):
        composed(report, 5 if quick else 30)
    if only in (None, "disturbed") and not (quick and only is None):
        disturbed(report, Encoding("cbr", 2.0))
    if only in (None, "held-out"):
        held_out(report, Encoding("cbr", 2.0), (21,) if quick else (21, 22, 23, 24, 25))
    report.save()


if __name__ == "__main__":
    sys.exit(main())
