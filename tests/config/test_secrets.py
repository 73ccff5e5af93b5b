"""Secrets: where they come from, that they work, and that nobody sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgevlm.capture.config import RtspSourceConfig
from edgevlm.config.load import Loaded
from edgevlm.config.logins import in_query, login_of, without_login
from edgevlm.config.mistakes import InvalidConfig
from edgevlm.publish.config import MqttSinkConfig
from tests.config.conftest import LoadText, Mistakes

CANARY = "c4n4ry-S3cret"


def mqtt(value: str) -> str:
    return f"sinks: {{a: {{type: mqtt, password: {value}}}}}\n"


def password(loaded: Loaded) -> str | None:
    sink = loaded.config.sinks["a"]
    assert isinstance(sink, MqttSinkConfig)
    return sink.password.reveal() if sink.password else None


def source(loaded: Loaded) -> RtspSourceConfig:
    source = loaded.config.cameras["c"].source
    assert isinstance(source, RtspSourceConfig)
    return source


def rtsp(source: str) -> str:
    return f"cameras:\n  c:\n    source: {{type: rtsp, {source}}}\n    rules:\n"


def messages(loaded: Loaded) -> list[str]:
    return [str(warning).partition(".yaml:")[2] for warning in loaded.warnings if "rules" not in str(warning)]


def test_a_variable_is_read(load_text: LoadText) -> None:
    loaded = load_text(mqtt("!env MQTT_PASSWORD"), {"MQTT_PASSWORD": CANARY})
    assert password(loaded) == CANARY
    assert loaded.secrets == (CANARY,)
    assert loaded.warnings == ()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_file_is_read_without_the_line_break_at_its_end(
    end: str, tmp_path: Path, load_text: LoadText
) -> None:
    secret = tmp_path / "mqtt.password"
    secret.write_text(f" {CANARY} {end}")
    secret.chmod(0o600)
    loaded = load_text(mqtt("!file mqtt.password"))
    assert password(loaded) == f" {CANARY} "
    assert loaded.warnings == ()


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path, load_text: LoadText) -> None:
    secret = tmp_path / "mqtt.password"
    secret.write_text(CANARY)
    secret.chmod(0o640)
    loaded = load_text(mqtt("!file mqtt.password"))
    assert password(loaded) == CANARY
    assert messages(loaded) == [
        "1:35: sinks.a.password: the file can be read by others than its owner; chmod 600 it"
    ]


def test_a_credential_is_read(tmp_path: Path, load_text: LoadText) -> None:
    (tmp_path / "dock").write_text(CANARY + "\n")
    loaded = load_text(mqtt("!credential dock"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert password(loaded) == CANARY
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb", "holds more than one line"),
        (b"a\0b", "holds more than one line"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * 65_537, "is larger than 65536 bytes"),
    ],
)
def test_what_cannot_be_a_secret_is_refused(
    content: bytes, complaint: str, tmp_path: Path, mistakes: Mistakes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    (mistake,) = mistakes(mqtt("!file secret"))
    assert mistake.startswith(f"1:35: sinks.a.password: the file {tmp_path}/secret {complaint};")


def test_a_pipe_does_not_hang(tmp_path: Path, mistakes: Mistakes) -> None:
    os.mkfifo(tmp_path / "pipe")
    (mistake,) = mistakes(mqtt("!file pipe"))
    assert "is not a regular file" in mistake


@pytest.mark.parametrize("value", ["", "a\udcff"])
def test_a_variable_that_cannot_be_a_secret_is_refused(value: str, mistakes: Mistakes) -> None:
    (mistake,) = mistakes(mqtt("!env X"), {"X": value})
    assert mistake.startswith("1:35: sinks.a.password: the variable ")


def test_plain_text_works_and_is_warned_of(load_text: LoadText) -> None:
    loaded = load_text(mqtt(CANARY))
    assert password(loaded) == CANARY
    assert loaded.secrets == (CANARY,)
    assert messages(loaded) == [
        (
            "1:35: sinks.a.password: the secret stands in plain text; "
            "better: !credential NAME, !file PATH or !env NAME"
        )
    ]


def test_a_password_in_a_camera_url_works_and_is_warned_of(load_text: LoadText) -> None:
    loaded = load_text(rtsp("url: 'rtsp://admin:p%40ss%2Fw@10.0.0.21:554/stream1?x=1'"))
    assert source(loaded).url == "rtsp://10.0.0.21:554/stream1?x=1"
    assert source(loaded).username == "admin"
    assert source(loaded).password is not None
    assert loaded.config.cameras["c"].source.spec().password == "p@ss/w"  # type: ignore[union-attr]  # rtsp
    assert loaded.secrets == ("p%40ss%2Fw", "p@ss/w")
    assert messages(loaded) == [
        (
            "3:31: cameras.c.source.url: a password stands in the URL; "
            "better: !credential NAME, !file PATH or !env NAME below `password`"
        )
    ]


def test_options_beside_the_url_win(load_text: LoadText) -> None:
    text = rtsp("url: 'rtsp://old:older@10.0.0.21/1', username: new, password: !env P")
    found = source(load_text(text, {"P": CANARY}))
    assert (found.url, found.username) == ("rtsp://10.0.0.21/1", "new")
    assert found.password is not None
    assert found.password.reveal() == CANARY


def test_a_user_without_a_password_is_no_secret(load_text: LoadText) -> None:
    loaded = load_text(rtsp("url: 'rtsp://viewer@10.0.0.21/1', password: !env P"), {"P": CANARY})
    assert (source(loaded).url, source(loaded).username) == ("rtsp://10.0.0.21/1", "viewer")
    assert messages(loaded) == []


def test_a_password_in_a_model_url_is_a_secret(load_text: LoadText) -> None:
    loaded = load_text(
        f"models: {{m: {{type: openai-compatible, base_url: 'http://u:{CANARY}@10.0.0.5/v1', model: q}}}}\n"
    )
    assert loaded.secrets == (CANARY,)
    assert messages(loaded) == [
        (
            "1:49: models.m.base_url: a password stands in the URL; "
            "better: !credential NAME, !file PATH or !env NAME below `api_key`"
        )
    ]


def test_a_password_in_a_query_is_a_secret(load_text: LoadText) -> None:
    loaded = load_text(rtsp(f"url: 'rtsp://10.0.0.21/user=admin_password={CANARY}_channel=1'"))
    assert loaded.secrets == (CANARY,)
    assert source(loaded).url.endswith("_channel=1")
    assert len(messages(loaded)) == 1


@pytest.mark.parametrize(
    ("url", "clean", "user", "password"),
    [
        ("rtsp://u:p@h/s", "rtsp://h/s", "u", "p"),
        ("rtsp://u:p@h", "rtsp://h", "u", "p"),
        ("rtsp://u:p#s@h/s", "rtsp://h/s", "u", "p#s"),
        ("rtsp://u:p/s@h/s", "rtsp://h/s", "u", "p/s"),
        ("rtsp://u:p?s@h:554/s", "rtsp://h:554/s", "u", "p?s"),
        ("rtsp://u:p@s@h/s", "rtsp://h/s", "u", "p@s"),
        ("rtsp://u:p:q@h/s", "rtsp://h/s", "u", "p:q"),
        ("rtsp://u:p@[2001:db8::1]:554/s", "rtsp://[2001:db8::1]:554/s", "u", "p"),
        ("rtsp://u@h/s", "rtsp://h/s", "u", None),
        ("rtsp://u:@h/s", "rtsp://h/s", "u", None),
        ("rtsp://:p@h/s", "rtsp://h/s", None, "p"),
    ],
)
def test_logins_are_taken_out_of_urls(url: str, clean: str, user: str | None, password: str | None) -> None:
    login = login_of(url)
    assert login is not None
    assert (login.url, login.username, login.password) == (clean, user, password)
    assert without_login(url) == clean


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://h/s",
        "rtsp://h:554/a@b",
        "rtsp://h/a@b",
        "rtsp://[::1]:554/a@b",
        "rtsp://h",
        "u:p@h",
        "text",
        "",
    ],
)
def test_urls_without_a_login_stay(url: str) -> None:
    assert login_of(url) is None
    assert without_login(url) == url


def test_passwords_in_queries_are_found() -> None:
    assert in_query("http://h/snap?user=a&pwd=x1&n=2") == ["x1"]
    assert in_query("rtsp://h/user=admin_password=x2_channel=1_stream=0.sdp") == ["x2"]
    assert in_query("http://h/?max_tokens=5") == []
    assert without_login("http://h/?api_key=x3") == "http://h/?api_key=***"


PLACES = {
    "wrong kind": f"sinks: {{a: {{type: mqtt, password: [{CANARY}]}}}}",
    "below a wrong key": f"sinks: {{a: {{type: mqtt, pasword: {CANARY}}}}}",
    "key with a forgotten space": f"sinks: {{a: {{type: mqtt, password:{CANARY}}}}}",
    "key with a sign": f"sinks: {{a: {{type: mqtt, password={CANARY}}}}}",
    "key without a colon": f"sinks: {{a: {{type: mqtt, password {CANARY}}}}}",
    "line without a space": f"sinks:\n  a:\n    type: mqtt\n    password:{CANARY}\n",
    "tag": f"sinks: {{a: {{type: mqtt, password: !{CANARY} x}}}}",
    "alias": f"sinks: {{a: {{type: mqtt, password: *{CANARY} }}}}",
    "anchor": f"sinks: {{a: {{type: mqtt, password: &{CANARY} , xyz: 1}}}}",
    "not closed": f"sinks: {{a: {{type: mqtt, password: '{CANARY}",
    "escape": f'sinks: {{a: {{type: mqtt, password: "{CANARY}\\q"}}}}',
    "two colons": f"sinks: {{a: {{type: mqtt}}}}\npassword: {CANARY}: x\n",
    "variable in the wrong place": "node: !env CANARY",
    "variable as a type": "models: {m: {type: !env CANARY}}",
    "variable as a word": "sinks: {a: {type: mqtt, protocol: !env CANARY}}",
    "variable as a number": "capture: {cameras_per_host: !env CANARY}",
    "variable as a label": "labels: {x: !env CANARY}",
    "variable in a list": "cameras: {c: {source: {type: usb, device: x}, privacy_masks: [!env CANARY]}}",
    "twice": f"sinks: {{a: {{type: {CANARY}, password: {CANARY}}}}}",
    "url of a wrong scheme": f"cameras: {{c: {{source: {{type: rtsp, url: 'http://u:{CANARY}@h/s'}}}}}}",
    "url as a host": f"sinks: {{a: {{type: mqtt, host: 'mqtt://u:{CANARY}@h'}}}}",
    "url as a model": (
        "models: {m: {type: embedded}}\ncameras: {c: {source: {type: usb, device: x}, rules: "
        f"{{r: {{trigger: {{type: command}}, task: {{type: ocr}}, model: 'http://u:{CANARY}@h'}}}}}}}}"
    ),
    "url as a time zone": f"site: {{timezone: 'http://u:{CANARY}@h'}}",
    "url as a priority": f"sinks: {{a: {{type: mqtt, protocol: 'http://u:{CANARY}@h'}}}}",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_misplaced_secret_is_never_shown(place: str, load_text: LoadText) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_text(PLACES[place], {"CANARY": CANARY})
    shown = " ".join([str(caught.value), repr(caught.value), *map(str, caught.value.warnings)])
    assert CANARY not in shown


def test_a_secret_cannot_hide_in_free_form_options(mistakes: Mistakes) -> None:
    text = (
        "models: {m: {type: openai-compatible, base_url: 'http://h/v1', model: q}}\n"
        "sinks: {s: {type: stdout}}\ncameras: {c: {source: {type: usb, device: x}, rules: {r: "
        "{trigger: {type: command}, task: {type: caption, extra_body: {user: [!env CANARY]}}}}}}\n"
    )
    assert mistakes(text, {"CANARY": CANARY}) == [
        (
            "3:127: cameras.c.rules.r.task.extra_body.user[0]: a secret cannot stand here; "
            "it would be sent as part of the request"
        )
    ]


def test_a_loaded_configuration_does_not_show_its_secrets(load_text: LoadText) -> None:
    loaded = load_text(rtsp(f"url: 'rtsp://u:{CANARY}@h/s'"))
    assert CANARY not in repr(loaded)
    assert CANARY not in loaded.config.model_dump_json()
