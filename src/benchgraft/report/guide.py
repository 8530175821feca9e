"""The decision guide of docs/findings.md (guide.toml), and which of its lines fits a number of images."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict


class GuideLine(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    advice: str
    figure: str
    """What was measured, and the section of docs/findings.md that has it."""
    limit: str
    """Where the line stops holding."""
    images: tuple[int, int] | None = None
    """Training images a class that it is about, from and to; None: the number is not what decides."""

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.advice} {self.figure} {self.limit}"


@lru_cache
def guide() -> tuple[GuideLine, ...]:
    """All lines in order."""
    table = tomllib.loads((files(__package__) / "guide.toml").read_text(encoding="utf-8"))
    return tuple(GuideLine.model_validate(line) for line in table["line"])


def quoted(images: float) -> str:
    """What was measured elsewhere for so many training images a class: where between two lines, both."""
    spans = [(line, line.images) for line in guide() if line.images]
    fitting = [line for line, (least, most) in spans if least <= images <= most]
    below = [line for line, (_, most) in spans if most < images][-1:]
    above = [line for line, (least, _) in spans if least > images][:1]
    chosen = fitting or below + above
    between = "" if fitting else f", which is {_place(bool(below), bool(above))}"
    return (
        f"Measured elsewhere, on fruit photos (docs/findings.md), for about {images:,.0f} training images a "
        f"class{between}: {' '.join(line.text for line in chosen)}"
    )


def _place(has_below: bool, has_above: bool) -> str:
    if has_below and has_above:
        return "between two lines"
    return "more than was measured" if has_below else "fewer than were measured"
