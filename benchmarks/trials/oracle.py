"""The best that can be done: one question in the middle of each event, nothing else."""

from __future__ import annotations

from benchmarks.trials.harness import Asked, Run
from benchmarks.trials.material import Stream


def oracle(stream: Stream) -> Run:
    """Ask once in the middle of each event, or not at all where an earlier question already showed it."""
    asked: list[Asked] = []
    for event in sorted(stream.truth["events"], key=lambda e: float(e["end_s"])):
        if not any(event["start_s"] <= question.frame_secs <= event["end_s"] for question in asked):
            middle = (event["start_s"] + event["end_s"]) / 2
            asked.append(Asked(middle, middle, "oracle"))
    return Run(stream, asked, len(asked), 0.0)
