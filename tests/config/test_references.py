"""What one section says of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm.config import references
from edgevlm.config.references import models_of, sinks_of
from tests.config.conftest import LoadText, Mistakes

OPENAI = "{type: openai-compatible, base_url: 'http://10.0.0.5/v1', model: q}"
RULE = "trigger: {type: command}, task: {type: ocr}"


def config(
    *,
    models: str = "{m: {type: embedded}}",
    sinks: str = "{s: {type: stdout}}",
    rule: str = RULE,
    source: str = "{type: usb, device: x}",
    more: str = "",
) -> str:
    return (
        f"models: {models}\nsinks: {sinks}\ncameras:\n  c:\n"
        f"    source: {source}\n    rules:\n      r: {{{rule}}}\n{more}"
    )


def warnings(load_text: LoadText, text: str) -> list[str]:
    return [str(warning).partition(".yaml:")[2] for warning in load_text(text).warnings]


def test_the_only_model_and_all_sinks_are_the_default(load_text: LoadText) -> None:
    loaded = load_text(config(sinks="{s: {type: stdout}, f: {type: file}}")).config
    rule = loaded.cameras["c"].rules["r"]
    assert models_of(loaded, rule) == ("m",)
    assert sinks_of(loaded, rule) == ("s", "f")


def test_named_models_and_sinks_are_taken(load_text: LoadText) -> None:
    text = config(
        models=f"{{m: {{type: embedded}}, n: {OPENAI}}}",
        sinks="{s: {type: stdout}, f: {type: file}}",
        rule=RULE + ", model: n, sinks: [f]",
    )
    loaded = load_text(text).config
    rule = loaded.cameras["c"].rules["r"]
    assert models_of(loaded, rule) == ("n",)
    assert sinks_of(loaded, rule) == ("f",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            config(models=f"{{local: {OPENAI}}}", rule=RULE + ", model: lokal"),
            "7:63: cameras.c.rules.r.model: no model is called 'lokal'; did you mean local?",
        ),
        (
            config(models="{}", rule=RULE + ", model: local"),
            "7:63: cameras.c.rules.r.model: no model is called 'local'; describe it below `models:`",
        ),
        (
            config(models="{}"),
            "7:10: cameras.c.rules.r: there is no model to ask; describe one below `models:`",
        ),
        (
            config(models="{m: {type: embedded}, n: {type: embedded}}"),
            "7:10: cameras.c.rules.r: `model` is missing, for there are several; known: m, n",
        ),
        (
            config(rule=RULE + ", sinks: [s, t]"),
            "7:67: cameras.c.rules.r.sinks[1]: no sink is called 't'; known: s",
        ),
        (
            config(rule=RULE + ", sinks: [s, s]"),
            "7:67: cameras.c.rules.r.sinks[1]: 's' is named twice; remove one",
        ),
        (
            config(rule="trigger: {type: command}, task: {type: caption}"),
            (
                "7:50: cameras.c.rules.r.task.type: the embedded model m can only do ocr; "
                "name another model for this rule, or take the task ocr"
            ),
        ),
        (
            "cameras: {cmd: {source: {type: usb, device: x}}}\n",
            "1:11: cameras.cmd: this name is reserved for MQTT topics; not cmd, info, stats, status",
        ),
        (
            config().replace("      r: {", "      status: {"),
            (
                "7:7: cameras.c.rules.status: this name is reserved for the camera's own topics; "
                "not enable, enabled, status"
            ),
        ),
        (
            "site: {timezone: Europe/Berlni}\n",
            "1:18: site.timezone: 'Europe/Berlni' is not a known time zone; did you mean Europe/Berlin?",
        ),
        (
            "site: {timezone: ../etc/passwd}\n",
            "1:18: site.timezone: '../etc/passwd' is not a known time zone; e.g. Europe/Berlin or UTC",
        ),
        (
            "sinks:\n  a: {type: file}\n  b: {type: file, directory: ./results/}\n",
            (
                "3:30: sinks.b.directory: the sink a writes into the same directory; "
                "give each file sink a `directory` of its own"
            ),
        ),
        (
            "sinks:\n  a: {type: mqtt, host: H, client_id: x}\n  b: {type: mqtt, host: h, client_id: x}\n",
            (
                "3:39: sinks.b.client_id: the sink a has the same client_id at the same broker; "
                "give each a `client_id` of its own: a broker drops the older connection of two"
            ),
        ),
        (
            "sinks:\n  a: {type: mqtt}\n  b: {type: mqtt}\n",
            (
                "3:6: sinks.b: the sink a has the same client_id at the same broker; "
                "give each a `client_id` of its own: a broker drops the older connection of two"
            ),
        ),
        (
            "sinks: {a: {type: mqtt, host: '10.0.0.5:1883'}}\n",
            "1:31: sinks.a.host: a port stands in the host; write it below `port:`, 1883",
        ),
        (
            "sinks: {a: {type: mqtt, host: 'mqtt://10.0.0.5'}}\n",
            "1:31: sinks.a.host: this is no host; a name or an address, not a URL, e.g. 10.0.0.5",
        ),
    ],
)
def test_references_are_checked(text: str, expected: str, mistakes: Mistakes) -> None:
    assert mistakes(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "sinks:\n  a: {type: mqtt, port: 1883}\n  b: {type: mqtt, port: 1884}\n",
        "sinks:\n  a: {type: mqtt}\n  b: {type: mqtt, tls: {}}\n",
        "sinks:\n  a: {type: mqtt, client_id: a}\n  b: {type: mqtt, client_id: b}\n",
        "sinks: {a: {type: mqtt, host: '2001:db8::1'}}\n",
        "sinks: {a: {type: mqtt, host: 'fe80::1%eth0'}}\n",
        "sinks:\n  a: {type: file}\n  b: {type: file, directory: other}\n",
        "site: {timezone: America/Argentina/Buenos_Aires}\n",
        config(models=f"{{m: {OPENAI}}}", rule="trigger: {type: command}, task: {type: caption}"),
    ],
)
def test_what_does_not_clash_is_right(text: str, load_text: LoadText) -> None:
    assert load_text(text)


def test_files_are_relative_to_the_configuration(tmp_path: Path, load_text: LoadText) -> None:
    for name in ("clip.mp4", "ca.pem", "one.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "pictures").mkdir()
    text = """\
