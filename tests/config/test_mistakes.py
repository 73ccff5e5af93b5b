"""Each kind of mistake with its line, its column, its key and its words; and all of them at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgevlm.config.load import load
from edgevlm.config.mistakes import InvalidConfig, Mistake, dotted
from edgevlm.config.model import Config
from edgevlm.config.sentences import PATTERNS
from edgevlm.config.shape import ListShape, MapShape, ScalarShape, Shape, options
from edgevlm.errors import ConfigError
from tests.config.classes import every_class
from tests.config.conftest import LoadText, Mistakes

CAMERA = """\
models: {m: {type: embedded}}
sinks: {s: {type: stdout}}
cameras:
  c:
    source: {type: usb, device: x}
    rules:
      r: {trigger: {type: command}, task: {type: ocr}}
"""


def bad_files() -> dict[str, tuple[str, str]]:
    """Return the table in `mistakes.txt`: by name, the text of a file and the mistakes in it."""
    blocks = (Path(__file__).parent / "mistakes.txt").read_text(encoding="utf-8").split("=== ")[1:]
    pairs = [block.partition("\n") for block in blocks]
    files = {name: body.rpartition("--- ") for name, _, body in pairs}
    return {name: (text, expected.strip()) for name, (text, _, expected) in files.items()}


BAD = bad_files()


@pytest.mark.parametrize("kind", BAD)
def test_each_mistake_is_told_at_its_place(kind: str, mistakes: Mistakes) -> None:
    text, expected = BAD[kind]
    assert mistakes(text) == expected.splitlines()


def test_there_are_many_kinds() -> None:
    assert len(BAD) >= 60


def test_all_mistakes_come_at_once_in_the_order_of_the_file(mistakes: Mistakes) -> None:
    text = """\
node: Gateway 7
site: {timezone: Europe/Berln}
modles: {}
models:
  local: {type: openai-compatible, base_url: 'http://10.0.0.5/v1', model: q, max_concurrent_requests: 4.5}
  ocr: {type: embeded}
sinks:
  a: {type: file}
  b: {type: file}
  a: {type: stdout}
cameras:
  dock:
    source: {type: rtsp, url: 'rtsp://10.0.0.21/1', password: !env NOPE}
    rules:
      status:
        trigger: {type: interval, every_secs: 0.01}
        task: {type: ocr}
        model: locl
        sinks: [c]
      two: {}
  cmd: {source: {type: file, path: nope.mp4}}
"""
    places = [line.split(": ")[:2] for line in mistakes(text)]
    assert places == [
        ["1:7", "node"],
        ["2:18", "site.timezone"],
        ["3:1", "modles"],
        ["5:103", "models.local.max_concurrent_requests"],
        ["6:15", "models.ocr.type"],
        ["9:6", "sinks.b"],
        ["10:3", "sinks.a"],
        ["13:63", "cameras.dock.source.password"],
        ["15:7", "cameras.dock.rules.status"],
        ["16:47", "cameras.dock.rules.status.trigger.every_secs"],
        ["18:16", "cameras.dock.rules.status.model"],
        ["19:17", "cameras.dock.rules.status.sinks[0]"],
        ["20:12", "cameras.dock.rules.two"],
        ["20:12", "cameras.dock.rules.two"],
        ["20:12", "cameras.dock.rules.two"],
        ["21:3", "cameras.cmd"],
        ["21:36", "cameras.cmd.source.path"],
    ]


def test_what_follows_from_a_mistake_is_not_told(mistakes: Mistakes) -> None:
    """The rule names a model that exists, though it is not usable."""
    text = CAMERA.replace("type: ocr}", "type: ocr}, model: m").replace("embedded", "embeded")
    assert [line.split(": ")[1] for line in mistakes(text)] == ["models.m.type"]


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "absent.yaml", "no such file or directory"),
        (tmp_path, "is a directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == (
            f"{path}:1:1: the file cannot be read: {reason}; name a readable file by -c"
        )


def test_a_mistake_has_a_text_and_a_json_form() -> None:
    mistake = Mistake("f.yaml", 3, 7, dotted(("cameras", "dock", "masks", 0, 1)), "is wrong", "do it right")
    assert str(mistake) == "f.yaml:3:7: cameras.dock.masks[0][1]: is wrong; do it right"
    assert mistake.text("warning") == "f.yaml:3:7: warning: cameras.dock.masks[0][1]: is wrong; do it right"
    assert mistake.as_json() == {
        "file": "f.yaml",
        "line": 3,
        "column": 7,
        "path": "cameras.dock.masks[0][1]",
        "message": "is wrong",
        "hint": "do it right",
    }


def test_the_rest_of_a_wrong_file_is_kept(load_text: LoadText) -> None:
    """So that `check` can say more about it."""
    text = CAMERA + "  d: {source: {type: usb}}\nxyz: 1\n"
    with pytest.raises(InvalidConfig) as caught:
        load_text(text)
    assert caught.value.rest.cameras["c"].rules["r"].task.type == "ocr"


def test_sections_without_a_value_are_empty(load_text: LoadText) -> None:
    """All their lines may be commented out."""
    config = load_text("node:\nsite:\nmodels:\nsinks:\ncameras:\n").config
    assert config == load_text("").config


def patterns(shape: Shape) -> set[str]:
    match shape:
        case ScalarShape(limits=limits):
            return {limits.pattern} if limits.pattern else set()
        case MapShape(key=key, value=value):
            return patterns(key) | patterns(value)
        case ListShape(item=item):
            return patterns(item)
        case _:
            return set()


def test_every_pattern_has_its_words() -> None:
    used = {
        pattern
        for section in every_class()
        for option in options(section).values()
        for pattern in patterns(option.shape)
    }
    assert used - PATTERNS.keys() == set()


def test_pydantic_never_speaks(mistakes: Mistakes) -> None:
    """Every way in which its checks can fail has words of ours."""
    for text, _ in BAD.values():
        told = " ".join(line for line in mistakes(text) if "/" not in line)
        assert not re.search(r"(?i)pydantic|input|valid (?:string|integer|dict)|union|literal|NoneType", told)
    with pytest.raises(ValidationError):
        Config.model_validate({"xyz": 1})
