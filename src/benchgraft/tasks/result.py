"""What every result of a task is: plain data that can be written as JSON, whatever its files are called."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from ..names import storable
from ..report.part import Part


class Result(Part):
    """A typed result. As JSON, bytes of names that are no text are written as escapes."""

    @model_serializer(mode="wrap", when_used="json")
    def _storable(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        facts: dict[str, Any] = storable(written(self))
        return facts
