"""Whatever stands in the file: a configuration or a ConfigError with places, soon, and without secrets."""

from __future__ import annotations

import io
import re
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgevlm.commands.check import check
from edgevlm.config.load import Loaded, load
from edgevlm.config.mistakes import InvalidConfig, dotted, nearest
from edgevlm.config.model import Config
from edgevlm.config.sample import flow, sample, uncommented
from edgevlm.config.shape import (
    ChoiceShape,
    ListShape,
    MapShape,
    SectionShape,
    Shape,
    TaggedShape,
    WordShape,
    options,
)
from edgevlm.runtime.section import Section

CANARY = "c4n4ry"

quick = settings(
    max_examples=150, deadline=timedelta(seconds=5), suppress_health_check=list(HealthCheck), derandomize=True
)


@cache
def directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="edgevlm-properties-"))
    (path / "clip.mp4").touch()
    (path / "pictures").mkdir()
    return path


def outcome(raw: bytes) -> Loaded | InvalidConfig:
    """Load; anything raised but `InvalidConfig` fails the test."""
    result = loaded(raw)
    if isinstance(result, InvalidConfig):
        assert result.mistakes
        assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in result.mistakes)
        assert all(mistake.line <= line_count(raw) for mistake in result.mistakes)
        assert len(str(result).splitlines()) == len(result.mistakes)
    return result


def loaded(raw: bytes) -> Loaded | InvalidConfig:
    path = directory() / "edgevlm.yaml"
    path.write_bytes(raw)
    try:
        return load(path, environ={"CANARY": CANARY})
    except InvalidConfig as error:
        return error


def line_count(raw: bytes) -> int:
    """Return how many lines YAML may see."""
    return len(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", raw.decode(errors="replace"))) + 1


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(raw: bytes) -> None:
    outcome(raw)


@quick
@given(st.text(alphabet="abc:- \n\t[]{}!&*#|>%@`'\",?~0123.é\\", max_size=80))
def test_any_yaml_like_text_is_survived(text: str) -> None:
    outcome(text.encode())


@cache
def lines() -> list[str]:
    return uncommented(sample()).splitlines()


@quick
@given(st.data())
def test_a_damaged_file_is_survived(data: st.DataObject) -> None:
    """The full sample with pieces cut out, doubled, and replaced."""
    text = list(lines())
    for _ in range(data.draw(st.integers(1, 5))):
        index = data.draw(st.integers(0, len(text) - 1))
        edit = data.draw(st.sampled_from(["cut", "double", "indent", "value", "letter"]))
        line = text[index]
        match edit:
            case "cut":
                text[index] = ""
            case "double":
                text[index] = f"{line}\n{line}"
            case "indent":
                text[index] = f" {line}"
            case "value":
                text[index] = line.partition(":")[0] + ": " + data.draw(odd_values)
            case _:
                at = data.draw(st.integers(0, len(line)))
                text[index] = line[:at] + data.draw(st.sampled_from("x:-[]{}'\"#&*!|")) + line[at + 1 :]
    result = outcome("\n".join(text).encode())
    check(directory() / "edgevlm.yaml", stream=io.StringIO(), errors=io.StringIO(), environ={})
    shown = str(result) if isinstance(result, InvalidConfig) else ""
    assert CANARY not in shown


odd_values = st.sampled_from(
    [
        "",
        "x",
        "5",
        "-1",
        "1.5",
        "true",
        "[]",
        "{}",
        "[[]]",
        "[x, 5]",
        "{x: y}",
        "'5'",
        "!env CANARY",
        "!env ABSENT",
        "!file clip.mp4",
        "9" * 400,
        "'a\\0b'",
        f"'rtsp://u:{CANARY}@h'",
        f"'http://u:{CANARY}@h/v1'",
    ]
)


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Return values that mostly fit a shape, and sometimes do not."""
    anything: st.SearchStrategy[Any] = st.sampled_from([None, True, 5, -1.5, "x", [], {}, [5], {"x": 5}])
    fitting: st.SearchStrategy[Any]
    match shape:
        case SectionShape(section=section):
            fitting = _section(section)
        case TaggedShape(variants=variants):
            fitting = st.sampled_from(variants).flatmap(
                lambda variant: _section(variant[1]).map(lambda value: {**value, "type": variant[0]})
            )
        case MapShape(value=value):
            fitting = st.dictionaries(
                st.sampled_from(["a", "b", "status", "No Name"]), values(value), max_size=2
            )
        case ListShape(item=item):
            fitting = st.lists(values(item), max_size=3)
        case ChoiceShape(options=choices):
            fitting = st.one_of([values(choice) for choice in choices])
        case WordShape(words=words):
            fitting = st.sampled_from([*words, "wrod"])
        case _:
            return st.one_of(
                anything, st.sampled_from(["http://10.0.0.5/v1", "rtsp://h/s", 1, 30, "clip.mp4"])
            )
    return st.integers(0, 9).flatmap(lambda dice: anything if dice == 0 else fitting)


def _section(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    known = options(section)
    required = {key: values(option.shape) for key, option in known.items() if option.required}
    optional = {key: values(option.shape) for key, option in known.items() if not option.required}
    return st.fixed_dictionaries(required, optional=optional)


@quick
@given(_section(Config))
def test_any_values_are_judged(raw: dict[str, Any]) -> None:
    """Valid or not, and whatever is missing: a configuration comes out, or what is left of one."""
    result = outcome(flow(raw).encode())
    if isinstance(result, InvalidConfig):
        assert isinstance(result.rest, Config)


@quick
@given(st.text(max_size=30), st.text(max_size=30))
def test_a_key_is_shown_on_one_line_and_only_its_word(key: str, rest: str) -> None:
    shown = dotted((f"password:{rest}", key))
    assert len(shown.splitlines()) <= 1
    assume(rest)
    assert shown.startswith("password…")


@quick
@given(st.sampled_from(sorted(options(Config))), st.data())
def test_a_typo_finds_its_key(key: str, data: st.DataObject) -> None:
    """Two letters swapped, in a word that is long enough to tell."""
    assume(len(key) > 4)
    at = data.draw(st.integers(0, len(key) - 2))
    typo = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert nearest(typo, options(Config)) == key
