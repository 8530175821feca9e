"""The models of a project, each with what was found of it; one of them is the project's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import DataError
from ..files import facts_of, write_whole
from ..part import Part
from ..report.answers import Adapted
from ..statistics.estimates import Estimate

MODELS, RESULTS, RUNS, CURRENT = "models", "results", "runs", "current"


class Kept(Part):
    """A model of the project, and how it came about."""

    number: int
    """From 1."""
    date: str
    """When it was ready, ISO, UTC."""
    signature: str
    """Of the photos and labels that it was made of."""
    photos: int
    result: Adapted

    def row(self, current: int | None) -> dict[str, Any]:
        """For the page."""
        return {
            "number": self.number,
            "date": self.date,
            "accuracy": interval(self.result.accuracy),
            "parent": self.result.parent,
            "photos": self.photos,
            "is_current": self.number == current,
        }


@dataclass(frozen=True)
class History:
    """Those of one project. place: its .benchgraft folder."""

    place: Path

    def model(self, number: int) -> Path:
        """Its file."""
        return self.place / MODELS / f"{number:04}.safetensors"

    def run(self, number: int) -> Path:
        """Its run folder."""
        return self.place / RUNS / f"{number:04}"

    def numbers(self) -> list[int]:
        """Of models that are whole, rising."""
        found = [int(path.stem) for path in (self.place / RESULTS).glob("*.json") if path.stem.isdecimal()]
        return sorted(number for number in found if self.model(number).is_file())

    def next_number(self) -> int:
        """For a model that is to be made, and its run folder: none that was ever used."""
        begun = [int(path.name) for path in (self.place / RUNS).glob("*") if path.name.isdecimal()]
        return max([0, *self.numbers(), *begun]) + 1

    def read(self, number: int) -> Kept:
        """Raises DataError for one that is not there, or damaged."""
        path = self.place / RESULTS / f"{number:04}.json"
        try:
            return _read(path, facts_of(path))
        except FileNotFoundError:
            raise DataError(f"there is no model {number} in this project") from None
        except (OSError, ValidationError):
            raise DataError(f"{path} is damaged", "remove it; the other models stay") from None

    def keep(self, kept: Kept) -> None:
        """Write it down, and make it the project's own. Its model file is there already."""
        write_whole(self.place / RESULTS / f"{kept.number:04}.json", kept.model_dump_json())
        self.choose(kept.number)

    def choose(self, number: int) -> None:
        """Make it the project's own. Raises DataError for one that is not there."""
        self.read(number)
        write_whole(self.place / CURRENT, f"{number}\n")

    def current(self) -> int | None:
        """The project's own; None where it has none."""
        there = self.numbers()
        try:
            number = int((self.place / CURRENT).read_text())
        except (OSError, ValueError):
            number = 0
        return number if number in there else max(there, default=None)

    def own(self) -> Kept | None:
        """The same, with what was found of it. Raises DataError as read does."""
        number = self.current()
        return None if number is None else self.read(number)


@lru_cache(maxsize=8)
def _read(path: Path, _facts: tuple[int, int, int]) -> Kept:
    """Once for each state of the file: the page asks again and again."""
    return Kept.model_validate_json(path.read_bytes())


def interval(estimate: Estimate | None) -> dict[str, float | None] | None:
    """An estimate for the page."""
    return None if estimate is None else estimate.model_dump(include={"value", "low", "high"})
