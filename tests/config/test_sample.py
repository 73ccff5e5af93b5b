"""What is made from the classes: the sample with every option, the schema, the reference; the examples."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgevlm.commands.schema import document, schema
from edgevlm.config import yaml12
from edgevlm.config.load import Loaded, load
from edgevlm.config.manual import manual
from edgevlm.config.mistakes import Report
from edgevlm.config.model import Config
from edgevlm.config.parse import filled
from edgevlm.config.sample import flow, is_option, sections_in, uncommented
from edgevlm.config.shape import (
    ChoiceShape,
    ListShape,
    MapShape,
    ScalarShape,
    SectionShape,
    Shape,
    TaggedShape,
    options,
)
from edgevlm.config.words import takes
from edgevlm.runtime.section import Secret, Section
from tests.config.classes import every_class

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config" / "edgevlm.yaml"
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))

SHOWN_BY_EXAMPLE = {("RuleConfig", "model")}
"""With several models each rule must name one."""


def raw_of(text: str) -> dict[str, Any]:
    """Read a text with secrets as plain text, as an editor sees it."""
    report = Report("f.yaml")
    raw = yaml12.read(text.encode(), report, lambda _tag, name: (Secret(name), ""))
    assert report.mistakes == ()
    return without_secrets(raw)  # type: ignore[no-any-return]  # a mapping comes back as one


def without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {key: without_secrets(item) for key, item in value.items()}
        case list():
            return [without_secrets(item) for item in value]
        case Secret():
            return value.reveal()
        case _:
            return value


@cache
def complete() -> dict[str, Any]:
    """Return the sample with every option set."""
    return raw_of(uncommented(SAMPLE.read_text(encoding="utf-8")))


def shown(value: Any, shape: Shape) -> Iterator[tuple[type[Section], dict[str, Any]]]:
    """Yield each section of raw values with its class."""
    if isinstance(shape, SectionShape) and isinstance(value, dict):
        yield shape.section, value
    for item, below in children(value, shape):
        yield from shown(item, below)


def children(value: Any, shape: Shape) -> list[tuple[Any, Shape]]:
    match shape:
        case SectionShape(section=section) if isinstance(value, dict):
            return [(value.get(key), option.shape) for key, option in options(section).items()]
        case TaggedShape(variants=variants) if isinstance(value, dict):
            return [(value, SectionShape(dict(variants)[value["type"]]))]
        case MapShape(value=below) if isinstance(value, dict):
            return [(item, below) for item in value.values()]
        case ListShape(item=below) if isinstance(value, list):
            return [(item, below) for item in value]
        case ChoiceShape(options=choices):
            return [(value, choice) for choice in choices if takes(choice, value)]
        case _:
            return []


def test_as_shipped_the_sample_is_an_empty_configuration(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    assert load(SAMPLE).config == load(empty).config
    assert load(SAMPLE).warnings == ()


def test_with_every_option_set_the_sample_loads(tmp_path: Path) -> None:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(uncommented(SAMPLE.read_text(encoding="utf-8")), encoding="utf-8")
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "pictures").mkdir()
    loaded = load(path)
    assert len(loaded.config.cameras) >= 4
    assert {warning.message for warning in loaded.warnings} <= {
        "the camera has no rules, so nothing is asked about it",
        "the secret stands in plain text",  # required keys show an example
    }


def test_every_option_of_every_class_is_in_the_sample() -> None:
    found: dict[type[Section], set[str]] = {}
    for section, value in shown(complete(), SectionShape(Config)):
        found.setdefault(section, set()).update(value)
    missing = {
        f"{section.__name__}.{key}"
        for section in every_class()
        for key in options(section).keys() - found.get(section, set())
    }
    assert missing == set()


def test_every_option_of_the_sample_is_at_its_default() -> None:
    different = [
        f"{section.__name__}.{key}: {value[key]!r}"
        for section, value in shown(complete(), SectionShape(Config))
        for key, option in options(section).items()
        if key in value
        and not option.required
        and not sections_in(option.shape)
        and not (isinstance(option.shape, MapShape) and sections_in(option.shape.value))
        and (section.__name__, key) not in SHOWN_BY_EXAMPLE
        and value[key] != option.default
    ]
    assert different == []


def test_every_type_is_in_the_sample() -> None:
    types = {value["type"] for _, value in shown(complete(), SectionShape(Config)) if "type" in value}
    known = {
        name
        for section in every_class()
        for option in options(section).values()
        for shape in (option.shape, getattr(option.shape, "value", None))
        if isinstance(shape, TaggedShape)
        for name in shape.names
    }
    assert known - types == set()


def test_every_line_of_the_sample_is_prose_or_an_option() -> None:
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        assert not text or text == "#" or text.startswith("# ") or is_option(line)


def test_every_option_is_explained() -> None:
    """By the docstring below it: it becomes the comment, the reference, and what an editor shows."""
    silent = [
        f"{section.__name__}.{key}"
        for section in every_class()
        for key, option in options(section).items()
        if key != "type" and not option.meaning
    ]
    assert silent == []


def load_example(path: Path, directory: Path) -> Loaded:
    """Load an example with what it names beside it."""
    (directory / path.name).write_bytes(path.read_bytes())
    (directory / "clip.mp4").touch()
    for name in ("dock", "api-key"):
        (directory / name).write_text("secret")
        (directory / name).chmod(0o600)
    return load(directory / path.name, environ={"CREDENTIALS_DIRECTORY": str(directory)})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load_without_a_warning(path: Path, tmp_path: Path) -> None:
    loaded = load_example(path, tmp_path)
    assert loaded.config.cameras
    assert loaded.warnings == ()


def test_examples_show_different_things(tmp_path: Path) -> None:
    loaded = [load_example(path, tmp_path).config for path in EXAMPLES]
    sources = {camera.source.type for config in loaded for camera in config.cameras.values()}
    sinks = {sink.type for config in loaded for sink in config.sinks.values()}
    models = {model.type for config in loaded for model in config.models.values()}
    assert sources >= {"rtsp", "file", "usb"}
    assert sinks >= {"mqtt", "file", "stdout"}
    assert models >= {"openai-compatible", "embedded"}


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(document())


@pytest.mark.parametrize("path", [SAMPLE, *EXAMPLES], ids=lambda path: path.stem)
def test_files_satisfy_the_schema(path: Path) -> None:
    Draft202012Validator(document()).validate(raw_of(path.read_text(encoding="utf-8")))


def test_the_complete_sample_satisfies_the_schema() -> None:
    Draft202012Validator(document()).validate(filled(complete(), SectionShape(Config)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"modles": {}},
        {"cameras": {"Dock 1": {"source": {"type": "usb", "device": "x"}}}},
        {"cameras": {"c": {"source": {"type": "rstp"}}}},
        {"capture": {"cameras_per_host": "4"}},
    ],
)
def test_the_schema_finds_mistakes(wrong: dict[str, Any]) -> None:
    assert not Draft202012Validator(document()).is_valid(wrong)


def test_the_schema_tells_of_the_tags() -> None:
    assert all(tag in document()["description"] for tag in yaml12.TAGS)
    for section in every_class():
        for option in options(section).values():
            if isinstance(option.shape, ScalarShape) and option.shape.kind is Secret:
                assert "!credential NAME" in option.meaning, option.key


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema() == 0
    readable = capsys.readouterr().out
    assert schema(as_json=True) == 0
    compact = capsys.readouterr().out
    assert compact.count("\n") == 1
    assert json.loads(compact) == json.loads(readable) == document()


def test_the_reference_names_every_option() -> None:
    page = manual()
    missing = [
        f"{section.__name__}.{key}"
        for section in every_class()
        for key in options(section)
        if f"| `{key}` |" not in page
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0.5, "0.5"),
        (60.0, "60"),
        ("yes", "yes"),
        ("5", '"5"'),
        ("true", '"true"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("Is it?", '"Is it?"'),
        (["a", 1], "[a, 1]"),
        ({"a": [1, {"b": "c"}]}, "{a: [1, {b: c}]}"),
    ],
)
def test_values_are_written_so_that_they_are_read_back(value: Any, text: str) -> None:
    assert flow(value) == text
    assert raw_of(f"a: {text}\n") == {"a": value}


def docs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "docs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_what_is_made_is_fresh() -> None:
    done = docs("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_stale_is_named_and_then_made(tmp_path: Path) -> None:
    done = docs("--check", "--root", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "config/edgevlm.yaml is stale: run scripts/docs",
        "docs/config.schema.json is stale: run scripts/docs",
        "docs/configuration.md is stale: run scripts/docs",
    ]
    assert not list(tmp_path.iterdir())
    assert docs("--root", tmp_path).returncode == 0
    assert docs("--check", "--root", tmp_path).returncode == 0
