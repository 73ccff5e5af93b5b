"""YAML 1.2 out of a 1.1 parser: scalars, tags, places, bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgevlm.config import yaml12
from edgevlm.config.credentials import Vault
from edgevlm.config.mistakes import Place, Report
from tests.config.conftest import LoadText, Mistakes


def read(text: str | bytes) -> tuple[Any, Report]:
    report = Report("f.yaml")
    raw = text if isinstance(text, bytes) else text.encode()
    return yaml12.read(raw, report, Vault(Path(), {}).secret), report


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("nil", "nil"),
        ("0123", 123),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2024-01-01", "2024-01-01"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("=", "="),
        ("<<", "<<"),
        ("[yes, no, on, off]", ["yes", "no", "on", "off"]),
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: object) -> None:
    raw, report = read(f"a: {scalar}\n")
    assert report.mistakes == ()
    assert raw == {"a": value}
    assert type(raw["a"]) is type(value)


@pytest.mark.parametrize("key", ["yes", "1", "true", "1.5", "~", "0x1F"])
def test_keys_are_always_text(key: str) -> None:
    assert read(f"{key}: x\n")[0] == {key: "x"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "null\n", "{}\n"])
def test_an_empty_file_is_an_empty_configuration(text: str, load_text: LoadText) -> None:
    loaded = load_text(text)
    assert loaded.config == load_text("").config
    assert loaded.warnings == ()
    assert not loaded.config.cameras


def test_every_value_knows_where_it_and_its_key_stand() -> None:
    _, report = read("a:\n  b: [x, {c: 1}]\n  é: |\n    text\n")
    places = report.places
    assert places.key(("a",)) == Place(1, 1)
    assert places.value(("a",)) == Place(1, 1)
    assert places.value(("a", "b")) == Place(2, 6)
    assert places.value(("a", "b", 1)) == Place(2, 10)
    assert places.key(("a", "b", 1, "c")) == Place(2, 11)
    assert places.value(("a", "b", 1, "c")) == Place(2, 14)
    assert places.key(("a", "é")) == Place(3, 3)
    assert places.value(("a", "é")) == Place(3, 6)
    assert places.value(("a", "absent", "deep")) == Place(1, 1)
    assert places.value(("a", "b", "absent")) == Place(2, 6)


def test_aliases_stand_for_whole_values() -> None:
    raw, report = read("a: &x {b: 1}\nc: *x\n")
    assert raw == {"a": {"b": 1}, "c": {"b": 1}}
    assert report.mistakes == ()


def test_billion_laughs_end_early(mistakes: Mistakes) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert mistakes("\n".join(lines)) == ["5:1: the aliases below unfold to too much; use fewer of them"]


def test_an_alias_within_its_own_anchor_ends(mistakes: Mistakes) -> None:
    assert mistakes("a: &a [*a]\n") == ["1:1: the aliases below unfold to too much; use fewer of them"]


@pytest.mark.parametrize(("start", "opening"), [("a: ", "["), ("a: ", "{a: "), ("", "- "), ("", "? ")])
def test_depth_is_bounded_before_the_parser_recurses(start: str, opening: str, mistakes: Mistakes) -> None:
    (mistake,) = mistakes(start + opening * 100_000)
    assert "nested deeper than 64" in mistake


def test_the_size_is_bounded(mistakes: Mistakes) -> None:
    (mistake,) = mistakes(b"#" * 1_000_001)
    assert mistake == "1:1: the file is larger than 1000000 bytes; split it up"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: 1\nb: \xff\n", "2:4: this is not UTF-8 text; save the file as UTF-8"),
        ("é: 1\né: \xe9".encode("latin-1"), "1:1: this is not UTF-8 text; save the file as UTF-8"),
        ("é: 1\né: \x01\n".encode(), "2:4: a control character stands here; remove it"),
        ("\ufeffé: 1\né: \x01\n".encode(), "2:4: a control character stands here; remove it"),
        ("node: x\n".encode("utf-16"), "1:1: this is not UTF-8 text; save the file as UTF-8"),
        (b"\x00", "1:1: a control character stands here; remove it"),
    ],
)
def test_what_is_not_text_is_found_at_its_place(raw: bytes, expected: str, mistakes: Mistakes) -> None:
    assert mistakes(raw) == [expected]
