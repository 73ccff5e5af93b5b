"""Requests that clients send, and bytes that are none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.demo.rtsp_message import BadRequest, Response, interleaved_channels, parse_request


def test_a_request_is_read_as_ffmpeg_sends_it() -> None:
    request = parse_request(
        b"SETUP rtsp://127.0.0.1:8554/press/stream=0 RTSP/1.0\r\n"
        b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nCSeq: 3\r\nUser-Agent: Lavf62\r\n\r\n"
    )
    assert (request.method, request.path) == ("SETUP", "/press/stream=0")
    assert request.headers["cseq"] == "3"
    assert request.headers["transport"] == "RTP/AVP/TCP;unicast;interleaved=0-1"
    assert request.body_bytes == 0


def test_a_path_has_no_query_and_no_slash_at_its_end() -> None:
    assert parse_request(b"DESCRIBE rtsp://h:1/a/b/?x=1 RTSP/1.0\r\n\r\n").path == "/a/b"
    assert parse_request(b"OPTIONS * RTSP/1.0\r\n\r\n").path == "*"


@given(head=st.binary(max_size=200))
def test_no_bytes_do_more_harm_than_a_bad_request(head: bytes) -> None:
    with contextlib.suppress(BadRequest):
        parse_request(head)


@given(rest=st.text(st.characters(max_codepoint=127), max_size=100))
def test_no_headers_or_url_do_more_harm_than_a_bad_request(rest: str) -> None:
    with contextlib.suppress(BadRequest):
        request = parse_request(f"DESCRIBE rtsp://[{rest} RTSP/1.0\r\n{rest}\r\n\r\n".encode())
        assert request.path is not None
        assert request.body_bytes >= 0


@pytest.mark.parametrize("length", ["-1", "x", "8193", ""])
def test_a_length_that_is_none_or_too_long_is_refused(length: str) -> None:
    request = parse_request(b"OPTIONS * RTSP/1.0\r\n\r\n")
    with pytest.raises(BadRequest):
        _ = type(request)("OPTIONS", "*", {"content-length": length}).body_bytes


@pytest.mark.parametrize(
    ("header", "channels"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", (0, 1)),
        ("RTP/AVP/TCP;unicast;interleaved=4-7", (4, 7)),
        ("RTP/AVP/TCP;interleaved=6", (6, 7)),
        ("RTP/AVP/TCP", (0, 1)),
        ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=2-3", (2, 3)),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001", None),
        ("", None),
    ],
)
def test_the_first_tcp_choice_is_taken(header: str, channels: tuple[int, int] | None) -> None:
    assert interleaved_channels(header) == channels


@pytest.mark.parametrize("wish", ["", "a-b", "0-256", "255", "0-1-2", "-1"])
def test_channels_that_are_none_are_refused(wish: str) -> None:
    with pytest.raises(BadRequest):
        interleaved_channels(f"RTP/AVP/TCP;interleaved={wish}")


def test_a_response_carries_number_reason_and_length() -> None:
    encoded = Response(200, {"Content-Type": "application/sdp"}, "v=0\r\n").encode("7")
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert head.startswith(b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n")
    assert b"Content-Type: application/sdp\r\nContent-Length: 5" in head
    assert body == b"v=0\r\n"
    assert Response(461).encode("8").startswith(b"RTSP/1.0 461 Unsupported Transport\r\nCSeq: 8\r\n")
