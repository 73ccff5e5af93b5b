"""What the questions of a run were worth: events hit, delay, and what they cost.

A hit is a question whose frame lies in an event, both ends widened by its uncertainty. `faint` events and
those that are part of another are scored apart. A second around a seam or a cut of a composed stream
counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.trials.harness import Asked, Run

_SEAM_SECS = 1.0


@dataclass
class Score:
    """Figures of one chooser over some runs."""

    events: int = 0
    hits: int = 0
    apart: int = 0
    apart_hits: int = 0
    questions: int = 0
    in_quiet: int = 0
    heartbeats: int = 0
    secs: float = 0.0
    looks: int = 0
    cpu_secs: float = 0.0
    delays: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    hit_flags: list[bool] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Return the share of the events that were hit."""
        return self.hits / self.events if self.events else float("nan")

    @property
    def questions_per_hour(self) -> float:
        """Return questions an hour of stream."""
        return self.questions / self.secs * 3600 if self.secs else float("nan")

    @property
    def questions_per_event(self) -> float:
        """Return questions an event, heartbeats not counted."""
        return (self.questions - self.heartbeats) / self.events if self.events else float("nan")

    def delay(self, quantile: float) -> float:
        """Return a quantile of the time from an event's start to its question."""
        return float(np.quantile(self.delays, quantile)) if self.delays else float("nan")

    @property
    def cpu_ms_a_look(self) -> float:
        """Return the processor's time for one look."""
        return 1e3 * self.cpu_secs / self.looks if self.looks else float("nan")

    def interval(self, seed: int = 1) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the recall over events."""
        if not self.hit_flags:
            return float("nan"), float("nan")
        rng = np.random.default_rng(seed)
        flags = np.array(self.hit_flags, dtype=float)
        means = rng.choice(flags, (2000, len(flags))).mean(axis=1)
        return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def score(runs: Sequence[Run]) -> Score:
    """Add up the runs of one chooser."""
    total = Score()
    for one in runs:
        _add(total, one)
    return total


def _add(total: Score, one: Run) -> None:
    truth = one.stream.truth
    seams = _seams(truth)
    asked = [question for question in one.asked if not _within(question.frame_secs, seams)]
    total.questions += len(asked)
    total.heartbeats += sum(question.reason == "heartbeat" for question in asked)
    quiet = truth.get("quiet", [])
    total.in_quiet += sum(_within(q.frame_secs, quiet) and q.reason != "first" for q in asked)
    total.secs += one.stream.secs
    total.looks += one.looks
    total.cpu_secs += one.cpu_secs
    for event in truth["events"]:
        _score_event(total, one, event, asked)


def _score_event(total: Score, one: Run, event: dict[str, Any], asked: Sequence[Asked]) -> None:
    slack = float(event.get("uncertainty_s", 0.0))
    start, end = event["start_s"] - slack, event["end_s"] + slack
    hits = [question for question in asked if start <= question.frame_secs <= end]
    if event.get("faint") or event.get("part_of") is not None:
        total.apart += 1
        total.apart_hits += bool(hits)
        return
    total.events += 1
    total.hits += bool(hits)
    total.hit_flags.append(bool(hits))
    if hits:
        total.delays.append(max(0.0, min(q.asked_secs for q in hits) - event["start_s"]))
    else:
        total.missed.append(f"{one.stream.name} {event['start_s']:g}-{event['end_s']:g} {event['what'][:60]}")


def _seams(truth: dict[str, Any]) -> list[tuple[float, float]]:
    around = [(float(s), float(e)) for s, e, *_ in truth.get("seams", [])]
    around += [(float(cut), float(cut)) for cut in truth.get("cuts", [])]
    return [(start - _SEAM_SECS, end + _SEAM_SECS) for start, end in around]


def _within(at: float, spans: Sequence[Sequence[float]]) -> bool:
    return any(span[0] <= at <= span[1] for span in spans)
