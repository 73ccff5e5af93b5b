"""`edgevlm check`: what it prints, where, and its exit code."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgevlm.commands.check import check

GOOD = """\
node: gateway-7
models:
  local: {type: openai-compatible, base_url: 'http://10.0.0.5:8000/v1', model: q}
  cloud: {type: openai-compatible, base_url: 'https://vlm.invalid/v1', model: q, api_key: c4n4ry-S3cret}
  reader: {type: embedded}
sinks:
  broker: {type: mqtt, host: localhost}
  results: {type: file}
cameras:
  dock:
    source: {type: rtsp, url: 'rtsp://viewer:c4n4ry-P4ss@192.168.1.9/1'}
    rules:
      truck: {trigger: {type: interval, every_secs: 30}, task: {type: caption}, model: local}
      cloud: {trigger: {type: command}, task: {type: caption}, model: cloud, sinks: [results]}
  bench:
    source: {type: usb, device: /dev/video0}
    enabled: false
    rules:
      plate: {trigger: {type: command}, task: {type: ocr}, model: reader, sinks: [results], enabled: false}
"""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(
    tmp_path: Path, text: str, *, as_json: bool = False, stream: io.StringIO | None = None
) -> tuple[int, str, str]:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(text)
    out, errors = stream or io.StringIO(), io.StringIO()
    code = check(path, as_json=as_json, stream=out, errors=errors, environ={})
    return code, out.getvalue(), errors.getvalue()


def document(tmp_path: Path, text: str) -> dict[str, Any]:
    code, out, errors = run(tmp_path, text, as_json=True)
    assert errors == ""
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    assert code == (0 if found["ok"] else 78)
    return found


def test_a_right_file_is_summed_up(tmp_path: Path) -> None:
    code, out, errors = run(tmp_path, GOOD)
    assert code == 0
    why = next(line for line in out.splitlines() if "model:cloud" in line).split("unresolved_host, ")[1]
    assert why.startswith("vlm.invalid does not resolve here: ")
    assert out.splitlines() == [
        "camera dock: rtsp, rtsp://192.168.1.9/1",
        "camera bench: usb, /dev/video0, disabled",
        "rule dock/truck: interval every_secs=30, caption, local, broker and results",
        "rule dock/cloud: command, caption, cloud, results",
        "rule bench/plate: command, ocr, reader, results, disabled",
        "model local: openai-compatible, http://10.0.0.5:8000/v1",
        "model cloud: openai-compatible, https://vlm.invalid/v1",
        "model reader: embedded",
        "sink broker: mqtt, localhost:1883",
        "sink results: file, results",
        "component source:dock: needs lan, ok, 192.168.1.9 is private",
        "component model:local: needs lan, ok, 10.0.0.5 is private",
        f"component model:cloud: needs unknown, unknown, unresolved_host, {why}",
        "pixels of dock: to the internet",
        "pixels of bench: not off this box",
        "the configuration of gateway-7 is right: 2 cameras, 3 rules, 3 models, 2 sinks",
    ]
    assert [line.split(": ")[1:3] for line in errors.splitlines()] == [
        ["warning", "models.cloud.api_key"],
        ["warning", "cameras.dock.source.url"],
    ]


def test_one_of_a_kind_is_counted_in_the_singular(tmp_path: Path) -> None:
    _, out, _ = run(tmp_path, "node: x\nmodels: {reader: {type: embedded}}\n")
    assert out.splitlines()[-1] == "the configuration of x is right: 0 cameras, 0 rules, 1 model, 0 sinks"


def test_a_file_without_cameras_is_right_but_run_has_nothing_to_do(tmp_path: Path) -> None:
    code, _, errors = run(tmp_path, "node: x\n")
    assert code == 0
    warning = "1:1: warning: no cameras: `run` has nothing to do; see docs/configuration.md"
    assert errors == f"{tmp_path / 'edgevlm.yaml'}:{warning}\n"
    assert document(tmp_path, "node: x\n")["warnings"][0]["message"] == "no cameras: `run` has nothing to do"
    assert "no cameras" not in run(tmp_path, "cameras: {dock: 7}\n")[2]


def test_a_component_that_needs_nothing_is_shown_when_it_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    _, out, _ = run(tmp_path, GOOD)
    assert "component model:reader: needs nothing else, incompatible, missing_model_file, " in out
    assert "component sink:results" not in out


def test_on_a_terminal_the_summary_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    code, out, _ = run(tmp_path, GOOD, stream=Terminal())
    assert code == 0
    assert "answers go to" in out
    assert "rtsp://192.168.1.9/1" in out
    assert out.splitlines()[-1].startswith("the configuration of gateway-7 is right")


def test_a_wrong_file_is_not_summed_up(tmp_path: Path) -> None:
    code, out, errors = run(tmp_path, GOOD + "modles: {}\nnode: x\n")
    assert code == 78
    assert out == ""
    path = tmp_path / "edgevlm.yaml"
    assert errors.splitlines()[-2:] == [
        f"{path}:20:1: modles: unknown key; did you mean models?",
        f"{path}:21:1: node: the key stands twice; the first is in line 1; keep one of them",
    ]


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    for text in (GOOD, GOOD + "modles: {}\n"):
        for as_json in (False, True):
            for stream in (None, Terminal()):
                shown = run(tmp_path, text, as_json=as_json, stream=stream)
                assert "c4n4ry" not in str(shown)


def test_the_json_document_of_a_right_file(tmp_path: Path) -> None:
    found = document(tmp_path, GOOD)
    assert found["ok"] is True
    assert found["errors"] == []
    assert found["warnings"][0] == {
        "file": str(tmp_path / "edgevlm.yaml"),
        "line": 4,
        "column": GOOD.splitlines()[3].index("c4n4ry") + 1,
        "path": "models.cloud.api_key",
        "message": "the secret stands in plain text",
        "hint": "better: !credential NAME, !file PATH or !env NAME",
    }
    needs = {part["component"]: (part["needs"], part["verdict"]) for part in found["compatibility"]}
    assert needs == {
        "source:dock": ("lan", "ok"),
        "source:bench": ("none", "ok"),
        "model:local": ("lan", "ok"),
        "model:cloud": ("unknown", "unknown"),
        "model:reader": ("none", "ok"),
        "sink:broker": ("none", "ok"),
        "sink:results": ("none", "ok"),
        "clock:system": ("none", "ok"),
    }
    assert found["compatibility"][0] == {
        "component": "source:dock",
        "kind": "source",
        "name": "dock",
        "used_by": ["dock/truck", "dock/cloud"],
        "address": "rtsp://192.168.1.9/1",
        "resolved": ["192.168.1.9"],
        "needs": "lan",
        "verdict": "ok",
        "code": None,
        "severity": "soft",
        "message": "192.168.1.9 is private",
    }
    assert found["rules"] == [
        {"rule": "dock/truck", "verdict": "ok", "code": None, "model": "local"},
        {"rule": "dock/cloud", "verdict": "unknown", "code": "unresolved_host", "model": "cloud"},
        {"rule": "bench/plate", "verdict": "ok", "code": None, "model": "reader"},
    ]
    assert found["cameras"] == [
        {"camera": "dock", "frames_reach": "internet"},
        {"camera": "bench", "frames_reach": "none"},
    ]


@pytest.mark.parametrize(
    ("host", "needs"),
    [
        ("127.0.0.1", "none"),
        ("[::1]", "none"),
        ("localhost", "none"),
        ("a.localhost", "none"),
        ("10.1.2.3", "lan"),
        ("172.31.0.1", "lan"),
        ("192.168.0.1", "lan"),
        ("169.254.1.1", "lan"),
        ("100.64.0.1", "lan"),
        ("[fd00::1]", "lan"),
        ("[fe80::1]", "lan"),
        ("[::ffff:10.0.0.1]", "lan"),
        ("[::ffff:8.8.8.8]", "internet"),
        ("8.8.8.8", "internet"),
        ("[2606:4700::1]", "internet"),
        ("203.0.113.1", "internet"),
        ("0.0.0.0", "none"),
        ("example.invalid", "unknown"),
        ("[::1", "unknown"),
    ],
)
def test_an_address_tells_what_it_needs(host: str, needs: str, tmp_path: Path) -> None:
    text = f"models: {{m: {{type: openai-compatible, base_url: 'http://{host}/v1', model: q}}}}\n"
    part = document(tmp_path, text)["compatibility"][0]
    assert part["needs"] == needs
    assert part["verdict"] == ("unknown" if needs == "unknown" else "ok")


def test_what_is_right_in_a_wrong_file_is_still_told(tmp_path: Path) -> None:
    text = GOOD.replace("{type: embedded}", "{type: embeded}").replace("type: interval", "type: intervall")
    found = document(tmp_path, text)
    assert [error["path"] for error in found["errors"]] == [
        "models.reader.type",
        "cameras.dock.rules.truck.trigger.type",
    ]
    assert {part["component"] for part in found["compatibility"]} == {
        "source:dock",
        "source:bench",
        "model:local",
        "model:cloud",
        "sink:broker",
        "sink:results",
        "clock:system",
    }
    assert found["rules"] == [
        {"rule": "dock/cloud", "verdict": "unknown", "code": "unresolved_host", "model": "cloud"},
        {"rule": "bench/plate", "verdict": "unknown", "code": "invalid_configuration", "model": "reader"},
    ]


def test_a_file_that_is_not_yaml_has_a_document_too(tmp_path: Path) -> None:
    found = document(tmp_path, "a: [\n")
    assert len(found["errors"]) == 1
    assert [part["component"] for part in found["compatibility"]] == ["clock:system"]
    assert (found["rules"], found["cameras"]) == ([], [])


def test_an_absent_file_is_a_configuration_error(tmp_path: Path) -> None:
    errors = io.StringIO()
    assert check(tmp_path / "absent.yaml", stream=io.StringIO(), errors=errors) == 78
    assert errors.getvalue().startswith(f"{tmp_path}/absent.yaml:1:1: the file cannot be read:")
