"""What every part of an answer is: plain data that does not change."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from .names import storable


class Part(BaseModel):
    """One figure or several that belong together; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def of(cls, source: object, **own: Any) -> Self:
        """With what the source has under the same names; `own` says the rest, or says it otherwise."""
        shared = {name: getattr(source, name) for name in cls.model_fields if hasattr(source, name)}
        return cls(**{**shared, **own})


class Result(Part):
    """What a task gives back. As JSON, bytes of names that are no text are written as escapes."""

    @model_serializer(mode="wrap", when_used="json")
    def _storable(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        facts: dict[str, Any] = storable(written(self))
        return facts
