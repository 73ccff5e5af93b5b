"""What the YAML says of tasks: the nine kinds of question, each with the parameters that it needs."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from edgevlm.infer.names import UNKNOWN, fold
from edgevlm.infer.variables import unknown_names
from edgevlm.records import Question
from edgevlm.runtime.section import Section

TaskType = Literal[
    "unconstrained",
    "ocr",
    "visual-question-answering",
    "caption",
    "detailed-caption",
    "classification",
    "multi-label-classification",
    "object-detection",
    "structured-answering",
]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)

MAX_NAMES = 500


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _variables_known(text: str) -> str:
    if unknown := unknown_names(text):
        raise ValueError(
            f"holds {{{unknown[0]}}}, which is no variable: there are {{camera}}, {{zone}}, {{now}}, "
            f"{{last.value}}, {{trigger.value}} and {{vars.NAME}}; for the text itself write "
            f"{{{{{unknown[0]}}}}}"
        )
    return text


ClassName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=2000), AfterValidator(_variables_known)]
PromptText = Annotated[
    str,
    Field(min_length=1, max_length=20_000),
    AfterValidator(_not_blank),
    AfterValidator(_variables_known),
]


class ClassConfig(Section):
    """A class with more than a name."""

    name: ClassName
    """What stands in the result."""
    description: Description | None = None
    """Told to the model: what belongs to this class."""
    aliases: list[ClassName] = Field(default=[], max_length=50)
    """Other names under which a model's answer counts as this class."""


def _closed_set(names: list[str], what: str) -> None:
    """Refuse names that an answer could not be told apart by."""
    if any(fold(name) == UNKNOWN for name in names):
        raise ValueError(
            f"{what} must not hold 'unknown': it is what edgevlm reports when the model cannot tell"
        )
    _no_duplicates(names, what)


def _no_duplicates(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if fold(name) in seen:
            raise ValueError(f"{what} holds {name!r} twice (upper and lower case count as the same)")
        seen.add(fold(name))


def _classes(classes: list[str | ClassConfig]) -> list[str | ClassConfig]:
    detailed = [ClassConfig(name=item) if isinstance(item, str) else item for item in classes]
    _closed_set([name for item in detailed for name in (item.name, *item.aliases)], "classes")
    return classes


Classes = Annotated[
    list[ClassName | ClassConfig], Field(min_length=1, max_length=MAX_NAMES), AfterValidator(_classes)
]


class _Task(Section):
    """What all tasks share."""

    system_prompt: PromptText | None = None
    """Replaces edgevlm's own system prompt."""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Longest answer in tokens; by task when absent (64 closed, 512 text, 1024 boxes and structured)."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 when absent."""
    extra_body: dict[str, Any] = {}
    """Further fields of the request, as the server documents them."""
    language: str | None = Field(default=None, min_length=1, max_length=40)
    """Language of free text in the answer, e.g. `German`."""

    def _question(self, task: str, **parameters: Any) -> Question:
        return Question(
            task=task,
            system_prompt=self.system_prompt,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            extra_body=dict(self.extra_body),
            language=self.language,
            **parameters,
        )


def _class_parameters(classes: list[str | ClassConfig]) -> dict[str, Any]:
    detailed = [item for item in classes if isinstance(item, ClassConfig)]
    names = (item if isinstance(item, str) else item.name for item in classes)
    return {
        "classes": tuple(name.strip() for name in names),
        "class_descriptions": {item.name.strip(): item.description for item in detailed if item.description},
        "class_aliases": {item.name.strip(): tuple(item.aliases) for item in detailed if item.aliases},
    }


class UnconstrainedTask(_Task):
    """Any prompt; the answer is the model's text."""

    type: Literal["unconstrained"]
    prompt: PromptText
    """What to ask."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt)


class OcrTask(_Task):
    """Read the text in the picture."""

    type: Literal["ocr"]
    prompt: PromptText | None = None
    """Added to the instruction, e.g. which text matters; an embedded engine cannot use it."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt)


class VisualQuestionAnsweringTask(_Task):
    """A question about the picture; with `answers` a closed one."""

    type: Literal["visual-question-answering"]
    prompt: PromptText
    """The question."""
    answers: list[ClassName] | None = Field(default=None, min_length=2, max_length=MAX_NAMES)
    """The only answers allowed (`unknown` is always offered beside them)."""

    @field_validator("answers")
    @classmethod
    def _answers(cls, answers: list[str] | None) -> list[str] | None:
        _closed_set(answers or [], "answers")
        return answers

    def question(self) -> Question:
        """Return the question that this task asks."""
        answers = tuple(answer.strip() for answer in self.answers or ())
        return self._question(self.type, prompt=self.prompt, answers=answers)


class CaptionTask(_Task):
    """A description of the picture: one sentence (`caption`) or a few paragraphs (`detailed-caption`)."""

    type: Literal["caption", "detailed-caption"]
    prompt: PromptText | None = None
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt)


