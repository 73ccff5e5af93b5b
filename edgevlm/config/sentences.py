"""What pydantic found wrong, told in plain sentences at the right place of the file.

Pydantic's own words never come through, and no value is shown but words that could be a typo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgevlm.config.credentials import BETTER_FORMS
from edgevlm.config.mistakes import Report, all_known, did_you_mean, either, nearest, shown_key
from edgevlm.config.problems import Problem
from edgevlm.config.shape import (
    Limits,
    ListShape,
    MapShape,
    ScalarShape,
    SectionShape,
    Shape,
    TaggedShape,
    WordShape,
    options,
)
from edgevlm.config.words import describe, describe_value, range_of, takes
from edgevlm.runtime.section import Secret


def tell(problem: Problem, report: Report) -> None:
    """Report one problem at its place."""
    if problem.kind == "extra_forbidden":
        report.wrong_key(problem.path, "unknown key", _unknown_key_hint(problem))
    elif problem.about_key:
        report.wrong_key(problem.path, *_bad_key(problem))
    elif problem.kind == "missing":
        report.lacks(problem.path, *_missing(problem))
    elif problem.kind.startswith("union_tag"):
        _tell_type(problem, report)
    else:
        report.wrong_value(problem.path, *_wrong_value(problem, report))


def _unknown_key_hint(problem: Problem) -> str:
    key = str(problem.path[-1])
    if key == "<<":
        return "YAML 1.2 has no merge keys; an alias may stand for a whole value"
    if shown_key(key) != key and ":" in key:
        return "a space is missing after the colon"
    if not isinstance(problem.shape, SectionShape):
        return "remove it"
    known = options(problem.shape.section)
    deeper = [option.key for option in known.values() if key in _keys_below(option.shape)]
    if deeper and not nearest(key, known):
        return f"it belongs below `{deeper[0]}`"
    return did_you_mean(key, known)


def _keys_below(shape: Shape) -> set[str]:
    match shape:
        case SectionShape(section=section):
            return set(options(section))
        case TaggedShape(variants=variants):
            return {key for _, section in variants for key in options(section)}
        case _:
            return set()


def _bad_key(problem: Problem) -> tuple[str, str]:
    key = str(problem.path[-1])
    pattern = problem.details.get("pattern", "")
    if pattern in PATTERNS:
        return "this name cannot be used", PATTERNS[pattern] + _proposal(key, pattern)
    return "this key cannot be used", f"it must match {pattern}" if pattern else "it must be text"


def _proposal(key: str, pattern: str) -> str:
    if pattern != NAME_PATTERN or shown_key(key.replace(" ", "")) != key.replace(" ", ""):
        return ""
    usable = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in key.lower())
    return f", e.g. {usable}"


def _missing(problem: Problem) -> tuple[str, str]:
    key, shape = str(problem.path[-1]), problem.shape
    if isinstance(shape, TaggedShape):
        return f"`{key}` is missing", f"`{key}:` takes a mapping with `type:` {either(shape.names)}"
    return f"`{key}` is missing", f"`{key}:` takes {describe(shape)}"


def _tell_type(problem: Problem, report: Report) -> None:
    """Report a `type` that is absent or not known."""
    shape = problem.shape
    names = shape.names if isinstance(shape, TaggedShape) else ()
    path = (*problem.path, "type")
    if problem.kind == "union_tag_not_found":
        report.lacks(path, "`type` is missing", all_known(names))
        return
    word = problem.value.get("type") if isinstance(problem.value, dict) else None
    if isinstance(word, str):
        report.wrong_value(path, f"{report.quoted(word)} is not a known type", _closest(word, names))
    else:
        report.wrong_value(path, f"must be text, not {describe_value(word)}", all_known(names))


def _closest(word: object, names: Iterable[str]) -> str:
    """Return the nearest word and, as there are few, all of them."""
    known = list(names)
    guess = nearest(str(word), known) if isinstance(word, str) else None
    return f"did you mean {guess}? ({all_known(known)})" if guess else all_known(known)


def _wrong_value(problem: Problem, report: Report) -> tuple[str, str]:
    sentence = _SENTENCES.get(problem.kind)
    if sentence:
        return sentence(problem, report)
    if not takes(problem.shape, problem.value):
        return _wrong_kind(problem, report)
    return "this value cannot be used", f"{describe(problem.shape)} is needed"


def _wrong_kind(problem: Problem, _report: Report) -> tuple[str, str]:
    message = f"must be {describe(problem.shape)}, not {describe_value(problem.value)}"
    return message, _kind_hint(problem)


def _kind_hint(problem: Problem) -> str:
    value, shape = problem.value, problem.shape
    kind = shape.kind if isinstance(shape, ScalarShape) else None
    if kind is Secret:
        return f"{BETTER_FORMS}; digits as text need quotes"
    if isinstance(value, Secret):
        return "!env, !file and !credential stand only where a secret is wanted"
    if isinstance(value, int | float) and takes(shape, ""):
        return "put it in quotes"
    if kind is bool:
        return "write true or false, without quotes"
    if kind in (int, float) and isinstance(value, str):
        return "only digits, without a unit or quotes"
    return ""


def _wrong_word(problem: Problem, report: Report) -> tuple[str, str]:
    words = problem.shape.words if isinstance(problem.shape, WordShape) else ()
    value = problem.value
    if not isinstance(value, str):
        hint = "put it in quotes" if str(value) in words else all_known(words)
        return f"must be text, not {describe_value(value)}", hint
    return f"{report.quoted(value)} is not known here", _closest(value, words)


def _own_words(problem: Problem, report: Report) -> tuple[str, str]:
    """Pass on what a validator of ours says."""
    text = str(problem.details.get("error", "this value cannot be used"))
    if any(secret in text for secret in report.secrets):
        return "this value cannot be used", "see the reference of this key"
    return text, ""


def _out_of_range(problem: Problem, _report: Report) -> tuple[str, str]:
    limits = _limits(problem.shape)
    return f"the number is out of range: {range_of(limits)}", ""


def _wrong_length(problem: Problem, _report: Report) -> tuple[str, str]:
    limits = _limits(problem.shape)
    if not problem.value:
        return f"the {_thing(problem.value)} is empty", range_of(limits, _unit(problem.value))
    which = "short" if "short" in problem.kind else "long"
    return f"the {_thing(problem.value)} is too {which}", range_of(limits, _unit(problem.value))


def _thing(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"


def _unit(value: object) -> str:
    return " items" if isinstance(value, list) else " keys" if isinstance(value, dict) else " characters"


def _limits(shape: Shape) -> Limits:
    return shape.limits if isinstance(shape, ScalarShape | ListShape | MapShape) else Limits()


def _wrong_pattern(problem: Problem, _report: Report) -> tuple[str, str]:
    pattern = str(problem.details.get("pattern", ""))
    return "this text cannot be used", PATTERNS.get(pattern, f"it must match {pattern}")


NAME_PATTERN = r"^[a-z0-9_-]{1,64}$"
PATTERNS = {
    NAME_PATTERN: "1 to 64 of the characters a-z, 0-9, _ and -",
    r"^[A-Za-z0-9_.-]{1,64}$": "1 to 64 letters, digits, _, . and -",
    r"^[A-Za-z0-9_-]{1,64}$": "1 to 64 letters, digits, _ and -",
    r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$": "up to 64 letters, digits, _ and -, not a digit first",
    r"^[^+#$/\x00\s][^+#\x00\s]{0,99}$": "an MQTT topic without +, # and spaces, e.g. site/edgevlm",
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": "3 to 63 of the characters a-z, 0-9, . and -",
    r"^[A-Za-z0-9/_.-]*$": "letters, digits, /, _, . and -",
}
"""What the patterns of our classes say, in words."""

_SENTENCES: dict[str, Callable[[Problem, Report], tuple[str, str]]] = {
    "choice": _wrong_kind,
    "literal_error": _wrong_word,
    "value_error": _own_words,
    "assertion_error": _own_words,
    "string_pattern_mismatch": _wrong_pattern,
    **dict.fromkeys(("greater_than", "greater_than_equal", "less_than", "less_than_equal"), _out_of_range),
    **dict.fromkeys(("too_short", "too_long", "string_too_short", "string_too_long"), _wrong_length),
}
