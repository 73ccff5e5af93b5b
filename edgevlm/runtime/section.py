"""The base of every configuration section, and the types that sections share.

A component's config class stands beside the component, inherits `Section`, carries a docstring for each
field (the reference in `docs/` and `edgevlm schema` are made from it), and validates only itself.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

RESERVED_NAMES = frozenset({"cmd", "status", "info", "stats"})

Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
"""A name that becomes part of an MQTT topic."""


class Section(BaseModel):
    """A mapping in the YAML file: closed, immutable, strict about types."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


class Secret:
    """A value that is never shown: `str()` and `repr()` give stars, `reveal()` gives the value."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str = "plain") -> None:
        """Store `value`; `origin` says where it came from: `plain`, `env`, `file` or `credential`."""
        self._value = value
        self.origin = origin

    def reveal(self) -> str:
        """Return the value itself; call it only where it is handed to a library."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("edgevlm.secret", self._value))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept a `Secret` made by the loader from a tag, or a plain string."""
        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1)),
            ],
            custom_error_type="secret",
            custom_error_message="a secret: !credential NAME, !file PATH, !env NAME, or a plain string",
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "***"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Editors see a string."""
        return {"type": "string"}
