"""A capture host's own bookkeeping, without a process around it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from edgevlm.capture.host import CaptureHost
from edgevlm.capture.link import LENGTHS, AskPicture, CloseCamera, PictureFailed, encode

ASK = AskPicture(1, "yard", 640)


@pytest.fixture
def host() -> Iterator[CaptureHost]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield CaptureHost(theirs)


def test_more_pictures_than_can_be_made_are_refused(host: CaptureHost) -> None:
    for _ in range(65):
        host._obey(ASK)
    (refused,) = host._outbox.take(0)
    assert isinstance(refused, PictureFailed)
    assert "too many" in refused.message


def test_a_picture_that_nobody_waits_for_any_more_is_not_made(host: CaptureHost) -> None:
    """Or a slow decoder would work off the past for ever, and never come to the present."""
    host._asked.put((time.monotonic() - 11, ASK))
    host._asked.put((time.monotonic(), AskPicture(2, "yard", 640)))
    threading.Thread(target=host._take_pictures, daemon=True).start()
    assert host._outbox.take(5) == [PictureFailed(2, "no_frame", "the camera is not open")]


def test_a_decoder_that_does_not_return_is_told_as_stuck(host: CaptureHost) -> None:
    """It serves all cameras of the host, and nothing but a kill gets it back."""
    assert host._stuck() == ()
    host._painting = (time.monotonic() - 31, "yard")
    assert host._stuck() == ("yard",)


def test_closing_a_camera_that_is_not_open_is_nothing(host: CaptureHost) -> None:
    host._obey(CloseCamera("yard"))
    assert host._stuck() == ()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\xff" * LENGTHS.size, "exceeds the link's bounds"),
        (encode(PictureFailed(1, "", "")), "does not take PictureFailed"),
        (b"", ""),
    ],
)
def test_a_host_ends_with_words_when_the_daemon_makes_no_sense(sent: bytes, said: str) -> None:
    """And without any when the daemon closes the link: that is how it is told to end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        program = "import os; from edgevlm.capture.host import main; main({}, os.getppid())"
        command = [sys.executable, "-c", program.format(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True) as host:
            ours.sendall(sent)
            ours.shutdown(socket.SHUT_WR)
            _, words = host.communicate(timeout=20)
    assert words.count("\n") == (1 if said else 0)
    assert said in words
    assert host.returncode == (1 if said else 0)
