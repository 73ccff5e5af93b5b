"""What FFmpeg is told of a network camera: the login, the transport, the limits, the trust."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.rtsp import RtspSource
from edgevlm.capture.spec import RtspSpec
from edgevlm.errors import CameraUnreachable

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(secrets, secrets | st.none(), st.sampled_from(["10.0.0.21", "cam.local:8554", "[fe80::1]:554"]))
def test_any_login_comes_back_out_of_the_url(username: str, password: str | None, host: str) -> None:
    url = RtspSource("cam", RtspSpec(f"rtsp://{host}/a?b=c", username, password))._container.url
    parts = urlsplit(url)
    assert parts.path == "/a"
    assert parts.query == "b=c"
    user, colon, word = parts.netloc.rpartition("@")[0].partition(":")
    assert unquote(user) == username
    assert (unquote(word) if colon else None) == password
    assert parts.netloc.rpartition("@")[2] == host


def test_a_login_in_the_url_is_replaced_by_the_one_beside_it() -> None:
    spec = RtspSpec("rtsp://old:login@10.0.0.21/a", "new", "p@ss")
    assert RtspSource("cam", spec)._container.url == "rtsp://new:p%40ss@10.0.0.21/a"
    alone = RtspSpec("rtsp://old:login@10.0.0.21/a")
    assert RtspSource("cam", alone)._container.url == "rtsp://old:login@10.0.0.21/a"


def test_the_limits_of_ffmpeg_are_wider_than_ours() -> None:
    """Otherwise a sparse stream with a long read timeout would be cut by the open timeout."""
    spec = RtspSpec("rtsp://10.0.0.21/a", open_timeout_secs=5, read_timeout_secs=60)
    assert int(RtspSource("cam", spec)._container.options["timeout"]) > 60_000_000


def test_certificates_are_checked_against_the_systems_or_the_users() -> None:
    def options(**more: object) -> dict[str, str]:
        return RtspSource("cam", RtspSpec("rtsps://10.0.0.21/a", **more))._container.options  # type: ignore[arg-type]

    assert options()["tls_verify"] == "1"
    assert Path(options()["ca_file"]).exists()
    assert options(ca_file="/etc/own.pem")["ca_file"] == "/etc/own.pem"
    assert options(verify_tls=False)["tls_verify"] == "0"


def test_nothing_that_is_shown_holds_the_password() -> None:
    spec = RtspSpec("rtsp://127.0.0.1:1/a", "viewer", "hunter2")
    source = RtspSource("cam", spec)
    assert "hunter2" not in repr(source._container) + repr(spec)
    with pytest.raises(CameraUnreachable) as refusal:
        source.open()
    assert "hunter2" not in repr(refusal.value)
    assert "refused" in refusal.value.message
    with pytest.raises(CameraUnreachable):
        source.read(threading.Event())


def test_half_an_address_is_refused_where_refusals_belong() -> None:
    """Not in the constructor, where it would take the whole host with it."""
    source = RtspSource("cam", RtspSpec("rtsp://[bad/a", "viewer", "hunter2"))
    with pytest.raises(CameraUnreachable):
        source.open()
