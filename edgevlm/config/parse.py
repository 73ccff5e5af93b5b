"""From plain values to a `Config`: what is wrong is reported and left out, the rest is kept.

Keeping the rest lets the cross-checks run, so that all mistakes come at once. What is put in for a required
value has been reported before, so no check says anything of it.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from edgevlm.config.examples import example
from edgevlm.config.mistakes import KeyPath, Report
from edgevlm.config.model import Config
from edgevlm.config.problems import Problem, located, of_interest
from edgevlm.config.sentences import tell
from edgevlm.config.shape import (
    ChoiceShape,
    ListShape,
    MapShape,
    SectionShape,
    Shape,
    TaggedShape,
    options,
)
from edgevlm.config.words import takes
from edgevlm.runtime.section import Section

ROOT = SectionShape(Config)


def parse(raw: dict[str, Any], report: Report) -> Config:
    """Return the configuration that is left of `raw` when what is wrong is taken out."""
    values = filled(raw, ROOT)
    problems = _problems(values)
    for problem in problems:
        tell(problem, report)
    repair = _Repair(values)
    while problems:
        if not repair.all(problems):
            return Config()
        # What turns up now is only the consequence of what was taken out.
        problems = _problems(values)
    return Config.model_validate(values)


def filled(value: Any, shape: Shape) -> Any:
    """Return a copy of `value` in which a key without a value counts as absent, or as an empty mapping.

    `sinks:` with all its lines commented out is what it looks like: no sinks.
    """
    match shape:
        case SectionShape(section=section) if isinstance(value, dict):
            return _filled_section(value, section)
        case TaggedShape() if isinstance(value, dict):
            chosen = shape.section(value.get("type"))
            return _filled_section(value, chosen) if chosen else dict(value)
        case MapShape(value=below) if isinstance(value, dict):
            return {key: _filled_entry(item, below) for key, item in value.items()}
        case ListShape(item=item) if isinstance(value, list):
            return [filled(element, item) for element in value]
        case ChoiceShape(options=choices):
            fitting = next((choice for choice in choices if takes(choice, value)), None)
            return filled(value, fitting) if fitting else value
        case _:
            return value


def _filled_section(value: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    known = options(section)
    return {
        key: filled(item, known[key].shape) if key in known else item
        for key, item in value.items()
        if item is not None or key not in known or known[key].nullable
    }


def _filled_entry(value: Any, shape: Shape) -> Any:
    if value is None and isinstance(shape, SectionShape | TaggedShape | MapShape):
        return {}
    return filled(value, shape)


def _problems(values: dict[str, Any]) -> list[Problem]:
    try:
        Config.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return of_interest(located(detail, ROOT, values) for detail in details)
    return []


class _Repair:
    """Takes wrong values out; puts an example where something is required, so that its neighbours survive."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._replaced: set[KeyPath] = set()

    def all(self, problems: list[Problem]) -> bool:
        """Take out what these problems are about; say whether anything could be done."""
        return sum(self._one(problem) for problem in problems) > 0

    def _one(self, problem: Problem) -> bool:
        path = _out_of_lists(problem.path)
        option = problem.option
        if option and option.required and path == problem.path and path not in self._replaced:
            self._replaced.add(path)
            return self._set(path, example(option))
        # An example that does not help either: give up what holds it.
        return self._delete(path[:-1] if path in self._replaced else path)

    def _set(self, path: KeyPath, value: Any) -> bool:
        holder = self._holder(path)
        if holder is None:
            return False
        holder[path[-1]] = value
        return True

    def _delete(self, path: KeyPath) -> bool:
        holder = self._holder(path)
        if holder is None or path[-1] not in holder:
            return False
        del holder[path[-1]]
        return True

    def _holder(self, path: KeyPath) -> dict[Any, Any] | None:
        holder: Any = self._values if path else None
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        return holder if isinstance(holder, dict) else None


def _out_of_lists(path: KeyPath) -> KeyPath:
    """Cut `path` at its first list: a list is wrong as a whole, for its items have no names."""
    first = next((index for index, step in enumerate(path) if isinstance(step, int)), len(path))
    return path[:first]
