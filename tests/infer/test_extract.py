"""JSON values out of text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.infer.extract import MAX_REPAIR_CHARS, Found, find_values, plausible


def found_in(text: str) -> list[tuple[Any, str, bool]]:
    return [(found.value, found.ending, found.repaired) for found in find_values(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', [({"a": 1}, "closed", False)]),
        ('Sure!\n```json\n{"a": 1}\n```\nBye.', [({"a": 1}, "closed", False)]),
        ('{"a": 1} or {"a": 2}', [({"a": 1}, "closed", False), ({"a": 2}, "closed", False)]),
        ('{"a": "x\ty"}', [({"a": "x\ty"}, "closed", False)]),
        ("{'a': 'it is'}", [({"a": "it is"}, "closed", True)]),
        ('{"a": True, "b": None,}', [({"a": True, "b": None}, "closed", True)]),
        ('{"a": "}"}', [({"a": "}"}, "closed", False)]),
        ('{"a": "say \\"}\\" twice"}', [({"a": 'say "}" twice'}, "closed", False)]),
        ('{"a": 1', [({"a": 1}, "unclosed", True)]),
        ('{"a": [1, {"b": 2', [({"a": [1, {"b": 2}]}, "unclosed", True)]),
        ('{"a": "x', [(None, "cut", True)]),
        ("no JSON { here } or [there]", []),
        ("", []),
        ("[]", [([], "closed", False)]),
    ],
)
def test_find_values(text: str, found: list[tuple[Any, str, bool]]) -> None:
    assert found_in(text) == found


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ('[{"a": 1}, {"a": 2}, {"a"', ({"a": 1}, {"a": 2})),
        ('{"list": [{"a": 1}, {"a": 2}, {"a": ', ({"a": 1}, {"a": 2})),
        ('["a", "b", "c', ("a", "b")),
        ("[{'a': 1}, {'a': 2}, {'a", ({"a": 1}, {"a": 2})),
        ('[{"a": 1}', ({"a": 1},)),
        ("[1, 2", ()),
        ('[{"a": 1', ()),
        ('{"a": 1, "b": "x', ()),
        ('["a\\x", {"a": 1}', ()),
    ],
)
def test_whole_entries_of_a_list_that_breaks_off(text: str, entries: tuple[Any, ...]) -> None:
    (found,) = find_values(text)
    assert found.ending != "closed"
    assert found.entries == entries


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("[]", True),
        ("```json\n[]\n```", True),
        ("None: []", True),
        ("- [ ] truck", False),
        ("[] is what I see", False),
    ],
)
def test_what_follows_on_the_line(text: str, alone: bool) -> None:
    assert [found.alone for found in find_values(text)] == [alone]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': '}', 'b': 1}", {"a": "}", "b": 1}),
        ("{'a': 'the driver's van', 'b': 1}", {"a": "the driver's van", "b": 1}),
        ("{a: it's, b: 1}", {"a": "it's", "b": 1}),
    ],
)
def test_an_apostrophe_is_no_quote(text: str, value: Any) -> None:
    """Else the value would seem to end within its string, or never."""
    assert [found.value for found in find_values(f"{text} and {{'c': 2}}")] == [value, {"c": 2}]


def test_an_open_value_is_the_last() -> None:
    """What stands within it is a part of it, and no answer by itself."""
    assert [found.ending for found in find_values('[{"a": 1}, {"a": 2}, ')] == ["unclosed"]


def test_what_is_repaired_is_short() -> None:
    long = "{'a': '" + "x" * MAX_REPAIR_CHARS + "'}"
    assert found_in(long) == []
    assert found_in("{'a': '" + "x" * 1000 + "'}") != []


def test_the_repairs_of_one_answer_are_bounded_together() -> None:
    one = "{'a': '" + "x" * 1000 + "'}\n"
    assert 1 <= len(found_in(one * 50)) <= MAX_REPAIR_CHARS // 1000


@pytest.mark.parametrize("heap", ["{'" * 500, '["a" ' * 500, "{,-“]{" * 300, '{"]\n' * 300, '"a" ' * 900])
def test_heaps_are_not_repaired(heap: str) -> None:
    assert not plausible(heap)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), values, min_size=1, max_size=4)


@given(value=objects, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_any_object_is_found_as_it_is(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    for around in (text, f"Here you are:\n```json\n{text}\n```\nBye.", f"{text}\n```"):
        assert next(find_values(around)) == Found(value, "closed")


@given(st.lists(objects, min_size=1, max_size=5), st.data())
def test_a_cut_list_gives_a_beginning_of_its_entries(entries: list[Any], data: st.DataObject) -> None:
    text = json.dumps({"list": entries})
    cut = text[: data.draw(st.integers(len('{"list": [{"'), len(text) - 1))]
    (found,) = find_values(cut)
    assert list(found.entries) == entries[: len(found.entries)]
