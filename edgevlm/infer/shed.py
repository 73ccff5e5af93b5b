"""Why a request ends without being asked, under the name by which it is counted."""

from __future__ import annotations

from edgevlm.errors import CaptureError, ErrorCode, Stage
from edgevlm.records import Failure


class Shed(Exception):
    """A request that is not asked; `failure` is what its asker hears, if somebody waits."""

    def __init__(self, reason: str, code: ErrorCode, message: str, stage: Stage = "infer") -> None:
        super().__init__(message)
        self.reason = reason
        self.failure = Failure(code, stage, retryable=True, message=message)


def superseded() -> Shed:
    """Return the end of a request whose slot is taken."""
    return Shed("superseded", "overloaded", "a newer question of the same rule took its place", "choose")


def stopping() -> Shed:
    """Return the end of a request that comes, or still waits, when the daemon drains."""
    return Shed("shutdown", "unreachable", "edgevlm is stopping", "choose")


def no_picture(error: CaptureError) -> Shed:
    """Return the end of a request whose camera gives no picture."""
    return Shed(error.kind, "unreachable", str(error), "capture")


def no_picture_in_time() -> Shed:
    """Return the end of a request that waited for its picture until its deadline."""
    return Shed("no_picture_in_time", "deadline", "the camera gave no picture in time", "capture")


def stale(age_secs: float, max_age_secs: float) -> Shed:
    """Return the end of a request whose picture is too old to be worth a question."""
    message = f"the newest frame is {age_secs:.1f} s old, more than {max_age_secs:g} s"
    return Shed("stale", "deadline", message, "choose")
