"""What the YAML says of models and of tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from edgevlm.records import Question
from edgevlm.runtime.section import Secret, Section

# --- models: named endpoints ------------------------------------------------------------------------------


class OpenAICompatibleConfig(Section):
    """Any server with `/chat/completions`: vLLM, llama.cpp, LM Studio, SGLang, Ollama's `/v1`, a cloud."""

    type: Literal["openai-compatible"]
    base_url: str = Field(examples=["http://10.0.0.5:8000/v1"])
    """Up to and without `/chat/completions`."""
    model: str = Field(min_length=1)
    """The model's name as the server knows it."""
    api_key: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; sent to `base_url` only."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=256)
    """Questions under way at once on this endpoint."""
    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time of one attempt, from connecting to the last token."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or not url.split("://", 1)[1].strip("/"):
            raise ValueError("must be an http:// or https:// URL with a host, e.g. http://10.0.0.5:8000/v1")
        return url.rstrip("/").removesuffix("/chat/completions")


class EmbeddedConfig(Section):
    """RapidOCR on the box: task `ocr` only, no server, no download. Needs the extra `ocr`."""

    type: Literal["embedded"]
    model: Literal["rapidocr"] = "rapidocr"
    """The engine; there is one."""
    max_concurrent_requests: int = Field(default=1, ge=1, le=16)
    """Pictures read at once; each takes a core."""
    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    """Longest time for one picture."""


ModelConfig = Annotated[OpenAICompatibleConfig | EmbeddedConfig, Field(discriminator="type")]

# --- tasks: kinds of question ------------------------------------------------------------------------------

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


def _closed_set(names: list[str], what: str) -> list[str]:
    """Check the names of a closed set: stripped, unique without regard to case, none called unknown."""
    seen: dict[str, str] = {}
    for name in names:
        folded = name.strip().casefold()
        if not folded:
            raise ValueError(f"{what} must not be empty")
        if folded == "unknown":
            raise ValueError(
                f"{what} must not hold 'unknown': it is what edgevlm reports when the model cannot tell"
            )
        if folded in seen:
            raise ValueError(f"{what} holds {name!r} twice (upper and lower case count as the same)")
        seen[folded] = name
    return [name.strip() for name in names]


class _Task(Section):
    """What all tasks share."""

    system_prompt: str | None = None
    """Replaces edgevlm's own system prompt."""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Longest answer in tokens; by task when absent (64 closed, 512 text, 1024 structured)."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 when absent."""
    extra_body: dict[str, Any] = {}
    """Further fields of the request, as the server documents them."""
    language: str | None = Field(default=None, max_length=40)
    """Language of free text in the answer, e.g. `German`."""


def _base(task: _Task, kind: str) -> dict[str, Any]:
    return {
        "task": kind,
        "system_prompt": task.system_prompt,
        "max_tokens": task.max_tokens,
        "temperature": task.temperature,
        "extra_body": dict(task.extra_body),
        "language": task.language,
    }


class UnconstrainedTask(_Task):
    """Any prompt; the answer is the model's text."""

    type: Literal["unconstrained"]
    prompt: str = Field(min_length=1, max_length=20_000)
    """What to ask."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return Question(**_base(self, self.type), prompt=self.prompt)


class OcrTask(_Task):
    """Read the text in the picture."""

    type: Literal["ocr"]
    prompt: str | None = Field(default=None, max_length=20_000)
    """Added to the instruction, e.g. which text matters; an embedded engine cannot use it."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return Question(**_base(self, self.type), prompt=self.prompt)


class VisualQuestionAnsweringTask(_Task):
    """A question about the picture; with `answers` a closed one."""

    type: Literal["visual-question-answering"]
    prompt: str = Field(min_length=1, max_length=20_000)
    """The question."""
    answers: list[ClassName] | None = Field(default=None, min_length=2, max_length=500)
    """The only answers allowed (`unknown` is always offered beside them)."""

    @field_validator("answers")
    @classmethod
    def _answers(cls, answers: list[str] | None) -> list[str] | None:
        return None if answers is None else _closed_set(answers, "answers")

    def question(self) -> Question:
        """Return the question that this task asks."""
        return Question(**_base(self, self.type), prompt=self.prompt, answers=tuple(self.answers or ()))


class CaptionTask(_Task):
    """A short description of the picture."""

    type: Literal["caption"]
    prompt: str | None = Field(default=None, max_length=20_000)
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        return Question(**_base(self, self.type), prompt=self.prompt)


class ClassificationTask(_Task):
    """One of the given classes."""

    type: Literal["classification"]
    classes: list[ClassName] = Field(min_length=1, max_length=500)
    """The only classes allowed (`unknown` is always offered beside them)."""
    prompt: str | None = Field(default=None, max_length=20_000)
    """Added to the instruction, e.g. what the classes mean."""

    @field_validator("classes")
    @classmethod
    def _classes(cls, classes: list[str]) -> list[str]:
        return _closed_set(classes, "classes")

    def question(self) -> Question:
        """Return the question that this task asks."""
        return Question(**_base(self, self.type), prompt=self.prompt, classes=tuple(self.classes))


class FieldConfig(Section):
    """One typed field of a structured answer."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    """What the value is."""
    description: str | None = Field(default=None, max_length=2000)
    """What the model should put here."""
    enum: list[ClassName] | None = Field(default=None, min_length=1, max_length=500)
    """Strings only: the allowed values."""
    min: float | None = None
    """Numbers only: smallest allowed value."""
    max: float | None = None
    """Numbers only: largest allowed value."""
    required: bool = True
    """An answer without a required field is an error."""

    @model_validator(mode="after")
    def _fits(self) -> FieldConfig:
        if self.enum is not None and self.type != "string":
            raise ValueError("enum goes with type: string")
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "number"):
            raise ValueError("min and max go with type: integer or number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is greater than max")
        return self


FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]


class StructuredAnsweringTask(_Task):
    """A JSON object with the fields that you name."""

    type: Literal["structured-answering"]
    output_structure: dict[FieldName, str | FieldConfig] = Field(min_length=1, max_length=100)
    """`{field: description}`, or typed: `{field: {type: integer, min: 0}}`."""
    prompt: str | None = Field(default=None, max_length=20_000)
    """Added to the instruction."""

    def question(self) -> Question:
        """Return the question that this task asks."""
        fields = {
            name: (FieldConfig(description=spec) if isinstance(spec, str) else spec).model_dump()
            for name, spec in self.output_structure.items()
        }
        return Question(**_base(self, self.type), prompt=self.prompt, output_structure=fields)


TaskConfig = Annotated[
    UnconstrainedTask
    | OcrTask
    | VisualQuestionAnsweringTask
    | CaptionTask
    | ClassificationTask
    | StructuredAnsweringTask,
    Field(discriminator="type"),
]
