"""All that one run of `overhead` has measured, and what it says: tables and sentences in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import starts
from benchmarks.clips import FPS
from benchmarks.contestant import EVERY_SECS
from benchmarks.race import Lap, Question
from benchmarks.tables import Both, Row, compare, number, table, timed

OURS, THEIRS = "edgevlm", "naive"
BUSY_LOAD = 0.7

DECODED = "edgevlm decodes a frame when it is asked for, from the keyframe on; the loop has decoded them all"
VALIDATED = (
    "edgevlm validates the answer, keeps it until it is delivered, publishes three messages (result, state, "
    "value) and a notice instead of one, and waits for all three acknowledgements"
)
PROCESSES = "edgevlm is a daemon and its capture hosts, the loop one process"


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything of one run."""

    machine: dict[str, str]
    load: tuple[float, float]
    """Of the minute before the start, and of the last one."""
    starts_ms: dict[str, list[float]]
    laps: tuple[Lap, ...]

    @property
    def many(self) -> int:
        """The larger number of cameras."""
        return max(lap.cameras for lap in self.laps)

    def mean(self, cameras: int, of: Callable[[Lap], float]) -> Both:
        """Return the mean over the laps with so many cameras."""
        return Both(
            *(statistics.fmean(of(lap) for lap in self._laps(name, cameras)) for name in (OURS, THEIRS))
        )

    def questions(self, contestant: str, cameras: int = 1) -> list[Question]:
        """Return the questions of all laps with so many cameras."""
        return [question for lap in self._laps(contestant, cameras) for question in lap.questions]

    def _laps(self, contestant: str, cameras: int) -> list[Lap]:
        return [lap for lap in self.laps if (lap.contestant, lap.cameras) == (contestant, cameras)]


def report(measured: Measured) -> str:
    """Return all of it as Markdown."""
    rows = [*_time_rows(measured), *_cpu_rows(measured), *_memory_rows(measured)]
    parts = [
        _on_what(measured),
        compare(rows, "edgevlm", "plain loop"),
        "Median / 90th percentile where there are two numbers. A ratio above 1 is edgevlm's loss.",
        _starts_table(measured),
        "\n".join([*_losses(rows), *_remarks(measured)]),
    ]
    return "\n\n".join(parts)


def _on_what(measured: Measured) -> str:
    told = "; ".join(measured.machine.values())
    sentences = [
        f"{told}.",
        f"{len(measured.questions(OURS))} questions to each, one every {EVERY_SECS:g} s.",
        f"Load average {measured.load[0]:.1f} before the start, {measured.load[1]:.1f} at the end.",
    ]
    return " ".join(sentences)


# --- tables -----------------------------------------------------------------------------------------------


def _time_rows(measured: Measured) -> list[Row]:
    def row(name: str, of: Callable[[Question], float], why: str = "") -> Row:
        ours, theirs = ([of(question) for question in measured.questions(who)] for who in (OURS, THEIRS))
        return timed(name, ours, theirs, why)

    return [
        row("Trigger → request written", lambda q: q.to_request_ms, DECODED),
        row("of it: trigger → JPEG in hand", lambda q: q.to_picture_ms, DECODED),
        row("of it: JPEG in hand → request written", lambda q: q.to_request_ms - q.to_picture_ms),
        row("Response → acknowledged by the broker", lambda q: q.to_confirmed_ms, VALIDATED),
    ]


def _cpu_rows(measured: Measured) -> list[Row]:
    def row(name: str, of: Callable[[Question], float], why: str) -> Row:
        means = Both(*(statistics.fmean(map(of, measured.questions(who))) for who in (OURS, THEIRS)))
        return Row(name, "ms", means, why=why)

    def standing(lap: Lap) -> float:
        return 100 * lap.standing_share

    rows = [
        row("CPU, trigger → request written", lambda q: q.cpu_to_request_ms, DECODED),
        row("CPU, response → acknowledged", lambda q: q.cpu_to_confirmed_ms, VALIDATED),
        Row("CPU, a question in all", "ms", measured.mean(1, lambda lap: lap.cpu_ms), why=DECODED),
    ]
    for cameras in (1, measured.many):
        name = f"CPU without questions, {_cameras(cameras)}"
        rows.append(Row(name, "% of a core", measured.mean(cameras, standing)))
    return rows


