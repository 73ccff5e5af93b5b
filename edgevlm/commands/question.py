"""The question that a command line describes, and what is wrong with it, told by the names of the options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgevlm.config.mistakes import Report, dotted
from edgevlm.config.problems import Problem, located, of_interest
from edgevlm.config.sentences import tell
from edgevlm.config.shape import shape_of
from edgevlm.errors import ConfigError
from edgevlm.infer.task import TaskConfig

_TASK: TypeAdapter[TaskConfig] = TypeAdapter(TaskConfig)
_SHAPE = shape_of(TaskConfig)[0]


class Misuse(ConfigError):
    """The command line cannot be used as it stands; the message names the option."""


def task_of(given: Mapping[str, Any], *, prompt_option: str = "--prompt") -> TaskConfig:
    """Return the task that `given` describes, in the words of the configuration.

    Raises:
        Misuse: it lacks an option, or one of them cannot be used.

    """
    try:
        return _TASK.validate_python(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    problems = of_interest(located(detail, _SHAPE, given) for detail in details)
    raise Misuse(_sentence(problems[0], f"--task {given['type']}", prompt_option))


def _sentence(problem: Problem, task: str, prompt_option: str) -> str:
    key, *below = problem.path
    option = prompt_option if key == "prompt" else f"--{str(key).replace('_', '-')}"
    if problem.kind == "missing" and not below:
        return f"{task} needs {option}"
    if problem.kind == "extra_forbidden" and not below:
        return f"{option} does not go with {task}"
    report = Report("")
    tell(problem, report)
    mistake = report.mistakes[0]
    told = [option, *([dotted(tuple(below))] if below else []), mistake.message]
    return ": ".join(told) + (f"; {mistake.hint}" if mistake.hint else "")
