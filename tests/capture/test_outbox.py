"""What waits for a slow daemon: the present, and how much of the past is gone."""

from __future__ import annotations

import threading

from edgevlm.capture.link import Beat, HealthReport, LookTaken, PictureFailed
from edgevlm.capture.outbox import Outbox
from edgevlm.records import CameraHealth, CameraState, Instant, Look


def look(camera: str, number: int) -> LookTaken:
    return LookTaken(Look(camera, Instant(1, number, 0, 0), keyframe=True, width=1, height=1, luma=b"x"))


def test_only_the_newest_look_of_a_camera_waits_and_the_others_are_counted() -> None:
    outbox = Outbox()
    for number in range(5):
        outbox.put(look("yard", number))
    outbox.put(look("dock", 0))
    yard, dock = outbox.take(0)
    assert isinstance(yard, LookTaken)
    assert (yard.look.instant.pts_ns, yard.superseded) == (4, 4)
    assert isinstance(dock, LookTaken)
    assert dock.superseded == 0
    assert outbox.take(0) == []


def test_the_count_begins_anew_once_it_was_told() -> None:
    outbox = Outbox()
    outbox.put(look("yard", 0))
    outbox.take(0)
    outbox.put(look("yard", 1))
    assert outbox.take(0) == [look("yard", 1)]


def test_only_the_newest_health_of_a_camera_waits() -> None:
    outbox = Outbox()
    for state in (CameraState.STARTING, CameraState.ONLINE):
        outbox.put(HealthReport(CameraHealth("yard", state)))
    assert outbox.take(0) == [HealthReport(CameraHealth("yard", CameraState.ONLINE))]


def test_answers_go_first_and_are_bounded() -> None:
    outbox = Outbox()
    outbox.put(look("yard", 0))
    for number in range(1000):
        outbox.put(PictureFailed(number, "no_frame", ""))
    waiting = outbox.take(0)
    assert isinstance(waiting[-1], LookTaken)
    kept = [message.number for message in waiting if isinstance(message, PictureFailed)]
    assert kept == list(range(744, 1000))


def test_the_sender_wakes_as_soon_as_there_is_something() -> None:
    outbox, taken = Outbox(), []
    sender = threading.Thread(target=lambda: taken.extend(outbox.take(30)))
    sender.start()
    outbox.put(Beat())
    sender.join(5)
    assert taken == [Beat()]
