"""Makes `docs/configuration.md` from the classes: every option with its type, default and meaning."""

from __future__ import annotations

from collections.abc import Iterator

from edgevlm.config.model import Config
from edgevlm.config.sample import by_weight, flow, sections_in, summary
from edgevlm.config.shape import (
    ChoiceShape,
    ListShape,
    MapShape,
    Option,
    SectionShape,
    Shape,
    TaggedShape,
    WordShape,
)
from edgevlm.config.words import allowed, describe
from edgevlm.runtime.section import Section

INTRODUCTION = """\
# Configuration

<!-- Made by scripts/docs from the classes; change their docstrings, not this page. -->

edgevlm reads one YAML file, `/etc/edgevlm/edgevlm.yaml` under systemd.
[config/edgevlm.yaml](../config/edgevlm.yaml) shows every option at its default;
[config/examples](../config/examples) holds small real ones. Check a file before you run it:

    edgevlm check -c edgevlm.yaml

Mistakes come all at once, each as `file:line:column: key.path: what is wrong; what would be right`, and the
exit code is 78. `edgevlm schema` prints a JSON Schema for editors ([the same](config.schema.json)).

## How the file is read

- YAML 1.2: only `true` and `false` are booleans; `yes`, `no`, `on` and `off` are text; `0123` is 123;
  `12:30` is text.
- Unknown keys are mistakes, and so is a key that stands twice. A key without a value counts as absent.
- Text that looks like a number needs quotes: `protocol: "5"`.
- Durations, sizes and rates carry their unit in the name: `timeout_secs`, `max_age_ms`, `ring_bytes`.
- Names (of cameras, rules, models, sinks) become parts of MQTT topics: 1 to 64 of `a-z`, `0-9`, `_`, `-`.
  Cameras are not called `cmd`, `status`, `info` or `stats`; rules are not called `status`, `enable` or
  `enabled`.
- Paths of recordings, pictures and certificates are relative to the file; the file sink's directory is
  relative to the state directory.
- Anchors and aliases work for whole values (`rules: *night`); merge keys (`<<`) are not part of YAML 1.2.
- At most 1 MB, nested at most 64 deep.

## Secrets

Where an option takes a secret, three tags keep it out of the file:

| tag | reads |
|---|---|
| `!credential NAME` | `$CREDENTIALS_DIRECTORY/NAME`, from systemd's `LoadCredential=NAME:/path` |
| `!file PATH` | the file at PATH, without the line break at its end; `chmod 600` it |
| `!env NAME` | the environment variable NAME |

Plain text works and draws a warning, and so does a password inside a URL (`rtsp://user:password@host/…`).
Secrets never appear in a log, an error, a metric, a topic or a page.

An editor with the YAML language server should know of the tags:

    yaml.customTags: ["!env", "!file", "!credential"]
"""


def manual() -> str:
    """Return the text of the page."""
    return INTRODUCTION + "".join(_chapter("", SectionShape(Config), set()))


def _chapter(path: str, shape: Shape, seen: set[type[Section]]) -> Iterator[str]:
    """Yield a heading and a table for each class of a shape, then what is below it."""
    for kind, section in _classes(shape):
        if section in seen:
            continue
        seen.add(section)
        heading = f"`{path}`" if path else "Top level"
        of_type = f" of type `{'` or `'.join(kind)}`" if kind else ""
        yield f"\n## {heading}{of_type}\n\n{summary(section)}\n\n"
        yield from _table(section)
        for option in by_weight(section):
            yield from _chapter(*_below(path, option), seen)


def _classes(shape: Shape) -> list[tuple[tuple[str, ...], type[Section]]]:
    """Return the classes of a shape, each with the words of `type` that stand for it."""
    if not isinstance(shape, TaggedShape):
        return [((), section) for section in sections_in(shape)]
    return [
        (tuple(kind for kind, other in shape.variants if other is section), section)
        for section in dict.fromkeys(section for _, section in shape.variants)
    ]


def _below(path: str, option: Option) -> tuple[str, Shape]:
    """Return the path and the shape of the sections that an option holds."""
    here = f"{path}.{option.key}".removeprefix(".")
    match option.shape:
        case MapShape(value=value):
            return f"{here}.NAME", value
        case ListShape(item=item):
            return f"{here}[]", item
        case shape:
            return here, shape


def _table(section: type[Section]) -> Iterator[str]:
    yield "| option | takes | default | meaning |\n|---|---|---|---|\n"
    for option in by_weight(section):
        cells = (f"`{option.key}`", _takes(option.shape), _default(option), option.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _takes(shape: Shape) -> str:
    match shape:
        case WordShape(words=words):
            return ", ".join(f"`{word}`" for word in words)
        case TaggedShape(variants=variants):
            return f"a mapping with `type` {', '.join(f'`{kind}`' for kind, _ in variants)}"
        case MapShape(value=value):
            return f"a mapping of names to {_plural(value)}"
        case ListShape(item=item):
            return ", ".join(filter(None, [f"a list of {_plural(item)}", allowed(shape)]))
        case ChoiceShape(options=choices):
            return " or ".join(dict.fromkeys(_takes(choice) for choice in choices))
        case _:
            return ", ".join(filter(None, [describe(shape), allowed(shape)]))


def _plural(shape: Shape) -> str:
    match shape:
        case WordShape():
            return _takes(shape)
        case ChoiceShape(options=choices):
            return " or ".join(dict.fromkeys(_plural(choice) for choice in choices))
        case _:
            return _PLURALS.get(describe(shape), describe(shape))


_PLURALS = {
    "a mapping": "mappings",
    "a list": "lists",
    "a number": "numbers",
    "a whole number": "whole numbers",
    "a value": "anything",
    "text": "texts",
}


def _default(option: Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.shape, SectionShape) and option.default is not None:
        return "see there"
    shown = flow(option.default)
    return f"`{shown}`" if shown else ""