models: {m: {type: openai-compatible, base_url: 'https://h/v1', model: q, ca_file: ca.pem}}
sinks: {s: {type: mqtt, tls: {ca_file: ./ca.pem, cert_file: ca.pem, key_file: ca.pem}}}
cameras:
  a: {source: {type: file, path: clip.mp4}}
  b: {source: {type: image, path: pictures}}
  c: {source: {type: image, path: one.jpg}}
  d: {source: {type: rtsp, url: 'rtsps://h/s', ca_file: ca.pem}}
"""
    loaded = load_text(text).config
    found = loaded.model_dump()
    assert found["models"]["m"]["ca_file"] == str(tmp_path / "ca.pem")
    assert found["sinks"]["s"]["tls"]["key_file"] == str(tmp_path / "ca.pem")
    paths = [camera["source"].get("path") for camera in found["cameras"].values()]
    assert paths == [str(tmp_path / "clip.mp4"), str(tmp_path / "pictures"), str(tmp_path / "one.jpg"), None]
    assert found["cameras"]["d"]["source"]["ca_file"] == str(tmp_path / "ca.pem")


def test_files_that_are_absent_are_mistakes(tmp_path: Path, mistakes: Mistakes) -> None:
    (tmp_path / "folder").mkdir()
    text = """\
models: {m: {type: openai-compatible, base_url: 'https://h/v1', model: q, ca_file: no.pem}}
sinks: {s: {type: mqtt, tls: {cert_file: no.pem, key_file: folder}}}
cameras:
  a: {source: {type: file, path: no.mp4}}
  b: {source: {type: file, path: folder}}
  c: {source: {type: image, path: no.jpg}}
  d: {source: {type: rtsp, url: 'rtsps://h/s', ca_file: no.pem}}
  e: {source: {type: image, path: "a\\0b"}}
"""
    absent, hint = "no such file or directory", "relative paths begin at the configuration file"
    assert mistakes(text) == [
        f"1:84: models.m.ca_file: {tmp_path}/no.pem: {absent}; {hint}",
        f"2:42: sinks.s.tls.cert_file: {tmp_path}/no.pem: {absent}; {hint}",
        f"2:60: sinks.s.tls.key_file: {tmp_path}/folder: is a directory; {hint}",
        f"4:34: cameras.a.source.path: {tmp_path}/no.mp4: {absent}; {hint}",
        f"5:34: cameras.b.source.path: {tmp_path}/folder: is a directory; {hint}",
        f"6:35: cameras.c.source.path: {tmp_path}/no.jpg: {absent}; {hint}",
        f"7:57: cameras.d.source.ca_file: {tmp_path}/no.pem: {absent}; {hint}",
        f"8:35: cameras.e.source.path: this path: not a path; {hint}",
    ]


def test_a_camera_without_rules_is_warned_of(load_text: LoadText) -> None:
    text = "cameras:\n  c:\n    source: {type: usb, device: x}\n"
    assert warnings(load_text, text) == [
        "2:3: cameras.c: the camera has no rules, so nothing is asked about it; add `rules:`"
    ]


def test_answers_that_go_nowhere_are_warned_of(load_text: LoadText) -> None:
    assert warnings(load_text, config(sinks="{}")) == [
        "7:10: cameras.c.rules.r: the answers go nowhere; describe a sink below `sinks:`"
    ]


def test_a_node_called_like_many_others_is_warned_of(
    load_text: LoadText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "default_node", lambda: "localhost")
    text = "sinks: {a: {type: mqtt}}\n"
    assert warnings(load_text, text) == [
        (
            "1:1: without `node` this box is called localhost, like many others; "
            "give it a name, e.g. `node: gateway-7`"
        )
    ]
    assert warnings(load_text, text + "node: gateway-7\n") == []
    assert warnings(load_text, "sinks: {a: {type: stdout}}\n") == []