def _memory_rows(measured: Measured) -> list[Row]:
    def megabytes(lap: Lap) -> float:
        return lap.memory_bytes / 1e6

    return [
        Row(f"Memory (PSS), {_cameras(cameras)}", "MB", measured.mean(cameras, megabytes), why=PROCESSES)
        for cameras in (1, measured.many)
    ]


def _starts_table(measured: Measured) -> str:
    medians = {name: statistics.median(took_ms) for name, took_ms in measured.starts_ms.items()}
    bare, loop = medians[starts.BARE], medians[starts.LOOP]
    rows = [(name, number(ms), number(ms - bare), number(ms / loop)) for name, ms in medians.items()]
    return table(("Start to end", "ms", "above Python's own", "ratio to the loop's imports"), rows)


def _cameras(count: int) -> str:
    return "1 camera" if count == 1 else f"{count} cameras"


# --- sentences --------------------------------------------------------------------------------------------


def _losses(rows: list[Row]) -> list[str]:
    """Say where edgevlm is the slower or larger one, and why."""
    lost: dict[str, list[str]] = {}
    for row in rows:
        if row.why and row.value.ratio > 1.05:
            lost.setdefault(row.why, []).append(f"{row.name} ({number(row.value.ratio)} times)")
    return [f"- Loses at: {'; '.join(names)}. Why: {why}." for why, names in lost.items()]


def _remarks(measured: Measured) -> list[str]:
    told = (_starting, _by_place, _break_even, _among_many, _sizes)
    remarks = [tell(measured) for tell in told]
    if measured.load[0] > BUSY_LOAD:
        remarks.append(
            f"The machine was busy with other things (load {measured.load[0]:.1f} before the start): times "
            "are too long, above all those of whoever needs the processor more; CPU rows hold better."
        )
    return [f"- {remark}" for remark in remarks]


def _starting(measured: Measured) -> str:
    daemon, loop = (statistics.median(measured.starts_ms[name]) for name in (starts.DAEMON, starts.LOOP))
    return (
        f"At each start edgevlm's daemon imports for {number(daemon)} ms and the loop for {number(loop)} ms "
        f"({number(daemon / loop)} times): aiohttp, pydantic, a class for each part of the configuration."
    )


def _by_place(measured: Measured) -> str:
    times = sorted(question.to_request_ms for question in measured.questions(OURS))
    twentieth = len(times) // 20
    return (
        f"It depends on how far the last keyframe is: trigger → request takes edgevlm "
        f"{number(times[twentieth])} ms just behind one and {number(times[-1 - twentieth])} ms just before "
        "the next (5th and 95th percentile)."
    )


def _break_even(measured: Measured) -> str:
    used = measured.mean(1, lambda lap: lap.cpu_ms / 1e3)
    standing = measured.mean(1, lambda lap: lap.standing_share)
    dearer, saved = used.ours - used.theirs, standing.theirs - standing.ours
    if dearer <= 0 or saved <= 0:
        return (
            f"A camera needs {'less' if saved > 0 else 'more'} CPU with edgevlm, however often it is asked."
        )
    ours, theirs = 100 * (standing.ours + used.ours / 10), 100 * (standing.theirs + used.theirs / 10)
    return (
        f"A camera needs less CPU with edgevlm when it is asked less often than every {dearer / saved:.1f} "
        f"s; asked every 10 s: {number(ours)} % of a core instead of {number(theirs)} %."
    )


def _among_many(measured: Measured) -> str:
    many = measured.many
    fps = measured.mean(many, lambda lap: lap.fps)
    full_rate = measured.mean(many, lambda lap: 100 * lap.standing_share * FPS / lap.fps)
    ours, theirs = (
        number(statistics.median(question.to_request_ms for question in measured.questions(who, many)))
        for who in (OURS, THEIRS)
    )
    return (
        f"With {many} cameras edgevlm reads {fps.ours:.1f} and the loop {fps.theirs:.1f} frames a second of "
        f"each camera's {FPS} (all would need {number(full_rate.ours)} and {number(full_rate.theirs)} % of a "
        f"core); trigger → request then takes {ours} and {theirs} ms (medians)."
    )


def _sizes(measured: Measured) -> str:
    ours, theirs = (
        number(statistics.median(question.body_bytes for question in measured.questions(who)) / 1e3)
        for who in (OURS, THEIRS)
    )
    return f"A request has {ours} kB with edgevlm, {theirs} kB with the loop (medians)."
