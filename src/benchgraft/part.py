"""What every part of an answer is: plain data that does not change."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """One figure or several that belong together; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def of(cls, source: object, **own: Any) -> Self:
        """With what the source has under the same names; `own` says the rest, or says it otherwise."""
        shared = {name: getattr(source, name) for name in cls.model_fields if hasattr(source, name)}
        return cls(**{**shared, **own})