class ClassificationTask(_Task):
    """One of the given classes."""

    type: Literal["classification"]
    classes: Classes
    """The only ones allowed (`unknown` is offered beside them): names or `{name, description, aliases}`."""
    prompt: PromptText | None = None
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt, **_class_parameters(self.classes))


class MultiLabelClassificationTask(_Task):
    """Those of the given classes that the picture shows: several, one or none."""

    type: Literal["multi-label-classification"]
    classes: Classes
    """The only ones allowed (`unknown` is offered beside them): names or `{name, description, aliases}`."""
    prompt: PromptText | None = None
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt, **_class_parameters(self.classes))


class ObjectDetectionTask(_Task):
    """Boxes around objects."""

    type: Literal["object-detection"]
    classes: Classes | None = None
    """What to look for: names, or `{name, description, aliases}`; the prominent objects when absent."""
    prompt: PromptText | None = None
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return self._question(self.type, prompt=self.prompt, **_class_parameters(self.classes or []))


class FieldConfig(Section):
    """One typed field of a structured answer."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    """What the value is."""
    description: Description | None = None
    """What the model should put here."""
    enum: list[ClassName] | None = Field(default=None, min_length=1, max_length=MAX_NAMES)
    """Strings only: the allowed values."""
    min: float | None = None
    """Numbers only: smallest allowed value."""
    max: float | None = None
    """Numbers only: largest allowed value."""
    required: bool = True
    """An answer without a required field is an error."""

    @field_validator("enum")
    @classmethod
    def _enum(cls, names: list[str] | None) -> list[str] | None:
        if names is None:
            return None
        _no_duplicates(names, "enum")  # a field may well have a value of its own that is called unknown
        return [name.strip() for name in names]

    @model_validator(mode="after")
    def _fits(self) -> FieldConfig:
        if self.enum is not None and self.type != "string":
            raise ValueError("enum goes with type: string")
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "number"):
            raise ValueError("min and max go with type: integer or number")
        low, high = self._bounds()
        if low > high:
            raise ValueError("no value lies between min and max")
        return self

    def _bounds(self) -> tuple[float, float]:
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        if self.type == "integer":
            low = low if math.isinf(low) else math.ceil(low)
            high = high if math.isinf(high) else math.floor(high)
        return low, high


FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]


class StructuredAnsweringTask(_Task):
    """A JSON object with the fields that you name."""

    type: Literal["structured-answering"]
    output_structure: dict[FieldName, Description | FieldConfig] = Field(min_length=1, max_length=100)
    """`{field: description}`, or typed: `{field: {type: integer, min: 0}}`."""
    prompt: PromptText | None = None
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        fields = {
            name: (FieldConfig(description=spec) if isinstance(spec, str) else spec).model_dump()
            for name, spec in self.output_structure.items()
        }
        return self._question(self.type, prompt=self.prompt, output_structure=fields)


TaskConfig = Annotated[
    UnconstrainedTask
    | OcrTask
    | VisualQuestionAnsweringTask
    | CaptionTask
    | ClassificationTask
    | MultiLabelClassificationTask
    | ObjectDetectionTask
    | StructuredAnsweringTask,
    Field(discriminator="type"),
]
