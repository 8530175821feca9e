"""What a page is made of, whatever it is printed on: headings, sentences and grids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The start of a section."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Sentences, one to a line."""

    lines: list[str]


@dataclass(frozen=True)
class Grid:
    """A table; the columns named in `right` hold numbers."""

    columns: list[str]
    rows: list[list[str]]
    right: frozenset[int] = frozenset()

    @property
    def is_prose(self) -> bool:
        """Whether it holds sentences rather than numbers: too wide for a phone, and nothing to compare down
        a column."""
        return len(self.columns) > 3 and len(self.right) <= 1


Block = Heading | Lines | Grid
